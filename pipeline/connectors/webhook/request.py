"""From a claimed message to the request that hands it over, as Standard Webhooks has it.

What a provider compares when it sees a key again must not differ: id and JSON depend on nothing
but the message; only the timestamp, and with it the signature, is that of the attempt.
"""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from standardwebhooks import Webhook

from pipeline.errors import SettingInvalid
from pipeline.instant import Instant
from pipeline.message import Body, MessageId, decode_body

_US_PER_S: Final = 1_000_000
_SECRET_PREFIX: Final = "whsec_"
_SECRET_BYTES_MIN: Final = 24
_SECRET_BYTES_MAX: Final = 64

Headers = list[tuple[str, str]]


class HookMessage(msgspec.Struct, frozen=True, gc=False):
    """What a webhook says: the message as it was asked for, under its id."""

    id: str  # 32 hexadecimal digits, the key
    tenant: str
    channel: str
    recipient: str
    content: str
    group: str
    metadata: dict[str, str]


class HookPayload(msgspec.Struct, frozen=True, gc=False):
    """The JSON of a webhook."""

    type: str
    data: HookMessage


class HookRequest(NamedTuple):
    """One request."""

    url: str
    headers: Headers
    content: bytes
    method: str = "POST"


_encode: Final = msgspec.json.Encoder().encode
decode_payload: Final = msgspec.json.Decoder(HookPayload).decode


class Signer:
    """Signs with every secret it has, so that a receiver can be given the next before the last."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Raise `SettingInvalid` if one is no secret of a webhook; it is not shown."""
        self._hooks = [hook_of(secret) for secret in secrets]

    def signature(self, *, key: str, at: Instant, content: bytes) -> str:
        """Return the value of `webhook-signature`, empty if there is no secret."""
        text = content.decode()
        return " ".join(hook.sign(key, moment_of(at), text) for hook in self._hooks)


def moment_of(at: Instant) -> datetime:
    """Return the second that is signed."""
    return datetime.fromtimestamp(at // _US_PER_S, UTC)


def hook_of(secret: str) -> Webhook:
    """Return what signs with a secret; raises `SettingInvalid` if it is none, and shows it not."""
    # The library reads over what is no base64, and would sign with what is left.
    try:
        key = b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise SettingInvalid("a webhook's secret should be base64, as in whsec_…") from None
    if not _SECRET_BYTES_MIN <= len(key) <= _SECRET_BYTES_MAX:
        raise SettingInvalid(
            f"a webhook's secret should have {_SECRET_BYTES_MIN} to {_SECRET_BYTES_MAX} bytes"
            f" before base64, not {len(key)}"
        )
    return Webhook(key)


class RequestWriter:
    """Writes the requests of one connector: to one URL, or each to the one that is its recipient.

    `authorization` is the value of the header, empty for none.
    """

    def __init__(self, *, url: str | None, signer: Signer, authorization: str = "") -> None:
        self._url = url
        self._signer = signer
        self._headers: Headers = [
            ("content-type", "application/json"),
            ("user-agent", "Shardpost"),
            # What comes back is read as it comes: nothing is ever expanded.
            ("accept-encoding", "identity"),
            *([("authorization", authorization)] if authorization else ()),
        ]

    def write(self, message_id: MessageId, body: Body, *, now: Instant) -> HookRequest:
        """Return the request that hands a message over at `now`."""
        asked = decode_body(body)
        key = message_id.hex()
        content = _encode(
            HookPayload(
                "message",
                HookMessage(
                    key,
                    asked.tenant,
                    asked.channel,
                    asked.recipient,
                    asked.content,
                    asked.group,
                    asked.metadata,
                ),
            )
        )
        headers = [
            *self._headers,
            ("webhook-id", key),
            ("webhook-timestamp", str(now // _US_PER_S)),
        ]
        if signature := self._signer.signature(key=key, at=now, content=content):
            headers.append(("webhook-signature", signature))
        return HookRequest(asked.recipient if self._url is None else self._url, headers, content)
