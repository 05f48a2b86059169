"""What is journaled goes on to the timeline and the books (design 5.3, 5.6).

Nothing else does: a deposed owner can project nothing that its successor does not know.  One write
of timeline rows and one of cells are under way; whichever may have failed is made again, as both
may be repeated.  Entries retire behind `done_through` only.
"""

from collections import deque
from collections.abc import Sequence

from pipeline.instant import Instant, earlier, later
from pipeline.lane.actions import Action, Project, ReadBooks, WriteAnswers, WriteBooks
from pipeline.lane.books import LaneBooks, tally_of
from pipeline.lane.editions import Unconfirmed
from pipeline.lane.entry import Entry
from pipeline.limits import PROJECT_ROWS_MAX, Windows
from pipeline.message import TimelineRow
from pipeline.ports import BookCell


class Projection:
    """For one owner.  Events and actions are those of its `Lane`."""

    def __init__(
        self, unconfirmed: Unconfirmed, *, retired_through: int, windows: Windows, now: Instant
    ) -> None:
        self._unconfirmed = unconfirmed
        self._checkpoint_ms = windows.checkpoint_ms
        self._to_project: deque[tuple[int, Entry]] = deque()
        self._projecting_through: int | None = None
        self._project_not_before = now
        self._projected_through = retired_through
        self._answers: deque[tuple[int, Entry]] = deque()
        self._answering: tuple[int, Entry] | None = None
        self._answers_not_before = now
        self._books = LaneBooks()
        self._books_written_at = earlier(now, windows.checkpoint_ms)
        self._books_not_before = now

    @property
    def done_through(self) -> int:
        """What every entry up to this seq says is where people look, all acknowledged."""
        done = min(self._projected_through, self._books.written_through)
        first = self._answering or (self._answers[0] if self._answers else None)
        return done if first is None else min(done, first[0] - 1)

    @property
    def is_settled(self) -> bool:
        """Nothing is left to write."""
        return (
            not self._to_project
            and self._projecting_through is None
            and self._books.is_settled
            and not self._answers
            and self._answering is None
        )

    def on_journaled(self, seq: int, entry: Entry) -> None:
        """Take an entry that is definitely in the journal.  They come in the order of seq."""
        self._to_project.append((seq, entry))
        self._books.apply(seq, tally_of(entry))
        if entry.answers:
            self._answers.append((seq, entry))

    def on_answers_written(self) -> None:
        """Take the acknowledgement of `WriteAnswers`."""
        assert self._answering is not None
        self._unconfirmed.on_confirmed(self._answering[1].edition_keys())
        self._answering = None

    def on_answers_failed(self, *, now: Instant) -> None:
        """Note that the answers may or may not have been written; they are written again."""
        assert self._answering is not None
        self._answers.appendleft(self._answering)
        self._answering = None
        self._answers_not_before = later(now, self._checkpoint_ms)

    def on_projected(self) -> None:
        """Take the acknowledgement of `Project`."""
        assert self._projecting_through is not None
        self._projected_through, self._projecting_through = self._projecting_through, None
        while self._to_project and self._to_project[0][0] <= self._projected_through:
            self._to_project.popleft()

    def on_project_failed(self, *, now: Instant) -> None:
        """Note that the rows may or may not have been written; they are written again."""
        self._projecting_through = None
        self._project_not_before = later(now, self._checkpoint_ms)

    def on_books_read(self, cells: Sequence[BookCell]) -> None:
        """Take the answer to `ReadBooks`."""
        self._books.on_read(cells)

    def on_books_read_failed(self, *, now: Instant) -> None:
        """Note that the cells could not be read."""
        self._books.on_read_failed()
        self._books_not_before = later(now, self._checkpoint_ms)

    def on_books_written(self) -> None:
        """Take the acknowledgement of `WriteBooks`."""
        self._books.on_written()

    def on_books_write_failed(self, *, now: Instant) -> None:
        """Note that the cells may or may not have been written; they are written again."""
        self._books.on_write_failed()
        self._books_not_before = later(now, self._checkpoint_ms)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._project_not_before = min(self._project_not_before, now)
        self._books_written_at = min(self._books_written_at, now)
        self._books_not_before = min(self._books_not_before, now)
        self._answers_not_before = min(self._answers_not_before, now)

    def decide(self, now: Instant, *, is_draining: bool) -> list[Action]:
        """Return what is to be written now."""
        actions: list[Action] = []
        self._decide_timeline(now, actions)
        self._decide_books(now, actions, is_draining=is_draining)
        if self._answers and self._answering is None and now >= self._answers_not_before:
            self._answering = self._answers.popleft()
            _, entry = self._answering
            actions.append(
                WriteAnswers(at=entry.at, answers=entry.answers, editions=entry.edition_keys())
            )
        return actions

    def _decide_timeline(self, now: Instant, actions: list[Action]) -> None:
        if (
            self._projecting_through is not None
            or not self._to_project
            or now < self._project_not_before
        ):
            return
        rows: list[TimelineRow] = []
        for seq, entry in self._to_project:
            rows.extend(entry.timeline_rows())
            self._projecting_through = seq
            if len(rows) >= PROJECT_ROWS_MAX:
                break
        if rows:
            actions.append(Project(rows=rows))
        else:
            self.on_projected()

    def _decide_books(self, now: Instant, actions: list[Action], *, is_draining: bool) -> None:
        if now < self._books_not_before:
            return
        unread = self._books.take_unread()
        if unread:
            actions.append(ReadBooks(books=unread))
        if now >= later(self._books_written_at, self._checkpoint_ms) or is_draining:
            cells = self._books.take_cells()
            if cells:
                self._books_written_at = now
                actions.append(WriteBooks(cells=cells))
