"""What a lane has read of its timers: rows due later than the near horizon (design 5.5).

Timers are read a slice of due time ahead, by the lead.  Nobody writes one into a slice that may
have been read: due later than H means that it was acknowledged before.  Every timer is looked up
in the fold of its message, as only that can say whether it still counts, and holds the cursor until
it is resolved.
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from pipeline.instant import Instant, later
from pipeline.lane.actions import Action, ReadTimers
from pipeline.later import TimerPage
from pipeline.limits import READ_PAGE_ROWS_MAX, Windows
from pipeline.message import MessageId, TimerRow

_US_PER_MS = 1_000


class Timers:
    """The timers of one owner.  Events and actions are those of its `Lane`."""

    def __init__(self, *, cursor: Instant, windows: Windows, now: Instant) -> None:
        self._windows = windows
        self._cursor = cursor
        self._loaded_through = cursor
        self._reading_through = cursor
        self._resume: bytes | None = None
        self._is_reading = False
        self._not_before = now
        # A heap: what this owner writes itself comes between what it reads.
        self._held: list[tuple[Instant, MessageId, int]] = []
        # What is being written by this owner: no entry says yet that anybody waits for it.
        self._unjournaled: dict[tuple[MessageId, int], Instant] = {}
        self._newest_due_at: Instant | None = None
        self.rows_read_count = 0

    @property
    def newest_due_at(self) -> Instant | None:
        """When the newest timer that was read is due."""
        return self._newest_due_at

    @property
    def is_behind(self) -> bool:
        """Whether a slice is being read, or the rest of one is left to read."""
        return self._is_reading or self._resume is not None

    def is_read_through(self, now: Instant) -> bool:
        """Whether all timers that are due by now were read."""
        return self._loaded_through > now

    @property
    def held_count(self) -> int:
        """How many timers were read and are not known to be resolved."""
        return len(self._held)

    def resolved_before(self, is_resolved: Callable[[MessageId, int], bool]) -> Instant:
        """Return an instant before which every timer is resolved."""
        held = self._held
        while held and is_resolved(held[0][1], held[0][2]):
            heappop(held)
        before = min(self._cursor, held[0][0]) if held else self._cursor
        return min(before, *self._unjournaled.values()) if self._unjournaled else before

    def forget_resolved(self, is_resolved: Callable[[MessageId, int], bool]) -> None:
        """Let go of the resolved ones in the middle, so that one old timer costs no memory."""
        self._held = [row for row in self._held if not is_resolved(row[1], row[2])]
        heapify(self._held)

    def on_writing(self, rows: Iterable[TimerRow]) -> None:
        """Let timers that this owner writes hold the cursor until an entry names their attempts."""
        for due_at, id_, _, _, attempt, _ in rows:
            self._unjournaled[id_, attempt] = due_at

    def on_journaled(self, row: TimerRow) -> bool:
        """Take it that an entry names a written timer; return whether it will be read no more."""
        due_at, id_, _, _, attempt, _ = row
        self._unjournaled.pop((id_, attempt), None)
        # A slice that is being read may have been read before the timer was there.
        may_be_unread = due_at >= (
            self._reading_through if self.is_behind else self._loaded_through
        )
        if not may_be_unread:
            heappush(self._held, (due_at, id_, attempt))
        return not may_be_unread

    def decide(self, now: Instant, *, room: int) -> list[Action]:
        """Return what is to be read now, up to `room` timers."""
        if self._is_reading or room <= 0 or now < self._not_before:
            return []
        if self._resume is None:
            self._reading_through = self._slice_end(now)
            if self._reading_through <= self._loaded_through:
                return []
        self._is_reading = True
        return [
            ReadTimers(
                from_due=self._cursor,
                through_due=self._reading_through,
                limit=min(room, READ_PAGE_ROWS_MAX),
                resume=self._resume,
            )
        ]

    def next_read_at(self) -> Instant:
        """Return when the next slice is read, if nothing of the last one is left to read."""
        return Instant(self._loaded_through - self._windows.timer_lead_ms * _US_PER_MS)

    def on_timers(self, page: TimerPage) -> None:
        """Take the answer to `ReadTimers`; its rows are looked up by the caller."""
        self._is_reading = False
        self.rows_read_count += len(page.rows)
        for row in page.rows:
            heappush(self._held, (row[0], row[1], row[4]))
        if page.rows:
            self._newest_due_at = page.rows[-1][0]
            self._cursor = max(self._cursor, self._newest_due_at)
        self._resume = page.resume
        if page.resume is None:
            self._cursor = self._loaded_through = self._reading_through

    def on_read_failed(self, *, now: Instant) -> None:
        """Note that timers could not be read; they are asked for again from the cursor on."""
        self._is_reading, self._resume = False, None
        self._not_before = later(now, self._windows.checkpoint_ms)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._not_before = min(self._not_before, now)

    def _slice_end(self, now: Instant) -> Instant:
        slice_us = self._windows.timer_slice_ms * _US_PER_MS
        reached = later(now, self._windows.timer_lead_ms)
        return Instant((reached // slice_us + 1) * slice_us)
