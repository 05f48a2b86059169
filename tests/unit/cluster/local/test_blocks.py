from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.local.blocks import (
    pack_bodies,
    pack_buffer,
    split_bodies,
    unpack_bodies,
    unpack_buffer,
)
from pipeline.instant import Instant
from pipeline.limits import BLOCK_BYTES_MAX, BLOCK_ROWS_MAX
from pipeline.message import AT_ONCE, Body, BufferEntry, MessageId, MessageRow, PartitionKey

ids = st.binary(min_size=16, max_size=16)
instants = st.integers(0, 2**60).map(Instant)
groups = st.sampled_from(["acme/", "acme/spring", "other/spring"]) | st.text(max_size=20)


@st.composite
def message_rows(draw: st.DrawFn) -> MessageRow:
    message_id = draw(ids)
    pk = draw(st.just(message_id) | ids)
    return (
        MessageId(message_id),
        PartitionKey(pk),
        draw(instants),
        draw(groups),
        Body(draw(st.binary(max_size=50))),
    )


@st.composite
def buffer_entries(draw: st.DrawFn) -> BufferEntry:
    message_id = draw(ids)
    pk = draw(st.just(message_id) | ids)
    return (
        MessageId(message_id),
        PartitionKey(pk),
        draw(instants),
        draw(st.integers(1, 3)),
        draw(st.just(AT_ONCE) | instants),
        draw(groups),
    )


@settings(max_examples=40)
@given(st.lists(message_rows(), min_size=1, max_size=20))
def test_bodies_are_unpacked_as_they_were_packed(rows: list[MessageRow]) -> None:
    block = unpack_bodies(pack_bodies(rows))
    assert list(zip(*block, strict=True)) == rows


@settings(max_examples=40)
@given(st.lists(buffer_entries(), min_size=1, max_size=20), instants)
def test_buffer_rows_are_unpacked_as_they_were_packed(
    rows: list[BufferEntry], first_at: Instant
) -> None:
    unpacked = unpack_buffer(pack_buffer(rows), first_at=first_at)
    assert unpacked == [(first_at + n, *row) for n, row in enumerate(rows)]


@settings(max_examples=40)
@given(
    st.lists(
        st.integers(0, 100) | st.sampled_from([BLOCK_BYTES_MAX, BLOCK_BYTES_MAX // 2]),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([1, 100]),
)
def test_blocks_hold_all_rows_in_order_and_not_too_much(lengths: list[int], times: int) -> None:
    rows = [
        (MessageId(b""), PartitionKey(b""), Instant(n), "", Body(bytes(length)))
        for n, length in enumerate(lengths * times)
    ]
    parts = split_bodies(rows)
    assert [row for part in parts for row in part] == rows
    for part in parts:
        assert 1 <= len(part) <= BLOCK_ROWS_MAX
        assert len(part) == 1 or sum(len(row[4]) for row in part) <= BLOCK_BYTES_MAX
    # No two neighbours would fit in one.
    for part, following in pairwise(parts):
        count, length = len(part) + 1, sum(len(row[4]) for row in [*part, following[0]])
        assert count > BLOCK_ROWS_MAX or length > BLOCK_BYTES_MAX


def test_rows_that_are_all_due_at_once_take_no_byte_for_it() -> None:
    rows = [
        (MessageId(bytes([n]) * 16), PartitionKey(b"k" * 16), Instant(5), 1, AT_ONCE, "acme/")
        for n in range(3)
    ]
    # What folders hold that were made before rows had it.
    ids, pks = [row[0] for row in rows], [row[1] for row in rows]
    assert pack_buffer(rows) == msgspec.msgpack.encode((ids, pks, 5, 1, "acme/"))
