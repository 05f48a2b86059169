"""Messages that end while nobody may take them: their end does not wait for a connector.

What a connector may take is looked at when it is claimed.  Behind one that is switched off, broken
or saturated nothing is, so what waits with its body is looked at now and then.
"""

from pipeline.instant import Instant, later
from pipeline.lane.backlog import Backlog
from pipeline.lane.ruling import Ruling
from pipeline.lane.window import expired_positions
from pipeline.lifecycle import Event
from pipeline.limits import RULINGS_AT_ONCE_MAX, Windows


class Expiry:
    """Finds those of one owner."""

    def __init__(self, backlog: Backlog, *, windows: Windows, now: Instant) -> None:
        self._backlog = backlog
        self._windows = windows
        self._next_look_at = later(now, windows.idle_read_ms)

    def rulings(self, now: Instant) -> list[Ruling]:
        """Return the rulings that end messages whose end has come, as many as one batch takes."""
        if now < self._next_look_at:
            return []
        waiting = self._backlog.first_candidates(self._backlog.candidates_count)
        expired = expired_positions(
            [candidate for _, candidate in waiting],
            now=now,
            validity_ms_max=self._windows.validity_ms_max,
        )
        if not expired:
            self._next_look_at = later(now, self._windows.idle_read_ms)
        return [
            Ruling(id_, row.pk, row.born, row.group, row.fold, Event.EXPIRE)
            for n in sorted(expired)[:RULINGS_AT_ONCE_MAX]
            for id_, row in (waiting[n],)
        ]

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._next_look_at = min(self._next_look_at, later(now, self._windows.idle_read_ms))
