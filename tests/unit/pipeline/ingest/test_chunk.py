"""The bytes between a door, an ingester and a scheduler."""

import msgspec
import pytest

from pipeline.ingest.chunk import (
    Accepted,
    KeyTaken,
    Overloaded,
    Refused,
    SubmitReply,
    Unanswered,
    decode_chunk,
    decode_reply,
    encode,
)
from pipeline.ingest.doorbell import LaneRows, decode_doorbell, encode_doorbell
from tests.support.submissions import make_chunk

REPLIES: list[SubmitReply] = [
    Accepted(2, b"i" * 16, repeated_count=1),
    Overloaded(50),
    Refused([(0, "recipient", "is no number"), (7, "content", "is empty")]),
    KeyTaken([1, 2], 1_700_000_000_000_000),
    KeyTaken([], 1_700_000_000_000_000),
    Unanswered("the disk is slow"),
]


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_arrives_as_it_was_given(reply: SubmitReply) -> None:
    assert decode_reply(encode(reply)) == reply


@pytest.mark.parametrize(
    "chunk",
    [make_chunk(), make_chunk(keys=[b"k1", b"k2"]), make_chunk(batch_key=None)],
    ids=["of a batch", "with keys", "without"],
)
def test_a_chunk_arrives_as_it_was_given(chunk: object) -> None:
    assert decode_chunk(encode(chunk)) == chunk  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\x90", encode(REPLIES[0]), encode(make_chunk())[:-1]]
)
def test_other_bytes_are_no_chunk(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_chunk(data)


def test_a_doorbell_brings_rows_of_several_lanes() -> None:
    rows = [
        LaneRows("1.n1.0.sms.urgent", [b"i" * 16], None, [5], ["acme/x"], [b"body"]),
        LaneRows("1.n1.0.sms.bulk-1", [b"j" * 16], [b"k" * 16], [6], ["acme/y"], [b""]),
    ]
    assert decode_doorbell(encode_doorbell(rows)) == rows
    assert decode_doorbell(encode_doorbell([])) == []
