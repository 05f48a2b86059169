"""Rows of which only the fold can say whether they count: it is read, and meanwhile they wait."""

from pipeline.instant import Instant, later
from pipeline.lane.actions import ReadFolds
from pipeline.lane.window import Candidate
from pipeline.limits import Windows
from pipeline.message import MessageId


class Pending(dict[MessageId, list[tuple[Candidate, int]]]):
    """Candidates with the attempts of their rows; one read of folds is under way at a time."""

    def __init__(self, *, windows: Windows, now: Instant) -> None:
        super().__init__()
        self._windows = windows
        self._is_asked = False
        self._not_before = now

    def look_up(self, now: Instant) -> list[ReadFolds]:
        """Return the read of all folds, if it is to be made now."""
        if not self or self._is_asked or now < self._not_before:
            return []
        self._is_asked = True
        return [ReadFolds(keys=[(rows[0][0].pk, id_) for id_, rows in self.items()])]

    def on_answered(self) -> None:
        """Note that the read was answered."""
        self._is_asked = False

    def on_failed(self, *, now: Instant) -> None:
        """Note that folds could not be read; the ids stay pending."""
        self._is_asked = False
        self._not_before = later(now, self._windows.checkpoint_ms)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._not_before = min(self._not_before, now)
