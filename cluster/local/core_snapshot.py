"""One core's file as it stood at one instant, for whoever checks all of it.

A read transaction of SQLite sees one state of the file however long it lasts, while others go on
writing; all that belongs to a lane lies in one file, so that nothing in the view is in motion.
What it costs: the log cannot be started over before the view is closed, and grows meanwhile.

Everything comes in batches and in the order in which it lies on the disk; no batch is large.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from cluster.local import cells, timers
from cluster.local.blocks import BodyBlock, unpack_bodies, unpack_buffer
from cluster.local.packed_ids import IDS, joined
from cluster.local.read_only import connect_read_only
from cluster.local.schema import schema_version
from cluster.local.sqlite_faults import describe
from pipeline.errors import StoreUnavailable
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Step
from pipeline.limits import QUERY_PAGE_ROWS_MAX
from pipeline.message import BufferRow, MessageId, TimerRow
from pipeline.ports import BookCell, JournalEntry

_NEVER: Final = Instant(1 << 62)

# Steps of one message, joined by commas, in any order; None: it has none.
Steps = str | None

_NEXT_BUFFERED_LANE: Final = "SELECT min(lane) FROM buffer WHERE lane > ?"
_NEXT_LANE_WITH_TIMERS: Final = "SELECT min(lane) FROM timers WHERE lane > ?"
_NEXT_JOURNALED_LANE: Final = "SELECT min(lane) FROM journal WHERE lane > ?"
_ENTRIES: Final = """
SELECT seq, body FROM journal WHERE lane = ? ORDER BY segment DESC, seq DESC
"""
_BUFFER: Final = "SELECT first_at, packed FROM buffer WHERE lane = ? ORDER BY last_at"
_BODIES: Final = "SELECT packed FROM bodies ORDER BY block"
_IS_SWEPT: Final = "SELECT count(*) < coalesce(max(block), 0) FROM bodies"
_STEPS_OF: Final = f"""
{IDS} SELECT (SELECT group_concat(step) FROM timeline WHERE timeline.id = ids.id) FROM ids
"""
_BODILESS: Final = f"""
{IDS} SELECT id FROM ids WHERE NOT EXISTS (SELECT 1 FROM body_ids WHERE body_ids.id = ids.id)
"""
_UNANSWERED: Final = """
SELECT at, id, message_id FROM commands WHERE lane = ? AND at <= ? AND kind NOT IN
    ('receipt', 'testimony')
AND NOT EXISTS (SELECT 1 FROM results WHERE results.id = commands.id)
ORDER BY at
"""
_DETAIL_OF: Final = "SELECT detail FROM timeline WHERE id = ? AND step = ?"
_TIMELINES: Final = "SELECT id, group_concat(step) FROM timeline GROUP BY id"
_BODILESS_TIMELINES: Final = """
SELECT id, group_concat(step), min(at) FROM timeline
WHERE NOT EXISTS (SELECT 1 FROM body_ids WHERE body_ids.id = timeline.id)
GROUP BY id
"""


class BodilessTimeline(NamedTuple):
    """Events of a message that is not stored."""

    id: MessageId
    steps: str
    first_at: Instant


@contextmanager
def open_snapshot(path: Path) -> Iterator["CoreSnapshot"]:
    """Give the view of a file that is there.

    Raises `StoreUnavailable` if the file cannot be read, also while it is being read.
    """
    try:
        with closing(connect_read_only(path)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM clock").fetchone()  # from here on nothing moves
            yield CoreSnapshot(connection)
    except sqlite3.Error as error:
        raise StoreUnavailable(describe(error, path)) from error
    except msgspec.DecodeError as error:
        raise StoreUnavailable(
            f"{path}: a block is damaged ({error}): stop the platform and restore it from a copy"
        ) from error


class CoreSnapshot:
    """The view.  An iterator must be read to its end, or closed, before the view is."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def announced_lanes(self) -> list[str]:
        """Return the lanes that were announced."""
        return [str(lane) for lane in cells.all_lanes(self._connection)]

    def used_lanes(self) -> set[str]:
        """Return the lanes that have rows, timers or entries, announced or not."""
        used = {*self._names(_NEXT_BUFFERED_LANE), *self._names(_NEXT_JOURNALED_LANE)}
        return used | set(self._names(_NEXT_LANE_WITH_TIMERS)) if self._has_timers() else used

    def entries(self, lane: str) -> Iterator[JournalEntry]:
        """Yield the entries of a lane's journal, newest first."""
        with closing(self._connection.execute(_ENTRIES, (lane,))) as rows:
            for seq, body in rows:
                yield JournalEntry(seq, body)

    def buffer(self, lane: str) -> Iterator[list[BufferRow]]:
        """Yield the rows of a lane's buffer, in order of `at`."""
        with closing(self._connection.execute(_BUFFER, (lane,))) as blocks:
            for first_at, packed in blocks:
                yield unpack_buffer(packed, first_at=first_at)

    def timers(self, lane: str) -> Iterator[list[TimerRow]]:
        """Yield the timers of a lane, in order of (due_at, id, attempt)."""
        resume: bytes | None = b"" if self._has_timers() else None
        while resume is not None:
            page = timers.read_page(
                self._connection,
                lane=lane,
                from_due=Instant(0),
                through_due=_NEVER,
                limit=QUERY_PAGE_ROWS_MAX,
                resume=resume or None,
            )
            yield list(page.rows)
            resume = page.resume

    def unanswered(
        self, lane: str, *, through: Instant
    ) -> Iterator[list[tuple[Instant, bytes, bytes]]]:
        """Yield (at, id, message id) of the lane's commands up to an instant without a result."""
        if schema_version(self._connection) < 2:  # there were no commands
            return
        with closing(self._connection.execute(_UNANSWERED, (lane, through))) as rows:
            while page := rows.fetchmany(QUERY_PAGE_ROWS_MAX):
                yield page

    def messages(self) -> Iterator[BodyBlock]:
        """Yield what is stored, in the order of its coming."""
        with closing(self._connection.execute(_BODIES)) as blocks:
            for (packed,) in blocks:
                yield unpack_bodies(packed)

    def is_swept(self) -> bool:
        """Return whether messages were removed because their time was over."""
        return bool(self._connection.execute(_IS_SWEPT).fetchone()[0])

    def steps_of(self, ids: Sequence[MessageId]) -> list[Steps]:
        """Return the steps of each message, in order."""
        return [steps for (steps,) in self._connection.execute(_STEPS_OF, (joined(ids),))]

    def details_of(self, events: Sequence[tuple[MessageId, Step]]) -> dict[MessageId, str]:
        """Return the detail of each of these events that is in the timeline."""
        found = {}
        for id_, step in events:
            row = self._connection.execute(_DETAIL_OF, (id_, step)).fetchone()
            if row is not None:
                found[id_] = row[0]
        return found

    def bodiless(self, ids: Sequence[MessageId]) -> set[MessageId]:
        """Return those ids that are not stored."""
        return {MessageId(id_) for (id_,) in self._connection.execute(_BODILESS, (joined(ids),))}

    def timelines(self) -> Iterator[list[tuple[MessageId, str]]]:
        """Yield every message that has events with its steps, in order of id."""
        with closing(self._connection.execute(_TIMELINES)) as rows:
            while page := rows.fetchmany(QUERY_PAGE_ROWS_MAX):
                yield page

    def bodiless_timelines(self) -> Iterator[BodilessTimeline]:
        """Yield the timelines of messages that are not stored."""
        with closing(self._connection.execute(_BODILESS_TIMELINES)) as rows:
            for row in rows:
                yield BodilessTimeline(*row)

    def cells(self) -> list[tuple[LaneId, BookCell]]:
        """Return the cells of all books."""
        return cells.books_with(self._connection, "")

    def _has_timers(self) -> bool:
        # A file that no platform opened since version 1 has no such table.
        return schema_version(self._connection) >= 2

    def _names(self, next_after: str) -> Iterator[str]:
        # Skips from name to name in the tree, as there are few and many rows of each.
        name: str | None = ""
        while name := self._connection.execute(next_after, (name,)).fetchone()[0]:
            yield name
