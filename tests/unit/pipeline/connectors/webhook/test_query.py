"""What is asked of a provider of class Q, and what its answers say."""

import pytest

from pipeline.connectors.webhook.answer import (
    Answered,
    AnswerLost,
    Exchange,
    NotConnected,
    TooLate,
)
from pipeline.connectors.webhook.query import QueryWriter, has_message
from pipeline.message import MessageId


def test_it_asks_by_our_id() -> None:
    url = "https://gateway.example/messages/{id}?full=1"
    request = QueryWriter(url=url, authorization="Bearer b").write(MessageId(b"\x0a" * 16))
    assert request.url == f"https://gateway.example/messages/{'0a' * 16}?full=1"
    assert request.method == "GET"
    assert request.content == b""
    assert ("authorization", "Bearer b") in request.headers
    bare = QueryWriter(url=url).write(MessageId(b"\x0a" * 16))
    assert "authorization" not in dict(bare.headers)


@pytest.mark.parametrize(
    ("exchange", "told"),
    [
        (Answered(status=200), True),
        (Answered(status=204), True),
        (Answered(status=404), False),
        (Answered(status=410), False),
        (Answered(status=302), None),
        (Answered(status=401), None),
        (Answered(status=429), None),
        (Answered(status=503), None),
        (AnswerLost("x"), None),
        (NotConnected("x"), None),
        (TooLate(), None),
    ],
    ids=str,
)
def test_only_two_answers_say_something(exchange: Exchange, told: bool | None) -> None:
    assert has_message(exchange) is told
