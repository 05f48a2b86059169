"""Rows of `timeline`: the events of messages."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from cluster.local.packed_ids import IDS, joined
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.later import NewestEvent
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, Step
from pipeline.message import MessageId, TimelineRow
from pipeline.ports import TimelineEvent

# Rows that differ in their id only are written by one statement; it costs more than a row of its
# own if they are fewer than this.
_ALIKE_MIN: Final = 4

_INSERT_ALIKE: Final = f"INSERT OR IGNORE INTO timeline {IDS} SELECT id, ?2, ?3, ?4 FROM ids"
_INSERT: Final = "INSERT OR IGNORE INTO timeline (id, step, at, detail) VALUES (?, ?, ?, ?)"
# 0 is no step.
_FOLDS: Final = f"""
{IDS}
SELECT group_concat(coalesce((SELECT max(step) FROM timeline WHERE timeline.id = ids.id), 0))
FROM ids
"""
_NEWEST_EVENTS: Final = f"""
{IDS}
SELECT id, at, step, detail FROM ids CROSS JOIN timeline USING (id)
WHERE step = (SELECT max(step) FROM timeline AS later WHERE later.id = ids.id)
"""
_EVENTS: Final = "SELECT at, step, detail FROM timeline WHERE id = ? ORDER BY step"


def project(transaction: Transaction, rows: Sequence[TimelineRow]) -> None:
    """Write rows; one that is there stays as it is."""
    alike: dict[tuple[int, Instant, str], list[MessageId]] = {}
    for message_id, _pk, step, at, detail in rows:
        alike.setdefault((step, at, detail), []).append(message_id)
    few: list[tuple[MessageId, int, Instant, str]] = []
    for (step, at, detail), ids in alike.items():
        if len(ids) < _ALIKE_MIN:
            few += [(message_id, step, at, detail) for message_id in ids]
        else:
            transaction.connection.execute(_INSERT_ALIKE, (joined(ids), step, at, detail))
    if few:
        transaction.connection.executemany(_INSERT, few)


def folds(connection: sqlite3.Connection, ids: Sequence[MessageId]) -> dict[MessageId, Step]:
    """Return the largest step of each id that has one."""
    steps: str | None = connection.execute(_FOLDS, (joined(ids),)).fetchone()[0]
    if steps is None:
        return {}
    return {
        message_id: Step(step)
        for message_id, step in zip(ids, map(int, steps.split(",")), strict=True)
        if step
    }


def resolved_among(connection: sqlite3.Connection, ids: Collection[MessageId]) -> set[MessageId]:
    """Return those ids whose message waits for nothing that its lane could do."""
    steps = folds(connection, list(ids))
    return {id_ for id_, step in steps.items() if step & EVENT_MASK >= RESOLVED_FROM}


def newest_events(
    connection: sqlite3.Connection, ids: Sequence[MessageId]
) -> dict[MessageId, NewestEvent]:
    """Return the event of the largest step of each id that has one."""
    rows = connection.execute(_NEWEST_EVENTS, (joined(ids),))
    return {id_: NewestEvent(Instant(at), Step(step), detail) for id_, at, step, detail in rows}


def events_of(connection: sqlite3.Connection, message_id: MessageId) -> list[TimelineEvent]:
    """Return the events of a message, by step."""
    return [
        TimelineEvent(Instant(at), Step(step), detail)
        for at, step, detail in connection.execute(_EVENTS, (message_id,))
    ]
