"""Rows of `journal`: who owns a lane, and what its owners appended.

Every write here looks at the segment's epoch in the transaction that makes it, so that after a
take-over no append of an older epoch is ever made.
"""

import sqlite3
from typing import Final

from cluster.local.writer import Transaction
from pipeline.ports import JournalEntry, Ownership

_OWNERSHIP: Final = "SELECT epoch, owner FROM segments WHERE lane = ? AND segment = ?"
_OPEN: Final = """
INSERT OR IGNORE INTO segments (lane, segment, epoch, owner) VALUES (?, ?, ?, ?)
"""
_TAKE_OVER: Final = """
UPDATE segments SET epoch = epoch + 1, owner = ? WHERE lane = ? AND segment = ? AND epoch = ?
"""
_APPEND: Final = """
INSERT OR IGNORE INTO journal (lane, segment, seq, at, body)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE EXISTS (SELECT 1 FROM segments WHERE lane = ?1 AND segment = ?2 AND epoch = ?6)
"""
_IS_APPENDED: Final = """
SELECT EXISTS (
    SELECT 1 FROM journal JOIN segments USING (lane, segment)
    WHERE lane = ? AND segment = ? AND seq = ? AND body = ? AND epoch = ?
)
"""
_ENTRIES: Final = """
SELECT seq, body FROM journal
WHERE lane = ? AND segment = ? AND seq < ? ORDER BY seq DESC LIMIT ?
"""

_SEQ_END: Final = (1 << 63) - 1


def read_ownership(connection: sqlite3.Connection, *, lane: str, segment: int) -> Ownership | None:
    """Return the segment's static cells, None where it was never opened."""
    row = connection.execute(_OWNERSHIP, (lane, segment)).fetchone()
    return None if row is None else Ownership(*row)


def open_segment(
    transaction: Transaction, *, lane: str, segment: int, epoch: int, owner: bytes
) -> bool:
    """Write the static cells if there are none; return whether there were none."""
    cursor = transaction.connection.execute(_OPEN, (lane, segment, epoch, owner))
    return cursor.rowcount == 1


def take_over(
    transaction: Transaction, *, lane: str, segment: int, expected_epoch: int, owner: bytes
) -> bool:
    """Raise the epoch and name the owner if it is the expected one; return whether it was."""
    cursor = transaction.connection.execute(_TAKE_OVER, (owner, lane, segment, expected_epoch))
    return cursor.rowcount == 1


def append(
    transaction: Transaction, *, lane: str, segment: int, epoch: int, seq: int, body: bytes
) -> bool:
    """Write the entry if the epoch is this one; return whether it was, or is there already.

    False too if other bytes lie under this seq: they stay.
    """
    connection = transaction.connection
    cursor = connection.execute(_APPEND, (lane, segment, seq, transaction.now(), body, epoch))
    if cursor.rowcount == 1:
        return True
    parameters = (lane, segment, seq, body, epoch)
    return bool(connection.execute(_IS_APPENDED, parameters).fetchone()[0])


def read_entries(
    connection: sqlite3.Connection,
    *,
    lane: str,
    segment: int,
    before_seq: int | None,
    limit: int,
) -> list[JournalEntry]:
    """Return up to `limit` entries below `before_seq`, newest first."""
    end = _SEQ_END if before_seq is None else before_seq
    rows = connection.execute(_ENTRIES, (lane, segment, end, limit))
    return [JournalEntry(seq, body) for seq, body in rows]
