"""A core's file filled from elsewhere, for whoever checks it with `core_snapshot`.

No platform works on such a file: it holds what an audit reads, and nothing of owners.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from cluster.local import bodies, cells, timeline, timers
from cluster.local.blocks import pack_buffer
from cluster.local.schema import connect, create_tables
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import CommandEntry, CommandResult
from pipeline.message import BufferRow, MessageRow, TimelineRow, TimerRow
from pipeline.ports import BookCell, Clock, JournalEntry

_INSERT_ROW: Final = "INSERT INTO buffer (lane, last_at, first_at, packed) VALUES (?1, ?2, ?2, ?3)"
# A block that was there and is gone: so a file says that it was swept.
_INSERT_SWEPT: Final = "INSERT INTO bodies (block, born_max, packed) VALUES (1, 0, x'')"
_DELETE_SWEPT: Final = "DELETE FROM bodies WHERE block = 1"
_INSERT_ENTRY: Final = """
INSERT INTO journal (lane, segment, seq, at, body) VALUES (?, ?, ?, 0, ?)
"""
_INSERT_COMMAND: Final = """
INSERT INTO commands (lane, at, id, kind, message_id, pk, group_key, asked_by, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_RESULT: Final = """
INSERT OR IGNORE INTO results (id, lane, at, verdict, detail, counts) VALUES (?, ?, ?, ?, ?, x'80')
"""


class CoreCopy:
    """Writes one file, in one transaction; `close` ends it."""

    def __init__(self, path: Path, *, clock: Clock, is_swept: bool) -> None:
        """`is_swept`: messages may have been removed because their time was over."""
        self.path = path
        self._connection = connect(path)
        # It is looked at once and thrown away: a crash costs no more than another copy.
        self._connection.execute("PRAGMA synchronous = OFF")
        create_tables(self._connection, path)
        self._connection.execute("BEGIN")
        self._transaction = Transaction(self._connection, clock)
        self._is_swept = is_swept
        if is_swept:
            self._connection.execute(_INSERT_SWEPT)
        # A file of ours has one row of a lane in an instant, a table of a cluster may have many.
        self._newest_at: dict[tuple[str, str], Instant] = {}

    def close(self) -> None:
        """Let others read what was written."""
        if self._is_swept:
            self._connection.execute(_DELETE_SWEPT)
        self._connection.execute("COMMIT")
        self._connection.close()

    def add_messages(self, rows: Sequence[MessageRow]) -> None:
        """Add messages; an id that is there already keeps its first row."""
        if rows:
            bodies.write(self._transaction, rows)

    def add_events(self, rows: Sequence[TimelineRow]) -> None:
        """Add events of messages."""
        timeline.project(self._transaction, rows)

    def add_rows(self, lane: str, rows: Iterable[BufferRow]) -> None:
        """Add rows of a lane's buffer, in order of `at`; of those of one instant each is later."""
        self._connection.executemany(
            _INSERT_ROW,
            [
                (
                    lane,
                    self._next_at(lane, "buffer", at),
                    pack_buffer([(id_, pk, born, attempt, due_at, group)]),
                )
                for at, id_, pk, born, attempt, due_at, group in rows
            ],
        )

    def add_timers(self, lane: str, rows: Sequence[TimerRow]) -> None:
        """Add timers of a lane."""
        if rows:
            timers.write(self._transaction, rows, lane=lane)

    def add_commands(
        self,
        lane: str,
        rows: Iterable[tuple[Instant, CommandEntry]],
        results: Iterable[CommandResult],
    ) -> None:
        """Add what was asked of a lane, and what became of it."""
        self._connection.executemany(
            _INSERT_COMMAND,
            [(lane, self._next_at(lane, "commands", at), *entry) for at, entry in rows],
        )
        self._connection.executemany(
            _INSERT_RESULT,
            [(row.command_id, row.lane, row.at, row.verdict, row.detail) for row in results],
        )

    def add_lane(self, lane: LaneId) -> None:
        """Note that a lane was announced."""
        cells.announce_lane(self._transaction, lane)

    def add_entries(self, lane: str, segment: int, entries: Iterable[JournalEntry]) -> None:
        """Add entries of a lane's journal."""
        self._connection.executemany(
            _INSERT_ENTRY, [(lane, segment, entry.seq, entry.body) for entry in entries]
        )

    def add_books(self, lane: str, books: Sequence[BookCell]) -> None:
        """Add cells of a lane."""
        cells.write_books(self._transaction, books, lane=lane)

    def _next_at(self, lane: str, table: str, at: Instant) -> Instant:
        newest = self._newest_at.get((lane, table))
        at = at if newest is None or at > newest else Instant(newest + 1)
        self._newest_at[lane, table] = at
        return at
