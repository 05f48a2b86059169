"""Many rows packed in one: columns of one length, in MessagePack.

A column whose values are all alike is stored once, and the partition keys not at all where they
are the ids, as they mostly are.  Packing and unpacking cost some hundredths of a microsecond a
row, where a row of its own costs SQLite some microseconds.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from typing import Final, NamedTuple, TypeVar, cast

import msgspec

from pipeline.instant import Instant
from pipeline.limits import BLOCK_BYTES_MAX, BLOCK_ROWS_MAX
from pipeline.message import (
    AT_ONCE,
    Body,
    BufferEntry,
    BufferRow,
    MessageId,
    MessageRow,
    PartitionKey,
)

ValueT = TypeVar("ValueT")

_pack: Final = msgspec.msgpack.Encoder().encode


class _PackedBuffer(msgspec.Struct, array_like=True, gc=False):
    ids: list[MessageId]
    pks: list[PartitionKey] | None  # None: they are the ids
    borns: list[Instant] | Instant
    attempts: list[int] | int
    groups: list[str] | str
    due_ats: list[Instant] | Instant = AT_ONCE  # left out where all are


_buffer_decoder: Final = msgspec.msgpack.Decoder(_PackedBuffer)

# ids, pks (None: the ids), borns, groups, bodies
_PackedBodies = tuple[
    list[MessageId],
    list[PartitionKey] | None,
    list[Instant] | Instant,
    list[str] | str,
    list[Body],
]
_bodies_decoder: Final = msgspec.msgpack.Decoder(_PackedBodies)


class BodyBlock(NamedTuple):
    """The columns of a block of bodies."""

    ids: Sequence[MessageId]
    pks: Sequence[PartitionKey]
    borns: Sequence[Instant]
    groups: Sequence[str]
    bodies: Sequence[Body]


def pack_bodies(rows: Sequence[MessageRow]) -> bytes:
    """Return the block of these rows."""
    ids, pks, borns, groups, bodies = zip(*rows, strict=True)
    return _pack((ids, None if pks == ids else pks, _once(borns), _once(groups), bodies))


def unpack_bodies(packed: bytes) -> BodyBlock:
    """Return the columns of a block of `pack_bodies`."""
    ids, pks, borns, groups, bodies = _bodies_decoder.decode(packed)
    return BodyBlock(
        ids,
        cast(Sequence[PartitionKey], ids) if pks is None else pks,
        borns if isinstance(borns, list) else [borns] * len(ids),
        groups if isinstance(groups, list) else [groups] * len(ids),
        bodies,
    )


def pack_buffer(rows: Sequence[BufferEntry]) -> bytes:
    """Return the block of these rows; their `at` follow each other and are kept beside it."""
    ids, pks, borns, attempts, due_ats, groups = zip(*rows, strict=True)
    columns = (ids, None if pks == ids else pks, _once(borns), _once(attempts), _once(groups))
    return _pack((*columns, _once(due_ats)) if any(due_ats) else columns)


def unpack_buffer(packed: bytes, *, first_at: int) -> list[BufferRow]:
    """Return the rows of a block of `pack_buffer`, of which the first has `first_at`."""
    block = _buffer_decoder.decode(packed)
    rows = zip(
        range(first_at, first_at + len(block.ids)),
        block.ids,
        block.ids if block.pks is None else block.pks,
        _each(block.borns),
        _each(block.attempts),
        _each(block.due_ats),
        _each(block.groups),
        strict=False,
    )
    return cast(list[BufferRow], list(rows))


def split_bodies(rows: Sequence[MessageRow]) -> list[Sequence[MessageRow]]:
    """Cut rows into parts that are blocks: not too many rows, nor, if it can be, bytes."""
    ends = list(accumulate(len(row[4]) for row in rows))
    if len(rows) <= BLOCK_ROWS_MAX and ends[-1] <= BLOCK_BYTES_MAX:
        return [rows]
    parts: list[Sequence[MessageRow]] = []
    start = start_bytes = 0
    for index, end_bytes in enumerate(ends):
        is_full = index - start >= BLOCK_ROWS_MAX or end_bytes - start_bytes > BLOCK_BYTES_MAX
        if is_full and index > start:
            parts.append(rows[start:index])
            start, start_bytes = index, ends[index - 1]
    parts.append(rows[start:])
    return parts


def _once(column: Sequence[ValueT]) -> ValueT | Sequence[ValueT]:
    first = column[0]
    return first if column.count(first) == len(column) else column


def _each(column: list[ValueT] | ValueT) -> Iterable[ValueT]:
    return column if isinstance(column, list) else repeat(column)
