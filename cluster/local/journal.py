"""Rows of `journal`: who owns a lane, and what its owners appended.

Every write here looks at the segment's epoch in the transaction that makes it, so that after a
take-over no append of an older epoch is ever made.  A closed segment's epoch is negative and equals
nobody's.  Its cells go when its entries have gone: whoever still looks for it finds that a later
one is there, and opens none.
"""

import sqlite3
from typing import Final

from cluster.local.writer import Transaction
from pipeline.ports import JournalEntry, Ownership, Segment

_OWNERSHIP: Final = "SELECT epoch, owner FROM segments WHERE lane = ? AND segment = ?"
_OPEN: Final = """
INSERT OR IGNORE INTO segments (lane, segment, epoch, owner)
SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM segments WHERE lane = ?1 AND segment > ?2)
"""
_TAKE_OVER: Final = """
UPDATE segments SET epoch = epoch + 1, owner = ?
WHERE lane = ? AND segment = ? AND epoch = ? AND epoch > 0
"""
_CLOSE: Final = """
UPDATE segments SET epoch = -epoch WHERE lane = ? AND segment = ? AND epoch = ? AND epoch > 0
"""
_NEWEST: Final = """
SELECT segment, epoch, owner FROM segments WHERE lane = ? ORDER BY segment DESC LIMIT 1
"""
_HINT: Final = """
INSERT INTO segment_hints (lane, segment) VALUES (?, ?)
ON CONFLICT (lane) DO UPDATE SET segment = max(segment, excluded.segment)
"""
_HINTED: Final = "SELECT coalesce(max(segment), 0) FROM segment_hints WHERE lane = ?"
_APPEND: Final = """
INSERT OR IGNORE INTO journal (lane, segment, seq, at, body)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE EXISTS (
    SELECT 1 FROM segments WHERE lane = ?1 AND segment = ?2 AND epoch = ?6 AND epoch > 0
)
"""
_IS_APPENDED: Final = """
SELECT EXISTS (
    SELECT 1 FROM journal JOIN segments USING (lane, segment)
    WHERE lane = ? AND segment = ? AND seq = ? AND body = ? AND epoch = ? AND epoch > 0
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


def close_segment(transaction: Transaction, *, lane: str, segment: int, epoch: int) -> bool:
    """Close the segment if its epoch is this one; return whether it was."""
    cursor = transaction.connection.execute(_CLOSE, (lane, segment, epoch))
    return cursor.rowcount == 1


def newest_segment(connection: sqlite3.Connection, *, lane: str) -> Segment | None:
    """Return the newest segment that was opened, None where none was."""
    row = connection.execute(_NEWEST, (lane,)).fetchone()
    return None if row is None else Segment(row[0], Ownership(*row[1:]))


def write_hint(transaction: Transaction, *, lane: str, segment: int) -> None:
    """Note a segment; of two numbers the higher stays."""
    transaction.connection.execute(_HINT, (lane, segment))


def read_hint(connection: sqlite3.Connection, *, lane: str) -> int:
    """Return the highest number that was noted, 0 if none was."""
    hint: int = connection.execute(_HINTED, (lane,)).fetchone()[0]
    return hint


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
