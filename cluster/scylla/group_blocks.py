"""Rows of `by_group`: which messages of a group were written together.

One row for many messages, as nobody asks for one of them: a list is read block by block.  A block
is named by what is in it, so that a repeat of the same write is the same row.  A message that was
sent again among others is in two blocks; its first row in `messages` says which of them counts.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from pipeline.message import MessageId, MessageRow, PartitionKey

BLOCK_BYTES: Final = 8
# Partitions of a group at one core: a group may have a hundred million messages.
PARTS: Final = 8
_MESSAGES_MAX: Final = 1_000
_ID_BYTES: Final = 16


class Block(NamedTuple):
    """Some messages of one write; `positions` are theirs in it."""

    group: str
    name: bytes
    positions: Sequence[int]
    ids: bytes
    pks: bytes  # empty: they are the ids
    life_s: int  # of the longest-lived

    @property
    def cells(self) -> tuple[bytes, bytes, bytes, int]:
        """Return the columns of its row behind the place."""
        return self.name, self.ids, self.pks, self.life_s


def blocks_of(rows: Sequence[MessageRow], lives_s: Sequence[int]) -> list[Block]:
    """Return the blocks of a write, each of one group."""
    of_group: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        of_group.setdefault(row[3], []).append(n)
    return [
        _block(group, positions[start : start + _MESSAGES_MAX], rows, lives_s)
        for group, positions in of_group.items()
        for start in range(0, len(positions), _MESSAGES_MAX)
    ]


def part_of(block: Block) -> bytes:
    """Return which partition of its core a block lies in."""
    return part(block.group, block.name[0] % PARTS)


def part(group: str, number: int) -> bytes:
    """Return what names one of the partitions that a group has at every core."""
    return bytes([number]) + group.encode()


def members(ids: bytes, pks: bytes) -> list[tuple[PartitionKey, MessageId]]:
    """Return the messages of a block, in the order of their writing."""
    starts = range(0, len(ids), _ID_BYTES)
    return [
        (
            PartitionKey((pks or ids)[start : start + _ID_BYTES]),
            MessageId(ids[start : start + _ID_BYTES]),
        )
        for start in starts
    ]


def _block(
    group: str, positions: Sequence[int], rows: Sequence[MessageRow], lives_s: Sequence[int]
) -> Block:
    ids = b"".join(rows[n][0] for n in positions)
    pks = b"".join(rows[n][1] for n in positions)
    return Block(
        group,
        blake2b(ids, digest_size=BLOCK_BYTES).digest(),
        positions,
        ids,
        b"" if pks == ids else pks,
        max(lives_s[n] for n in positions),
    )
