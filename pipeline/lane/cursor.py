"""How far a lane's buffer was read.

Rows come in the order of their `at`, a page at a time.  All below the cursor was read; after the
last page that is all below the horizon under which no row can appear any more.
"""

from pipeline.instant import Instant, later
from pipeline.lane.actions import ReadRows
from pipeline.limits import READ_PAGE_ROWS_MAX, Windows
from pipeline.ports import BufferPage


class Cursor:
    """The reading of one owner; one page is asked for at a time."""

    def __init__(self, at: Instant, *, windows: Windows, now: Instant) -> None:
        self.at = at
        self._windows = windows
        self._resume: bytes | None = None
        self._is_wanted = True
        self._read_at = now
        self.is_reading = False
        self.is_lagging = False
        """It is behind, as there was no room."""
        self.was_read_through = False
        self.newest_row_at: Instant | None = None
        """The `at` of the newest row that was read."""

    @property
    def next_read_at(self) -> Instant:
        """When rows are read again though no event came."""
        return later(self._read_at, self._windows.idle_read_ms)

    def want_read(self) -> None:
        """Note that there are rows that were not read."""
        self._is_wanted = True

    def is_read_due(self, now: Instant) -> bool:
        """Return whether a page should be read now."""
        return not self.is_reading and (
            self._is_wanted or self._resume is not None or now >= self.next_read_at
        )

    def read(self, now: Instant, *, room: int) -> ReadRows:
        """Return the read of the next page."""
        self.is_reading, self._is_wanted, self._read_at = True, False, now
        return ReadRows(from_at=self.at, limit=min(room, READ_PAGE_ROWS_MAX), resume=self._resume)

    def on_page(self, page: BufferPage, *, through: Instant) -> None:
        """Go on behind a page; `through` is the horizon of its read."""
        self.is_reading = False
        if page.rows:
            # Rows come in order: all before the last one were read.
            self.newest_row_at = page.rows[-1][0]
            self.at = max(self.at, self.newest_row_at)
        self._resume = page.resume
        if page.resume is None:
            self.at = max(self.at, through)
            self.is_lagging, self.was_read_through = False, True

    def on_failed(self) -> None:
        """Note that a page could not be read: the next one begins at the cursor again."""
        self.is_reading, self._resume = False, None

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._read_at = min(self._read_at, now)
