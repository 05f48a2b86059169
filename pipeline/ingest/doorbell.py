"""The rows that a doorbell brings to the scheduler of a core: a hint, never the truth."""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

ValueT = TypeVar("ValueT")


class LaneRows(msgspec.Struct, array_like=True, frozen=True):
    """Rows of one lane, in columns; an empty body was too long to come along.

    Without any it says that there is something to read: rows, or commands.
    """

    lane: str
    message_ids: list[bytes]
    partition_keys: list[bytes] | None  # None: they are the ids
    borns: list[int]  # a single one is that of all rows
    groups: list[str]  # the same
    bodies: list[bytes]
    due_ats: list[int] = []  # empty: all at once


def once_if_alike(values: Sequence[ValueT]) -> list[ValueT]:
    """Return a column of `LaneRows`: one value that all rows share, or that of each."""
    return [values[0]] if values.count(values[0]) == len(values) else list(values)


def of_each(column: list[ValueT], count: int) -> list[ValueT]:
    """Return the value of each of `count` rows, from such a column."""
    return column * count if len(column) == 1 else column


class Heard(NamedTuple):
    """What a scheduler says to a doorbell."""

    lagging: list[str]  # lanes whose cursor comes by: they want no doorbell for a while
    elsewhere: dict[str, str]  # lanes that another one works on -> its actor name


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[LaneRows])


def encode_doorbell(rows: Sequence[LaneRows]) -> bytes:
    """Return the bytes of a doorbell."""
    return _encoder.encode(rows)


def decode_doorbell(data: bytes) -> list[LaneRows]:
    """Return the rows; raises msgspec.DecodeError or msgspec.ValidationError."""
    return _decoder.decode(data)
