"""Messages whose time is over, or not now, while they wait to be claimed.

What a connector may take is looked at when it is claimed.  Behind one that is switched off, broken
or saturated nothing is: so what waits with its body is looked at every now and then, and ends when
its end has come.  What was not handed over within its sender's hours waits for the next ones.
"""

from pipeline.instant import Instant, later
from pipeline.lane.backlog import Backlog
from pipeline.lane.group_scan import end_of
from pipeline.lane.ruling import Ruling
from pipeline.lane.send_hours import SendHours
from pipeline.lane.window import expired_positions
from pipeline.lifecycle import ATTEMPTS_MAX, Event, attempt_of, step_after
from pipeline.limits import RULINGS_AT_ONCE_MAX, Windows


class Expiry:
    """Finds those of one owner."""

    def __init__(
        self, backlog: Backlog, hours: SendHours, *, windows: Windows, now: Instant
    ) -> None:
        self._backlog = backlog
        self._hours = hours
        self._windows = windows
        self._next_look_at = later(now, windows.idle_read_ms)

    def ended(self, now: Instant) -> list[Ruling]:
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

    def out_of_hours(self, now: Instant) -> list[Ruling]:
        """Return the rulings that put off what was about to be claimed out of its hours."""
        if not self._hours.is_any_closed:
            return []
        self._hours.is_any_closed = False
        rulings: list[Ruling] = []
        for id_, row in self._backlog.first_candidates(self._backlog.candidates_count):
            assert row.body is not None, "who may be claimed has a body"
            opens_at = self._hours.opens_at(row.body, now)
            if opens_at <= now:
                continue
            due_at = min(opens_at, end_of(row.born, row.body, self._windows.validity_ms_max))
            if attempt_of(step_after(row.fold, Event.DEFER)) >= ATTEMPTS_MAX:
                continue
            if len(rulings) == RULINGS_AT_ONCE_MAX:
                self._hours.is_any_closed = True
                break
            rulings.append(
                Ruling(
                    id_, row.pk, row.born, row.group, row.fold, Event.DEFER,
                    due_at=due_at, body=row.body, past=row.past,
                )
            )  # fmt: skip
        return rulings

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._next_look_at = min(self._next_look_at, later(now, self._windows.idle_read_ms))
