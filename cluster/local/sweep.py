"""What is past its time to live goes, a bounded piece at a time.

A round goes on with what was found in heaps: so its pace is that of what becomes old, which is that
of what was accepted a time to live ago.  No fixed pace would be right for both a quiet folder and a
busy one.  It ends after a while all the same, and lets others write between any two pieces.

Each step first looks, with the reader, and writes only what it found, so that a file in which
nothing is old is not written.  What lies in the order of time (bodies, the buffer, a journal) is
taken from its old end.  What lies in the order of ids is walked, a stretch a step, round and round.

A row of the buffer, or a timer, goes when its time is over and its message is resolved.  One that
is not (no platform ran, or its channel has no connector) stays as long as its body: its lane will
still say what became of it.  A body's time begins when its last timer is due, and the events of a
message stay at least as long as its body.

A journal entry goes when its owner said that nobody needs it (`retired_through` of the newest
checkpoint) and its time is over: its lane may be asked for it until then.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Final, NamedTuple

from cluster.local.blocks import unpack_bodies, unpack_buffer
from cluster.local.core_file import CoreFile
from cluster.local.packed_ids import IDS, joined
from cluster.local.timeline import resolved_among
from cluster.local.writer import Transaction
from pipeline.instant import Instant, earlier
from pipeline.lane.entry import EntryUnreadable, decode_entry
from pipeline.limits import (
    OWNER_TTL_MS,
    SCHEDULE_MS_MAX,
    SWEEP_BLOCKS_MAX,
    SWEEP_ROUND_MS_MAX,
    SWEEP_ROWS_MAX,
    WAL_CHECKPOINT_BYTES_MIN,
    Windows,
)
from pipeline.ports import Clock

# From the body of a journal entry: the seq through which nothing is needed any more, None if the
# entry does not say.
RetiredThrough = Callable[[bytes], int | None]


def retired_through_of(body: bytes) -> int | None:
    """Read it from the entries of `pipeline.lane`; one that cannot be read says nothing."""
    try:
        checkpoint = decode_entry(body).checkpoint
    except EntryUnreadable:
        return None
    return None if checkpoint is None else checkpoint.retired_through


_LANES: Final = "SELECT lane FROM lanes"

_OLD_BUFFER: Final = """
SELECT last_at, first_at, packed FROM buffer WHERE lane = ? AND last_at < ? ORDER BY last_at LIMIT ?
"""
_DROP_BUFFER: Final = "DELETE FROM buffer WHERE lane = ? AND last_at <= ?"

_OLD_TIMERS: Final = """
SELECT due_at, id, attempt FROM timers WHERE lane = ? AND due_at < ?
ORDER BY due_at, id, attempt LIMIT ?
"""
_DROP_TIMERS: Final = """
DELETE FROM timers WHERE lane = ? AND (due_at, id, attempt) <= (?, ?, ?)
"""

_OLDEST_ENTRY: Final = """
SELECT segment, at FROM journal WHERE lane = ? ORDER BY segment, seq LIMIT 1
"""
_NEWEST_ENTRIES: Final = """
SELECT seq, body FROM journal WHERE lane = ? ORDER BY segment DESC, seq DESC LIMIT ?
"""
_OLD_ENTRIES: Final = """
SELECT seq, at FROM journal WHERE lane = ? AND segment = ? AND seq <= ? ORDER BY seq LIMIT ?
"""
_DROP_ENTRIES: Final = "DELETE FROM journal WHERE lane = ? AND segment = ? AND seq <= ?"

# The newest block stays, so that no block's number is ever given twice.
_OLD_BODIES: Final = """
SELECT block, born_max, (SELECT until FROM kept_bodies WHERE kept_bodies.block = bodies.block)
FROM bodies WHERE block > ? AND block < (SELECT max(block) FROM bodies)
ORDER BY block LIMIT ?
"""
_PACKED: Final = "SELECT packed FROM bodies WHERE block = ?"
_DROP_IDS: Final = f"{IDS} DELETE FROM body_ids WHERE id IN (SELECT id FROM ids) AND block = ?2"
# With a body go its old events, and then the client's key that stood for it alone.
_DROP_EVENTS: Final = f"{IDS} DELETE FROM timeline WHERE id IN (SELECT id FROM ids) AND at < ?2"
_DROP_KEYS: Final = f"""
{IDS} DELETE FROM idem WHERE id IN (SELECT id FROM ids) AND born < ?2
AND NOT EXISTS (SELECT 1 FROM timeline WHERE timeline.id = idem.id)
"""
_DROP_GROUP: Final = "DELETE FROM by_group WHERE group_key = ? AND block = ?"
_DROP_BLOCK: Final = "DELETE FROM bodies WHERE block = ?"
_IS_KEPT: Final = "SELECT EXISTS (SELECT 1 FROM kept_bodies WHERE block = ? AND until >= ?)"
_DROP_KEPT: Final = "DELETE FROM kept_bodies WHERE block = ?"

# What is left of a segment whose entries are gone; where it is needed there are entries.
_EMPTY_SEGMENTS: Final = """
lane = ?1 AND epoch < 0 AND segment < (SELECT min(segment) FROM journal WHERE lane = ?1)
"""
_HAS_EMPTY_SEGMENTS: Final = f"SELECT EXISTS (SELECT 1 FROM segments WHERE {_EMPTY_SEGMENTS})"
_DROP_EMPTY_SEGMENTS: Final = f"DELETE FROM segments WHERE {_EMPTY_SEGMENTS}"

_OLD_COMMANDS: Final = "SELECT at FROM commands WHERE lane = ? AND at < ? ORDER BY at LIMIT ?"
_DROP_COMMANDS: Final = "DELETE FROM commands WHERE lane = ? AND at <= ?"


class _Walked(NamedTuple):
    """A table in the order of ids, and how its rows that are old are found."""

    find: str
    drop: str

    @classmethod
    def of(cls, table: str, *, id_: str = "id", at: str = "at", only: str = "true") -> "_Walked":
        return cls(
            f"SELECT max({id_}), count(*) FILTER (WHERE {at} < ?2 AND {only})"
            f" FROM (SELECT * FROM {table} WHERE {id_} > ?1 ORDER BY {id_} LIMIT ?3)",
            f"DELETE FROM {table} WHERE {id_} > ? AND {id_} <= ? AND {at} < ? AND {only}",
        )


# While a message has its body a timer of it may come, and only its events say whether that counts:
# without them a message that was cancelled long before it is due would be sent.
_TIMELINE: Final = _Walked.of("timeline", only="id NOT IN (SELECT id FROM body_ids)")
# The key of a message that has its body may be used again while a timer of it still comes: whoever
# takes it for new would send it twice.
_IDEM: Final = _Walked.of("idem", at="born", only="id NOT IN (SELECT id FROM body_ids)")
_RESULTS: Final = _Walked.of("results")
_RECEIPTS: Final = _Walked.of("receipts", id_="ref")
# An edition lives as long as what it stands for, and so does one that may be confirmed yet.
_EDITIONS: Final = _Walked.of("editions", only="id NOT IN (SELECT id FROM body_ids)")
_DRAFTS: Final = _Walked.of("drafts", only="id NOT IN (SELECT id FROM body_ids)")
_REMOVED: Final = _Walked.of("suppressions", id_="key", at="since", only="is_removed")


class _Small(NamedTuple):
    """A table that is small enough to be looked through at each step."""

    find: str
    drop: str

    @classmethod
    def of(cls, table: str) -> "_Small":
        return cls(
            f"SELECT count(*) FROM {table} WHERE at < ?", f"DELETE FROM {table} WHERE at < ?"
        )


_OWNERS: Final = _Small.of("owners")
_ORDERS: Final = _Small.of("group_orders")

# A block's ids lie all over three trees; others write between two.
_BLOCKS_A_WRITE: Final = 4

# While a part of this size of what is walked is old, the walk goes on.
_OLD_SHARE: Final = 4

_US_PER_MS: Final = 1_000

# A bounded piece of work; returns whether more of its kind waits.
_Piece = Callable[[], Awaitable[bool]]

# A checkpoint that retires anything is among the newest entries of a lane that moves at all.
_CHECKPOINT_WITHIN_ENTRIES: Final = 256


class Sweep:
    """Sweeps one core's file."""

    def __init__(
        self,
        file: CoreFile,
        *,
        clock: Clock,
        windows: Windows,
        retired_through: RetiredThrough,
    ) -> None:
        self._file = file
        self._clock = clock
        self._windows = windows
        self._retired_through = retired_through
        self._bodies_walked = 0
        self._walked: dict[_Walked, bytes] = {}

    async def round(self) -> None:
        """Do pieces of work until nothing waits in heaps, for a bounded time.

        May be repeated; raises as writes do.
        """
        now = self._clock.now()
        begun_us = self._clock.reading().boot_us
        behind = self._pieces(now)
        while behind:
            behind = [piece for piece in behind if await piece()]
            # Else a long round would leave a log that is as long as all that it removed.
            if self._file.writer.wal_bytes() >= WAL_CHECKPOINT_BYTES_MIN:
                await self._file.writer.checkpoint()
            if self._clock.reading().boot_us - begun_us >= SWEEP_ROUND_MS_MAX * _US_PER_MS:
                break
            await asyncio.sleep(0)
        await self._sweep_small(_OWNERS, earlier(now, OWNER_TTL_MS))
        # It may be meant for a message whose time is as far ahead as can be.
        order_ttl_ms = SCHEDULE_MS_MAX + self._windows.messages_ttl_ms
        await self._sweep_small(_ORDERS, earlier(now, order_ttl_ms))

    def _pieces(self, now: Instant) -> list[_Piece]:
        windows = self._windows
        buffer, journal = (
            earlier(now, ms) for ms in (windows.buffer_ttl_ms, windows.journal_ttl_ms)
        )
        messages = earlier(now, windows.messages_ttl_ms)
        timeline = earlier(now, windows.timeline_ttl_ms)
        return [
            partial(self._sweep_buffer, buffer, unresolved_cutoff=messages),
            partial(self._sweep_timers, buffer, unresolved_cutoff=messages),
            partial(self._sweep_journal, journal),
            partial(self._sweep_bodies, messages),
            partial(self._sweep_commands, messages),
            partial(self._walk, _TIMELINE, timeline),
            partial(self._walk, _RESULTS, timeline),
            partial(self._walk, _RECEIPTS, timeline),
            partial(self._walk, _REMOVED, timeline),
            partial(self._walk, _EDITIONS, messages),
            partial(self._walk, _DRAFTS, messages),
            partial(self._walk, _IDEM, earlier(now, windows.idem_life_ms)),
            self._sweep_segments,
        ]

    async def _sweep_buffer(self, cutoff: Instant, *, unresolved_cutoff: Instant) -> bool:
        is_behind = False

        def find(connection: sqlite3.Connection) -> list[tuple[str, int]]:
            nonlocal is_behind
            bounds = []
            for (lane,) in connection.execute(_LANES).fetchall():
                old = connection.execute(_OLD_BUFFER, (lane, cutoff, SWEEP_BLOCKS_MAX)).fetchall()
                gone_through = None
                for last_at, first_at, packed in old:
                    rows = unpack_buffer(packed, first_at=first_at)
                    ids = {row[1] for row in rows}
                    if last_at >= unresolved_cutoff and resolved_among(connection, ids) != ids:
                        break
                    gone_through = last_at
                else:
                    is_behind |= len(old) == SWEEP_BLOCKS_MAX
                if gone_through is not None:
                    bounds.append((lane, gone_through))
            return bounds

        await self._drop(_DROP_BUFFER, await self._file.reader.read(find))
        return is_behind

    async def _sweep_timers(self, cutoff: Instant, *, unresolved_cutoff: Instant) -> bool:
        is_behind = False

        def find(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
            nonlocal is_behind
            bounds = []
            for (lane,) in connection.execute(_LANES).fetchall():
                old = connection.execute(_OLD_TIMERS, (lane, cutoff, SWEEP_ROWS_MAX)).fetchall()
                resolved = resolved_among(connection, {row[1] for row in old})
                gone = list(
                    takewhile(lambda row: row[0] < unresolved_cutoff or row[1] in resolved, old)  # noqa: B023
                )
                if gone:
                    bounds.append((lane, *gone[-1]))
                is_behind |= len(gone) == SWEEP_ROWS_MAX
            return bounds

        await self._drop(_DROP_TIMERS, await self._file.reader.read(find))
        return is_behind

    async def _sweep_journal(self, cutoff: Instant) -> bool:
        is_behind = False

        def find(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
            nonlocal is_behind
            bounds = []
            for (lane,) in connection.execute(_LANES).fetchall():
                # Segments become empty one after the other.
                oldest = connection.execute(_OLDEST_ENTRY, (lane,)).fetchone()
                if oldest is None or oldest[1] >= cutoff:
                    continue
                segment, retired = oldest[0], self._newest_retired_through(connection, lane)
                entries = connection.execute(
                    _OLD_ENTRIES, (lane, segment, retired, SWEEP_ROWS_MAX)
                ).fetchall()
                old = list(takewhile(lambda entry: entry[1] < cutoff, entries))
                if old:
                    bounds.append((lane, segment, old[-1][0]))
                is_behind |= len(old) == SWEEP_ROWS_MAX
            return bounds

        await self._drop(_DROP_ENTRIES, await self._file.reader.read(find))
        return is_behind

    async def _sweep_segments(self) -> bool:
        """Remove the cells of closed segments whose entries are all gone.

        Nobody can open one again: a store opens none below one that it has.
        """

        def find(connection: sqlite3.Connection) -> list[tuple[str]]:
            return [
                lane
                for lane in connection.execute(_LANES).fetchall()
                if connection.execute(_HAS_EMPTY_SEGMENTS, lane).fetchone()[0]
            ]

        await self._drop(_DROP_EMPTY_SEGMENTS, await self._file.reader.read(find))
        return False

    def _newest_retired_through(self, connection: sqlite3.Connection, lane: str) -> int:
        """Return -1 where no checkpoint is found: then nothing may go."""
        entries = connection.execute(_NEWEST_ENTRIES, (lane, _CHECKPOINT_WITHIN_ENTRIES))
        for seq, body in entries.fetchall():
            if (retired := self._retired_through(body)) is not None:
                # The newest checkpoint itself is always needed.
                return min(retired, int(seq) - 1)
        return -1

    async def _sweep_bodies(self, cutoff: Instant) -> bool:
        """Look at a stretch of the blocks; those that a timer keeps lie among the others."""
        start = self._bodies_walked

        def find(connection: sqlite3.Connection) -> tuple[list[int], int]:
            old: list[int] = []
            looked = connection.execute(_OLD_BODIES, (start, SWEEP_ROWS_MAX)).fetchall()
            for block, born_max, until in looked:
                if born_max >= cutoff:
                    return old, 0  # what came later is swept later: at most one time to live
                if until is None or until < cutoff:
                    old.append(block)
                if len(old) == SWEEP_BLOCKS_MAX:
                    return old, block
            return old, looked[-1][0] if looked else 0

        blocks, self._bodies_walked = await self._file.reader.read(find)
        windows, now = self._windows, self._clock.now()
        for start in range(0, len(blocks), _BLOCKS_A_WRITE):
            await self._file.writer.write(
                partial(
                    _drop_blocks,
                    blocks=blocks[start : start + _BLOCKS_A_WRITE],
                    cutoff=cutoff,
                    events_cutoff=earlier(now, windows.timeline_ttl_ms),
                    keys_cutoff=earlier(now, windows.idem_ttl_ms),
                )
            )
        return len(blocks) == SWEEP_BLOCKS_MAX

    async def _sweep_commands(self, cutoff: Instant) -> bool:
        is_behind = False

        def find(connection: sqlite3.Connection) -> list[tuple[str, int]]:
            nonlocal is_behind
            bounds = []
            for (lane,) in connection.execute(_LANES).fetchall():
                old = connection.execute(_OLD_COMMANDS, (lane, cutoff, SWEEP_ROWS_MAX)).fetchall()
                if old:
                    bounds.append((lane, old[-1][0]))
                is_behind |= len(old) == SWEEP_ROWS_MAX
            return bounds

        await self._drop(_DROP_COMMANDS, await self._file.reader.read(find))
        return is_behind

    async def _walk(self, table: _Walked, cutoff: Instant) -> bool:
        """Sweep the next stretch of a table; return whether much of it was old."""
        start = self._walked.get(table, b"")

        def look(connection: sqlite3.Connection) -> tuple[bytes | None, int]:
            row: tuple[bytes | None, int] = connection.execute(
                table.find, (start, cutoff, SWEEP_ROWS_MAX)
            ).fetchone()
            return row

        end, old_count = await self._file.reader.read(look)
        if old_count:
            await self._drop(table.drop, [(start, end, cutoff)])
        self._walked[table] = end or b""
        # Old rows lie among young ones, so a stretch is seldom old as a whole.
        return old_count * _OLD_SHARE >= SWEEP_ROWS_MAX

    async def _sweep_small(self, table: _Small, cutoff: Instant) -> None:
        def find(connection: sqlite3.Connection) -> int:
            count: int = connection.execute(table.find, (cutoff,)).fetchone()[0]
            return count

        if await self._file.reader.read(find):
            await self._drop(table.drop, [(cutoff,)])

    async def _drop(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        def drop(transaction: Transaction) -> None:
            transaction.connection.executemany(statement, rows)

        if rows:
            await self._file.writer.write(drop)


def _drop_blocks(
    transaction: Transaction,
    *,
    blocks: Sequence[int],
    cutoff: Instant,
    events_cutoff: Instant,
    keys_cutoff: Instant,
) -> None:
    connection = transaction.connection
    for block in blocks:
        row = connection.execute(_PACKED, (block,)).fetchone()
        if row is None:
            continue  # somebody else swept it
        if connection.execute(_IS_KEPT, (block, cutoff)).fetchone()[0]:
            continue  # a timer was written since
        rows = unpack_bodies(row[0])
        ids = joined(rows.ids)
        connection.execute(_DROP_IDS, (ids, block))
        connection.execute(_DROP_EVENTS, (ids, events_cutoff))
        connection.execute(_DROP_KEYS, (ids, keys_cutoff))
        connection.executemany(_DROP_GROUP, [(group, block) for group in set(rows.groups)])
        connection.execute(_DROP_KEPT, (block,))
        connection.execute(_DROP_BLOCK, (block,))
