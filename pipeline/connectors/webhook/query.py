"""Asking a provider whether it has a message: one GET a message, by our id (class Q).

Only two answers say something.  Success: it has the message.  404: it has not, which proves
nothing, as a copy may still be on its way; nor does any other answer.
"""

from http import HTTPStatus
from typing import Final

from pipeline.connectors.webhook.answer import Answered, Exchange
from pipeline.connectors.webhook.request import Headers, HookRequest
from pipeline.message import MessageId

ID_PLACE: Final = "{id}"


class QueryWriter:
    """Writes the questions of one connector; `url` holds `{id}` where the id goes.

    `authorization` is the value of the header, empty for none.
    """

    def __init__(self, *, url: str, authorization: str = "") -> None:
        assert ID_PLACE in url, url
        self._url = url
        self._headers: Headers = [
            ("accept", "application/json"),
            ("user-agent", "Shardpost"),
            ("accept-encoding", "identity"),
            *([("authorization", authorization)] if authorization else ()),
        ]

    def write(self, message_id: MessageId) -> HookRequest:
        """Return the request that asks for a message."""
        url = self._url.replace(ID_PLACE, message_id.hex())
        return HookRequest(url, self._headers, b"", method="GET")


def has_message(exchange: Exchange) -> bool | None:
    """Return whether the provider has it, None if it did not say."""
    if not isinstance(exchange, Answered):
        return None
    if 200 <= exchange.status <= 299:
        return True
    return False if exchange.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) else None
