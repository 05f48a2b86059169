"""Rows of `timers`: what is due later than the near horizon, in the order of its time.

Rows of one write may be due at any time, and a repeat must find each of them again, so they are
not packed: there is one small row each, in a tree that begins with the time.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

from cluster.local import bodies
from cluster.local.packed_ids import IDS, joined
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.later import TimerPage
from pipeline.message import MessageId, TimerRow

# Rows that differ in their id only are written by one statement; see timeline.py.
_ALIKE_MIN: Final = 4

_INSERT_ALIKE: Final = f"""
INSERT OR IGNORE INTO timers (lane, due_at, id, attempt, pk, born, group_key)
{IDS} SELECT ?2, ?3, id, ?4, NULL, ?5, ?6 FROM ids
"""
_INSERT: Final = """
INSERT OR IGNORE INTO timers (lane, due_at, id, attempt, pk, born, group_key)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_COLUMNS: Final = "due_at, id, coalesce(pk, id), born, attempt, group_key"
_PAGE: Final = f"""
SELECT {_COLUMNS} FROM timers
WHERE lane = ?1 AND (due_at, id, attempt) >= (?2, ?3, ?4) AND due_at < ?5
ORDER BY due_at, id, attempt LIMIT ?6
"""
_OF_MESSAGE: Final = f"""
SELECT {_COLUMNS} FROM timers WHERE lane = ? AND id = ? ORDER BY due_at, attempt
"""
_COUNT_FIRST: Final = """
SELECT group_key, count(*) FROM timers WHERE lane = ? AND due_at >= ? AND attempt = 1
GROUP BY group_key
"""

_COUNT_UNTOLD: Final = """
SELECT group_key, count(DISTINCT id) FROM timers WHERE lane = ? AND attempt = 1
AND NOT EXISTS (SELECT 1 FROM timeline WHERE timeline.id = timers.id)
GROUP BY group_key
"""
_FIRST_IDS: Final = "SELECT id, group_key FROM timers WHERE lane = ? AND attempt = 1"

_DUE_BYTES: Final = 8
_ID_BYTES: Final = 16
_ATTEMPT_BYTES: Final = 4


def write(transaction: Transaction, rows: Sequence[TimerRow], *, lane: str) -> None:
    """Write rows; one that is there stays as it is.  Their bodies stay at least as long."""
    alike: dict[tuple[Instant, int, Instant, str], list[MessageId]] = {}
    few: list[tuple[object, ...]] = []
    for due_at, id_, pk, born, attempt, group in rows:
        if bytes(pk) == id_:
            alike.setdefault((due_at, attempt, born, group), []).append(id_)
        else:
            few.append((lane, due_at, id_, attempt, pk, born, group))
    for (due_at, attempt, born, group), ids in alike.items():
        if len(ids) < _ALIKE_MIN:
            few += [(lane, due_at, id_, attempt, None, born, group) for id_ in ids]
        else:
            parameters = (joined(ids), lane, due_at, attempt, born, group)
            transaction.connection.execute(_INSERT_ALIKE, parameters)
    if few:
        transaction.connection.executemany(_INSERT, few)
    bodies.keep(transaction, [row[1] for row in rows], until=max([row[0] for row in rows]))


def read_page(
    connection: sqlite3.Connection,
    *,
    lane: str,
    from_due: Instant,
    through_due: Instant,
    limit: int,
    resume: bytes | None,
) -> TimerPage:
    """Return up to `limit` rows with from_due <= due_at < through_due, in order."""
    first = (from_due, b"", 0) if resume is None else _key_of(resume)
    rows: list[TimerRow] = connection.execute(
        _PAGE, (lane, *first, through_due, limit + 1)
    ).fetchall()
    if len(rows) <= limit:
        return TimerPage(rows, None)
    due_at, id_, _, _, attempt, _ = rows.pop()
    place = due_at.to_bytes(_DUE_BYTES) + id_ + attempt.to_bytes(_ATTEMPT_BYTES)
    return TimerPage(rows, place)


def of_message(
    connection: sqlite3.Connection, *, lane: str, message_id: MessageId
) -> list[TimerRow]:
    """Return the timers of a message.  Reads all of the lane's: for a person's question."""
    return connection.execute(_OF_MESSAGE, (lane, message_id)).fetchall()


def count_first(
    connection: sqlite3.Connection, *, lane: str, from_due: Instant
) -> Mapping[str, int]:
    """Return the number of first attempts with due_at >= from_due, by group key."""
    return dict(connection.execute(_COUNT_FIRST, (lane, from_due)).fetchall())


def count_untold(connection: sqlite3.Connection, *, lane: str) -> Mapping[str, int]:
    """Return the number of messages with a first attempt here and no event, by group key."""
    return dict(connection.execute(_COUNT_UNTOLD, (lane,)).fetchall())


def first_ids(connection: sqlite3.Connection, *, lane: str) -> Iterator[tuple[MessageId, str]]:
    """Yield each message with a first attempt here, and its group key; one may come twice."""
    with closing(connection.execute(_FIRST_IDS, (lane,))) as rows:
        yield from rows


def _key_of(resume: bytes) -> tuple[int, bytes, int]:
    id_end = _DUE_BYTES + _ID_BYTES
    due_at, attempt = int.from_bytes(resume[:_DUE_BYTES]), int.from_bytes(resume[id_end:])
    return due_at, resume[_DUE_BYTES:id_end], attempt
