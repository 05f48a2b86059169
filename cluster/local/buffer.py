"""Rows of `buffer`: what was submitted to a lane, in the order of `at`.

A write is one block, or a few; its rows have instants that follow each other, and `at` is given
under the write lock, so that blocks of one file never overlap and a commit is never below one that
was read.
"""

import sqlite3
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Final

from cluster.local.blocks import pack_buffer, unpack_buffer
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.limits import BLOCK_ROWS_MAX
from pipeline.message import BufferEntry, BufferRow, MessageId
from pipeline.ports import BufferPage

_INSERT: Final = "INSERT INTO buffer (lane, last_at, first_at, packed) VALUES (?, ?, ?, ?)"
_BLOCKS: Final = """
SELECT first_at, packed FROM buffer WHERE lane = ? AND last_at >= ? ORDER BY last_at
"""
_HOLDS: Final = """
SELECT EXISTS (SELECT 1 FROM buffer WHERE lane = ? AND last_at >= ? AND instr(packed, ?) > 0)
"""
_NEWEST: Final = "SELECT at FROM clock"

_RESUME_BYTES: Final = 8


def write(transaction: Transaction, rows: Sequence[BufferEntry], *, lane: str) -> None:
    """Append rows; they get instants in a row."""
    at = transaction.give_at(len(rows))
    for start in range(0, len(rows), BLOCK_ROWS_MAX):
        part = rows[start : start + BLOCK_ROWS_MAX]
        first_at = at + start
        transaction.connection.execute(
            _INSERT, (lane, first_at + len(part) - 1, first_at, pack_buffer(part))
        )


def newest_at(connection: sqlite3.Connection) -> Instant:
    """Return the newest `at` that was given and committed.

    Whatever comes is later, and what is not later can be read by the next statement.
    """
    return Instant(connection.execute(_NEWEST).fetchone()[0])


def read_page(
    connection: sqlite3.Connection,
    *,
    lane: str,
    from_at: Instant,
    through_at: Instant,
    limit: int,
    resume: bytes | None,
) -> BufferPage:
    """Return up to `limit` rows with from_at <= at <= through_at, in order."""
    start_at = from_at if resume is None else Instant(int.from_bytes(resume))
    rows: list[BufferRow] = []
    with closing(_blocks(connection, lane=lane, from_at=start_at)) as blocks:
        for block in blocks:
            if block[0][0] > through_at:
                break
            if block[0][0] < start_at or block[-1][0] > through_at:
                block = [row for row in block if start_at <= row[0] <= through_at]
            rows += block
            if len(rows) > limit:
                return BufferPage(rows[:limit], rows[limit][0].to_bytes(_RESUME_BYTES))
    return BufferPage(rows, None)


def rows_from(
    connection: sqlite3.Connection, *, lane: str, from_at: Instant
) -> Generator[BufferRow, None, None]:
    """Return every row with at >= from_at, in order.  Close it, if it is not read to its end."""
    with closing(_blocks(connection, lane=lane, from_at=from_at)) as blocks:
        for block in blocks:
            yield from (row for row in block if row[0] >= from_at)


def count_ids(connection: sqlite3.Connection, *, lane: str, from_at: Instant) -> dict[str, int]:
    """Return the number of distinct ids in rows with at >= from_at, by group key."""
    return dict(Counter(groups_of(connection, lane=lane, from_at=from_at).values()))


def groups_of(
    connection: sqlite3.Connection, *, lane: str, from_at: Instant
) -> dict[MessageId, str]:
    """Return the group key of each id in rows with at >= from_at."""
    with closing(rows_from(connection, lane=lane, from_at=from_at)) as rows:
        return {row[1]: row[6] for row in rows}


def holds(
    connection: sqlite3.Connection, *, lane: str, from_at: Instant, message_id: MessageId
) -> bool:
    """Return whether a row with at >= from_at, or near it, has this id."""
    return bool(connection.execute(_HOLDS, (lane, from_at, message_id)).fetchone()[0])


def _blocks(
    connection: sqlite3.Connection, *, lane: str, from_at: Instant
) -> Generator[list[BufferRow], None, None]:
    # A statement that is left in the middle would keep its view of the file for all that follow.
    with closing(connection.execute(_BLOCKS, (lane, from_at))) as blocks:
        for first_at, packed in blocks:
            yield unpack_buffer(packed, first_at=first_at)
