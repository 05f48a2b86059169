"""The lines of an outbox, which other programs read, and what became of them."""

import json

import msgspec
import pytest

from pipeline.connectors.file.codec import decode_line, encode_lines, outcomes_of
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId, Submission, encode_body
from pipeline.outcome import HandOver

LANE = LaneId(1, "n1", 0, "sms", "bulk-1")
LINES = [b"0123456\n", b"01\n", b"0123456789\n"]
ENDS = (8, 11, 22)


def hand_over(*submissions: Submission, attempts: list[int] | None = None) -> HandOver:
    return HandOver(
        lane=LANE,
        message_ids=[MessageId(bytes([n]) * 16) for n in range(len(submissions))],
        attempts=attempts or [1] * len(submissions),
        bodies=[Body(encode_body(submission)) for submission in submissions],
        send_before=Instant(2**62),
    )


def test_the_line_never_changes() -> None:
    submission = Submission(
        tenant="acme",
        channel="sms",
        recipient="+447700900000",
        content='Grüße\n"you" \N{GRINNING FACE}',
        group="spring",
        priority="bulk",
        metadata={"order": "7", "a": ""},
        expires_at=5,
    )
    assert encode_lines(hand_over(submission, attempts=[3])) == [
        b'{"message_id":"00000000000000000000000000000000","attempt":3,"tenant":"acme",'
        b'"channel":"sms","recipient":"+447700900000",'
        b'"content":"Gr\xc3\xbc\xc3\x9fe\\n\\"you\\" \xf0\x9f\x98\x80","group":"spring",'
        b'"metadata":{"order":"7","a":""}}\n'
    ]


def test_whatever_a_message_holds_it_is_one_line() -> None:
    content = "".join(map(chr, range(1, 0x2100)))
    submission = Submission(tenant="a", channel="sms", recipient="r", content=content)
    (line,) = encode_lines(hand_over(submission))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert json.loads(line)["content"] == content
    assert decode_line(line).content == content


def test_lines_come_in_the_order_of_the_messages() -> None:
    asked = [Submission(tenant="a", channel="sms", recipient="r", content=str(n)) for n in range(5)]
    lines = [decode_line(line) for line in encode_lines(hand_over(*asked))]
    assert [line.content for line in lines] == list("01234")
    assert [line.message_id for line in lines] == [bytes([n]).hex() * 16 for n in range(5)]


def test_a_body_that_cannot_be_read_writes_nothing_at_all() -> None:
    damaged = HandOver(
        lane=LANE,
        message_ids=[MessageId(b"i" * 16)],
        attempts=[1],
        bodies=[Body(b"\xc1")],
        send_before=Instant(2**62),
    )
    with pytest.raises(msgspec.MsgspecError):
        encode_lines(damaged)


@pytest.mark.parametrize(
    ("written_bytes", "events"),
    [
        pytest.param(0, "NOT_SENT NOT_SENT NOT_SENT", id="nothing"),
        pytest.param(1, "LOSE_ANSWER NOT_SENT NOT_SENT", id="one byte"),
        pytest.param(8, "LOSE_ANSWER NOT_SENT NOT_SENT", id="one line"),
        pytest.param(9, "LOSE_ANSWER LOSE_ANSWER NOT_SENT", id="a byte of the second"),
        pytest.param(21, "LOSE_ANSWER LOSE_ANSWER LOSE_ANSWER", id="all but the last byte"),
        pytest.param(22, "LOSE_ANSWER LOSE_ANSWER LOSE_ANSWER", id="all, but not for sure"),
    ],
)
def test_what_may_have_been_read_is_uncertain_and_the_rest_was_not_sent(
    written_bytes: int, events: str
) -> None:
    outcomes = outcomes_of(LINES, written_bytes=written_bytes, is_durable=False, error="full")
    assert [Event(event).name for event in outcomes.events] == events.split()
    assert set(outcomes.details.values()) == {"full"}


def test_lines_that_are_durable_were_taken() -> None:
    outcomes = outcomes_of(LINES, written_bytes=ENDS[-1], is_durable=True, error="")
    assert outcomes.events == bytes([Event.TAKE]) * 3
    assert not outcomes.details
