"""The books of a lane: how many messages of a group, and of a tenant's day, are in which state.

Counts are signed and come from journal entries alone: each line moves one message from a state to
another, and a message enters with its first line.  A cell holds the counts as of a seq and is
written whole; the highest as_of wins, so a late writer cannot roll a count back.  A book that the
owner meets for the first time may have a cell from before: what entries say is kept beside it,
by seq, until the cell was read; entries up to the cell's as_of are in it already.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from pipeline.instant import Instant
from pipeline.lane.entry import NOT_NAMED, Entry
from pipeline.lifecycle import EVENT_MASK, STATE_AFTER, Event, MessageState
from pipeline.message import tenant_of
from pipeline.ports import BookCell

_DAY_US: Final = 24 * 3600 * 1_000_000
BOOKS_IN_MEMORY_MAX: Final = 10_000

Counts = Counter[MessageState]
Tally = Mapping[str, Counts]  # book -> signed counts

_encoder: Final = msgspec.json.Encoder(order="sorted")
_decoder: Final = msgspec.json.Decoder(dict[str, int])


def group_book(group: str) -> str:
    """Return the book of a group key."""
    return f"group:{group}"


@lru_cache(maxsize=4_096)
def day_book(tenant: str, day: int) -> str:
    """Return the book of a tenant's day, counted in days since the epoch, UTC."""
    date = datetime.fromtimestamp(day * _DAY_US // 1_000_000, tz=UTC).date()
    return f"day:{tenant}/{date.isoformat()}"


def day_of(born: Instant) -> int:
    """Return the day on which a message was born, in days since the epoch, UTC."""
    return born // _DAY_US


def encode_counts(counts: Mapping[MessageState, int]) -> bytes:
    """Return the stored form of counts; states that count nothing are left out."""
    return _encoder.encode({state.value: n for state, n in counts.items() if n})


def decode_counts(counts: bytes) -> Counts:
    """Return counts from their stored form."""
    return Counter({MessageState(state): n for state, n in _decoder.decode(counts).items()})


def tally_of(entry: Entry) -> dict[str, Counts]:
    """Return what an entry adds to each book, and takes from it."""
    lines = Counter(
        zip(
            entry.groups,
            [born // _DAY_US for born in entry.borns],
            entry.events_before,
            [step & EVENT_MASK for step in entry.steps],
            strict=True,
        )
    )
    tally: dict[str, Counts] = {}
    for (group, day, before, event), count in lines.items():
        for book in (group_book(group), day_book(tenant_of(group), day)):
            counts = tally.setdefault(book, Counter())
            counts[STATE_AFTER[Event(event)]] += count
            if before != NOT_NAMED:
                counts[STATE_AFTER[Event(before)]] -= count
    return tally


@dataclass(slots=True)
class _Book:
    """One book; `counts` is None until its cell was read."""

    counts: Counts | None = None
    unmerged: list[tuple[int, Counts]] = field(default_factory=list)
    last_seq: int = -1


class LaneBooks:
    """The books that an owner keeps.  `take_*` hand work to the caller, one piece at a time."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}
        # Books whose cell was not read yet, in the order of the first seq that named them.
        self._without_base: dict[str, int] = {}
        self._reading: frozenset[str] = frozenset()
        self._dirty: set[str] = set()
        self._writing: tuple[int, frozenset[str]] | None = None
        self._applied_seq = -1
        self._written_through = -1

    @property
    def written_through(self) -> int:
        """Every entry up to this seq is counted in cells that were acknowledged."""
        return self._applied_seq if self.is_settled else self._written_through

    @property
    def is_settled(self) -> bool:
        """Nothing is left to read or write."""
        return not (self._dirty or self._writing or self._without_base)

    def apply(self, seq: int, tally: Tally) -> None:
        """Count an entry that is definitely journaled.  Entries come in the order of seq."""
        assert seq > self._applied_seq, (seq, self._applied_seq)
        if self.is_settled:
            self._written_through = self._applied_seq
        self._applied_seq = seq
        for name, delta in tally.items():
            book = self._books.get(name)
            if book is None:
                book = self._books[name] = _Book()
                self._without_base[name] = seq
            book.last_seq = seq
            if book.counts is None:
                book.unmerged.append((seq, delta))
            else:
                book.counts.update(delta)
            self._dirty.add(name)

    def take_unread(self) -> Sequence[str]:
        """Return the books whose cells must be read now; empty while a read is under way."""
        if self._reading or not self._without_base:
            return ()
        self._reading = frozenset(self._without_base)
        return tuple(self._without_base)

    def on_read(self, cells: Sequence[BookCell]) -> None:
        """Take what `take_unread` asked for; a book without a cell starts at nothing."""
        cell_of = {cell.book: cell for cell in cells}
        for name in self._reading:
            book = self._books[name]
            cell = cell_of.get(name)
            counts = decode_counts(cell.counts) if cell else Counter()
            as_of = cell.as_of if cell else -1
            for seq, delta in book.unmerged:
                if seq > as_of:
                    counts.update(delta)
            book.counts, book.unmerged = counts, []
            del self._without_base[name]
        self._reading = frozenset()

    def on_read_failed(self) -> None:
        """Note that the cells could not be read; they are asked for again."""
        self._reading = frozenset()

    def take_cells(self) -> Sequence[BookCell]:
        """Return frozen cells of the books that changed; empty while a write is under way.

        All bear the newest seq applied: for a book that no later entry names they hold for it.  A
        book whose own cell was not read yet waits, and holds `written_through` below its entries.
        """
        names = frozenset(self._dirty - self._without_base.keys())
        if self._writing or not names:
            return ()
        self._dirty -= names
        through = min(self._applied_seq, *(seq - 1 for seq in self._first_without_base()))
        self._writing = (through, names)
        cells = []
        for name in sorted(names):
            counts = self._books[name].counts
            assert counts is not None, name
            cells.append(BookCell(name, self._applied_seq, encode_counts(counts)))
        return cells

    def on_written(self) -> None:
        """Note that the cells of the last `take_cells` were acknowledged."""
        assert self._writing is not None
        self._written_through = max(self._written_through, self._writing[0])
        self._writing = None
        if len(self._books) > BOOKS_IN_MEMORY_MAX:
            self._forget_settled()

    def on_write_failed(self) -> None:
        """Note that they may or may not have been written; newer ones are written later."""
        assert self._writing is not None
        self._dirty |= self._writing[1]
        self._writing = None

    def _first_without_base(self) -> Iterable[int]:
        return (*list(self._without_base.values())[:1], self._applied_seq + 1)

    def _forget_settled(self) -> None:
        """Forget half of the books that are written; their cells are read again when needed."""
        settled = [
            name
            for name, book in self._books.items()
            if name not in self._dirty and book.last_seq <= self._written_through
        ]
        for name in settled[: BOOKS_IN_MEMORY_MAX // 2]:
            del self._books[name]
