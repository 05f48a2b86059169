"""What is ruled without a hand-over: by commands, and by what holds for whole groups.

One batch is under way at a time: judged, its rows and timers made durable, journaled.  One question
is under way at a time, too.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from pipeline.instant import Instant, earlier, later
from pipeline.lane.actions import Action, WriteRuled
from pipeline.lane.backlog import Backlog
from pipeline.lane.caution import POISON, Caution
from pipeline.lane.commands import Commands
from pipeline.lane.expiry import Expiry
from pipeline.lane.group_orders import GroupOrders
from pipeline.lane.group_scan import end_of
from pipeline.lane.past import Folds, Pasts
from pipeline.lane.recent import RecentSet
from pipeline.lane.restored import RESTORED, RestoreGuard
from pipeline.lane.ruling import Batch, Ruling, fitting
from pipeline.lane.send_hours import SendHours
from pipeline.later import CommandPage, GroupOrder, TimerPage
from pipeline.lifecycle import ATTEMPTS_MAX, Event, attempt_of, step_after
from pipeline.limits import (
    ENTRIES_PARK_ANEW_FROM,
    ENTRIES_PARK_FROM,
    RULINGS_AT_ONCE_MAX,
    Windows,
)
from pipeline.message import Body, MessageId, is_ordered

_US_PER_MS: Final = 1_000


class Decisions:
    """The batches of one owner.  Events and actions are those of its `Lane`."""

    def __init__(
        self,
        commands: Commands,
        recent: RecentSet,
        backlog: Backlog,
        orders: GroupOrders,
        guard: RestoreGuard | None,
        caution: Caution,
        hours: SendHours,
        *,
        windows: Windows,
        now: Instant,
    ) -> None:
        self._commands = commands
        self._recent = recent
        self.parks_from = ENTRIES_PARK_FROM
        self.parks_anew_from = ENTRIES_PARK_ANEW_FROM
        self._since = now
        self._backlog = backlog
        self._orders = orders
        self._guard = guard
        self._caution = caution
        self._windows = windows
        self._expiry = Expiry(backlog, hours, windows=windows, now=now)
        self._is_asked = False
        self._not_before = now
        self._batch: Batch | None = None
        self._is_durable = False

    @property
    def is_busy(self) -> bool:
        """Whether something is known that is not ruled on."""
        return self._batch is not None or self._is_asked or not self._commands.is_idle

    @property
    def is_ready(self) -> bool:
        """Whether a batch may be journaled."""
        return self._batch is not None and self._is_durable

    def decide(self, now: Instant) -> list[Action]:
        """Return what must be known or written now."""
        if self._is_asked or now < self._not_before:
            return []
        question = None if self._batch is not None else self._next(now)
        if self._batch is not None and not self._is_durable:
            batch = self._batch
            question = WriteRuled(rows=batch.rows, timers=batch.timers, editions=batch.editions)
        self._is_asked = question is not None
        return [] if question is None else [question]

    def _next(self, now: Instant) -> Action | None:
        """Find the next batch; return what must be known before, None for nothing."""
        batch = self._by_restore() or self._by_poison()
        if batch is None and (self._guard is None or self._guard.is_settled):
            for _ in range(2):  # a page may hold nothing of the group: then the next one is asked
                question = self._commands.question(now)
                if question is not None:
                    return question
                batch = self._commands.take()
                if batch is not None:
                    break
        batch = batch or self._by_orders(now) or self._by_time(now) or self._by_age(now)
        if batch is not None:
            batch.plan(now, self._windows)
            self._batch, self._is_durable = batch, not batch.is_durable_first
        return None

    def _by_restore(self) -> Batch | None:
        """Rule on what may have been handed over before the data was restored."""
        if self._guard is None:
            return None
        return self._batch_of(
            [
                Ruling(id_, row.pk, row.born, row.group, row.fold, Event.LOSE_ANSWER)
                for id_, row in islice(self._guard.suspects.items(), RULINGS_AT_ONCE_MAX)
            ],
            reason=RESTORED,
        )

    def _by_poison(self) -> Batch | None:
        """Rule on what ends the process before it is claimed: no provider has it."""
        return self._batch_of(
            [
                Ruling(id_, row.pk, row.born, row.group, row.fold, Event.REFUSE)
                for id_, row in self._caution.suspects.items()
            ],
            reason=POISON,
        )

    def _by_orders(self, now: Instant) -> Batch | None:
        """Rule on what could be claimed, were its group not stopped."""
        if not self._orders:
            return None
        rulings = []
        for id_, row in self._backlog.first_stopped(RULINGS_AT_ONCE_MAX):
            is_cancelled = self._orders.is_cancelled(row.group)
            event = Event.CANCEL if is_cancelled else Event.DEFER
            if row.body is None:
                continue
            ends_at = end_of(row.born, row.body, self._windows.validity_ms_max)
            if not is_cancelled and ends_at <= now:
                event = Event.EXPIRE
            # One that was put off so often stays where it is; its end comes all the same.
            is_last = attempt_of(step_after(row.fold, event)) >= ATTEMPTS_MAX
            if is_last and event is Event.DEFER:
                continue
            if is_ordered(row.pk, id_) and event is Event.DEFER:
                # Its rows wait for it; it takes no room from what may be claimed.
                self._backlog.set_aside(id_, until=ends_at)
                continue
            rulings.append(
                Ruling(
                    id_, row.pk, row.born, row.group, row.fold, event,
                    due_at=ends_at if event is Event.DEFER else Instant(0),
                    body=row.body, past=row.past,
                )
            )  # fmt: skip
        return self._batch_of(rulings, reason="its group is stopped")

    def _by_time(self, now: Instant) -> Batch | None:
        """End what has ended, and put off what is not to be handed over at this hour."""
        return self._batch_of(self._expiry.ended(now), reason="") or self._batch_of(
            self._expiry.out_of_hours(now), reason="it is out of its hours"
        )

    def _by_age(self, now: Instant) -> Batch | None:
        """Let what waits for too long wait in the timers: it keeps entries from retiring."""
        horizon_ms = self._windows.near_horizon_ms
        # What grew old while nobody had the lane may be sent in a moment: it gets its turn first,
        # as long as there is room for entries.
        is_new = now < later(self._since, horizon_ms)
        parks_from = self.parks_anew_from if is_new else self.parks_from
        if self._recent.entries_count < parks_from:
            return None
        rulings = []
        for id_, row in self._backlog.first_held(earlier(now, horizon_ms), RULINGS_AT_ONCE_MAX):
            is_last = attempt_of(step_after(row.fold, Event.DEFER)) >= ATTEMPTS_MAX
            if is_last or row.body is None or is_ordered(row.pk, id_):
                continue
            # Ever longer, so that it is not put off for ever, but not beyond its end.
            age_ms = max((now - row.born) // _US_PER_MS, horizon_ms + 1)
            ends_at = end_of(row.born, row.body, self._windows.validity_ms_max)
            due_at = min(later(now, age_ms), earlier(ends_at, horizon_ms))
            if due_at <= later(now, horizon_ms):
                continue
            rulings.append(
                Ruling(
                    id_, row.pk, row.born, row.group, row.fold, Event.DEFER,
                    due_at=due_at, body=row.body, past=row.past,
                )
            )  # fmt: skip
        return self._batch_of(rulings, reason="it waited for too long")

    def _batch_of(self, rulings: Sequence[Ruling], *, reason: str) -> Batch | None:
        """Return as many as fit in one body; nothing else happens to these until then."""
        if not rulings:
            return None
        chosen = fitting(rulings)
        held = [ruling.id for ruling in chosen]
        self._backlog.begin_ruling(held)
        return Batch(rulings=chosen, held=held, reason=reason)

    def take_ready(self) -> Batch:
        """Return the batch that the next append carries."""
        assert self._batch is not None
        batch, self._batch = self._batch, None
        if self._guard is not None:
            self._guard.let_go(ruling.id for ruling in batch.rulings)
        self._caution.let_go(ruling.id for ruling in batch.rulings)
        return batch

    # --- events -------------------------------------------------------------------------------

    def on_commands(self, page: CommandPage, *, through: Instant) -> None:
        """Take the answer to `ReadCommands`; `through` is the horizon of its read."""
        self._is_asked = False
        self._commands.on_commands(page, through=through)

    def on_orders(self, orders: Sequence[GroupOrder]) -> None:
        """Take the answer to `ReadGroupOrders`."""
        self._is_asked = False
        self._commands.on_orders(orders)

    def on_timers(self, page: TimerPage) -> None:
        """Take the answer to `ReadGroupTimers`."""
        self._is_asked = False
        self._commands.on_timers(page)

    def on_folds(self, asked: Sequence[MessageId], folds: Folds, pasts: Pasts) -> None:
        """Take the answer to `ReadRuledFolds`."""
        self._is_asked = False
        self._commands.on_folds(asked, folds, pasts)

    def on_bodies(self, bodies: Mapping[MessageId, Body]) -> None:
        """Take the answer to `ReadRuledBodies`."""
        self._is_asked = False
        self._commands.on_bodies(bodies)

    def on_written(self) -> None:
        """Take the acknowledgement of `WriteRuled`: the batch may be journaled."""
        self._is_asked, self._is_durable = False, True

    def on_failed(self, *, now: Instant) -> None:
        """Note that the question was not answered; it is asked again."""
        self._is_asked = False
        self._not_before = later(now, self._windows.checkpoint_ms)
        self._commands.on_read_failed()

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._not_before = min(self._not_before, now)
        self._since = min(self._since, now)
        self._commands.on_clock_set_back(now)
        self._expiry.on_clock_set_back(now)
