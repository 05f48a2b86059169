"""What stands in the lanes: how far each came, what lags, and the books with nothing left out.

The store is read while it changes, verb by verb, and yet the figures of a lane fit together: first
its journal is read back, then what its buffer holds and nobody has named, then the books, then the
entries that were appended meanwhile.  So every message that was in the buffer at the second step is
either unnamed or named by an entry that was read, never both; and every entry is counted once, in
a cell of the books or beside it.
"""

from array import array
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from actors.cli.id_columns import ID_BYTES, id_column
from cluster.topology.generation import Generation
from pipeline.instant import DurationMs, Instant, earlier
from pipeline.lane.books import Counts, Tally, decode_counts, tally_of
from pipeline.lane.entry import EntryUnreadable, decode_entry
from pipeline.lane.recovery import JournalReadBack, Recovered
from pipeline.lane_id import LaneId
from pipeline.lifecycle import MessageState, Step
from pipeline.limits import JOURNAL_PAGE_ENTRIES_MAX, UNNAMED_PAGE_ROWS_MAX
from pipeline.message import BufferRow, MessageId
from pipeline.ports import BookCell, Ownership, QueryStore, TimelineEvent

# What the data of one lane does to whoever reads it.
_UNREADABLE: Final = (EntryUnreadable, msgspec.DecodeError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """One lane.  Unnamed: in the buffer, and in no entry so far; together they are the lag."""

    lane: LaneId
    ownership: Ownership | None  # None: nobody owned it so far
    offset: Instant
    unretired_count: int
    unnamed_count: int
    oldest_unnamed: Instant | None  # its born
    missed_count: int = 0
    fault: str | None = None  # why the lane cannot be read: it stands still, and is not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesView:
    """All lanes, and the counts of the books that were asked for, by book."""

    lanes: Sequence[LaneView]
    books: dict[str, Counts]

    @property
    def unnamed_count(self) -> int:
        """How many messages are in a buffer and not yet named."""
        return sum(view.unnamed_count for view in self.lanes)


@dataclass(slots=True)
class _Begun:
    """A lane whose journal and buffer were read."""

    lane: LaneId
    ownership: Ownership | None
    offset: Instant
    read_from: Instant  # below it no row is open
    retired_through: int
    newest_seq: int
    missed_count: int
    entries_count: int
    named: bytearray = field(default_factory=bytearray)
    tallies: list[tuple[int, Tally]] = field(default_factory=list)
    buffered: bytearray = field(default_factory=bytearray)
    buffered_borns: "array[int]" = field(default_factory=lambda: array("q"))
    fault: str | None = None


async def look_at_lanes(
    store: QueryStore, *, book_prefix: str | None, group: str | None = None
) -> LanesView:
    """Return how all lanes stand, and the books that begin with the prefix (None: no books).

    `group` (a key): only its messages are counted as unnamed.  A lane that cannot be decoded says
    so.  Raises `StoreUnavailable`.
    """
    generations = {generation.number: generation for generation in await store.read_generations()}
    begun = [
        await _begin(store, lane, first_offset=_first_offset(generations[lane.generation]))
        for lane in await store.list_lanes()
    ]
    for lane in begun:
        await _try_to(_read_buffer(store, lane, group=group), lane)
    cells = [] if book_prefix is None else await store.books(book_prefix)
    for lane in begun:
        await _try_to(_read_newer_entries(store, lane), lane)
    books = {} if book_prefix is None else _books(cells, begun, book_prefix)
    return LanesView(lanes=[_view(lane) for lane in begun], books=books)


async def _try_to(read: Coroutine[None, None, None], begun: _Begun) -> None:
    if begun.fault is not None:
        read.close()
        return
    try:
        await read
    except _UNREADABLE as error:
        begun.fault = str(error)


async def unnamed_rows(
    store: QueryStore, lane: LaneId, *, generation: Generation, from_at: Instant, limit: int
) -> list[BufferRow]:
    """Return up to `limit` rows with at >= from_at that are in the buffer and not yet named."""
    begun = await _begin(store, lane, first_offset=_first_offset(generation))
    named = {bytes(begun.named[n : n + ID_BYTES]) for n in range(0, len(begun.named), ID_BYTES)}
    rows: list[BufferRow] = []
    from_at = max(from_at, begun.read_from)
    while page := await store.unprojected(lane, from_at=from_at, limit=limit):
        rows += [row for row in page if row[1] not in named]
        if len(page) < limit or len(rows) >= limit:
            break
        from_at = Instant(page[-1][0] + 1)
    return rows[:limit]


async def journaled_events(
    store: QueryStore, lane: LaneId, message_id: MessageId
) -> list[TimelineEvent]:
    """Return the events of a message that the un-retired entries of its lane name."""
    events = []
    recovered = await _read_back(store, lane, first_offset=Instant(0))
    for _seq, entry in recovered.entries:
        for row in entry.timeline_rows():
            if row[0] == message_id:
                events.append(TimelineEvent(row[3], Step(row[2]), row[4]))
    return events


def _first_offset(generation: Generation) -> Instant:
    # P is W + 2 epsilon: the span by which a fresh lane starts early.
    return earlier(Instant(generation.starts_at), DurationMs(generation.prompt_ms))


async def _begin(store: QueryStore, lane: LaneId, *, first_offset: Instant) -> _Begun:
    newest = await store.newest_segment(lane)
    fault: str | None = None
    try:
        recovered = await _read_back(store, lane, first_offset=first_offset)
    except _UNREADABLE as error:
        fault = str(error)
        recovered = Recovered(next_seq=0, offset=first_offset, retired_through=-1, entries=[])
    begun = _Begun(
        lane=lane,
        ownership=None if newest is None else newest.ownership,
        offset=recovered.offset,
        read_from=recovered.read_from,
        retired_through=recovered.retired_through,
        newest_seq=recovered.next_seq - 1,
        missed_count=recovered.missed,
        entries_count=len(recovered.entries),
        fault=fault,
    )
    for seq, entry in recovered.entries:
        begun.named += b"".join(entry.message_ids)
        begun.tallies.append((seq, tally_of(entry)))
    return begun


async def _read_back(store: QueryStore, lane: LaneId, *, first_offset: Instant) -> Recovered:
    newest = await store.newest_segment(lane)
    read_back = JournalReadBack(
        newest_segment=0 if newest is None else newest.number, first_offset=first_offset
    )
    while not read_back.is_complete:
        page = await store.read_journal(
            lane, read_back.segment, before_seq=read_back.before_seq, limit=JOURNAL_PAGE_ENTRIES_MAX
        )
        read_back.on_entries(page, limit=JOURNAL_PAGE_ENTRIES_MAX)
    return read_back.result()


async def _read_buffer(store: QueryStore, begun: _Begun, *, group: str | None) -> None:
    from_at = begun.read_from
    while rows := await store.unprojected(begun.lane, from_at=from_at, limit=UNNAMED_PAGE_ROWS_MAX):
        mine = rows if group is None else [row for row in rows if row[6] == group]
        begun.buffered += b"".join([row[1] for row in mine])
        begun.buffered_borns.extend([row[3] for row in mine])
        if len(rows) < UNNAMED_PAGE_ROWS_MAX:
            break
        # Rows of one instant may lie on two pages; who is read twice is counted once.
        newest_at = rows[-1][0]
        from_at = newest_at if newest_at > from_at else Instant(newest_at + 1)


async def _read_newer_entries(store: QueryStore, begun: _Begun) -> None:
    newest = await store.newest_segment(begun.lane)
    segment = -1 if newest is None else newest.number
    before_seq: int | None = None
    while segment >= 0:
        page = await store.read_journal(
            begun.lane, segment, before_seq=before_seq, limit=JOURNAL_PAGE_ENTRIES_MAX
        )
        newer = [journaled for journaled in page if journaled.seq > begun.newest_seq]
        for journaled in newer:
            entry = decode_entry(journaled.body)
            begun.named += b"".join(entry.message_ids)
            begun.tallies.append((journaled.seq, tally_of(entry)))
        if newer:
            before_seq = newer[-1].seq
        if len(newer) < len(page) or before_seq == begun.newest_seq + 1:
            return
        if len(page) < JOURNAL_PAGE_ENTRIES_MAX:
            segment -= 1


def _books(
    cells: Sequence[tuple[LaneId, BookCell]], begun: Sequence[_Begun], prefix: str
) -> dict[str, Counts]:
    books: dict[str, Counts] = {}
    as_of: dict[tuple[LaneId, str], int] = {}
    for lane, cell in cells:
        as_of[lane, cell.book] = cell.as_of
        books.setdefault(cell.book, Counter()).update(decode_counts(cell.counts))
    for one in begun:
        for seq, tally in one.tallies:
            for book, counts in tally.items():
                if book.startswith(prefix) and seq > as_of.get((one.lane, book), -1):
                    books.setdefault(book, Counter()).update(counts)
    return books


def _view(begun: _Begun) -> LaneView:
    buffered, places = np.unique(id_column(begun.buffered), return_index=True)
    is_unnamed = np.isin(buffered, id_column(begun.named), invert=True)
    unnamed = places[is_unnamed]
    return LaneView(
        lane=begun.lane,
        ownership=begun.ownership,
        offset=begun.offset,
        unretired_count=begun.entries_count,
        unnamed_count=len(unnamed),
        oldest_unnamed=(
            Instant(int(np.array(begun.buffered_borns)[unnamed].min())) if len(unnamed) else None
        ),
        missed_count=begun.missed_count,
        fault=begun.fault,
    )


def sum_of(books: dict[str, Counts]) -> Counts:
    """Return the counts of all books together."""
    total: Counter[MessageState] = Counter()
    for counts in books.values():
        total.update(counts)
    return total
