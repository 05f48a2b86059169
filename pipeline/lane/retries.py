"""What a provider refused for now is tried again later (design 5.5).

The row or timer of the next attempt is written, and that acknowledged, before the outcome of this
one enters a body: else a crash between the two would leave a message that waits for ever.  The
other way round does no harm, as a row counts only if the fold waits for its attempt.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from pipeline.instant import Instant, later
from pipeline.lane.actions import Action, WriteLater
from pipeline.lane.order import Order
from pipeline.lane.past import Past, attempts_seen, told_deferral, told_refusal
from pipeline.lane.send_hours import SendHours
from pipeline.lane.window import Answer, Window
from pipeline.lifecycle import ATTEMPTS_MAX, Event, Step, attempt_of
from pipeline.limits import Windows
from pipeline.message import BufferEntry, TimerRow, expiry_of
from pipeline.outcome import Outcomes
from pipeline.route.retry_policy import GiveUp, RetryPolicy
from pipeline.route.retry_policy import Retries as Plan


class Planned(NamedTuple):
    """When a deferred message is due again, and its timer if it has one."""

    due_at: Instant
    timer: TimerRow | None


@dataclass(slots=True)
class _Deferred:
    """Messages that wait for the rows of their next attempts to be durable."""

    answer: Answer
    rows: list[BufferEntry]
    timers: list[TimerRow]


class Retries:
    """The deferred messages of one owner."""

    def __init__(
        self,
        policy: RetryPolicy,
        order: Order,
        hours: SendHours,
        *,
        chance: Random,
        windows: Windows,
        now: Instant,
    ) -> None:
        self._policy = policy
        self._order = order
        self._hours = hours
        self._chance = chance
        self._windows = windows
        self._waiting: deque[_Deferred] = deque()
        self._writing: list[_Deferred] = []
        self._not_before = now
        # The row or timer of a window's position, until its DEFER is journaled.
        self._planned: dict[tuple[int, int], Planned] = {}

    @property
    def is_settled(self) -> bool:
        """No row of a next attempt waits to be written."""
        return not self._waiting and not self._writing

    def take_planned(self, window: Window, position: int) -> Planned:
        """Return what was written for a deferred message, once: its outcome is journaled."""
        return self._planned.pop((window.seq, position))

    def defer(
        self,
        window: Window,
        outcomes: Outcomes,
        positions: Sequence[int],
        *,
        falling_back: Sequence[int] = (),
        now: Instant,
        later_room: int,
    ) -> list[Answer]:
        """Part what is deferred from the rest; return the answers that can be journaled now.

        `later_room`: how many more messages fit in memory until they are due; the others go to
        the timers, and so are due after H at the soonest.  `falling_back`, by place in the
        outcomes: refused for good, or put off too often, and another may take them at once.
        """
        said = outcomes.events
        outcomes = self._told(window, outcomes, positions, falling_back)
        asking = [n for n, event in enumerate(outcomes.events) if event == Event.DEFER]
        ends_at = {n: self._expires_at(window, positions[n]) for n in asking}
        tried_until = {n: self._tried_until(window, positions[n], now=now) for n in asking}
        plan = self._policy.decide(
            asking,
            attempts=[
                # There is no number for an attempt after the last.
                self._policy.attempts_max if _is_last(window, n) else _seen(window, n)
                for n in positions
            ],
            expires_at=[
                min(ends_at.get(n, now), tried_until.get(n) or ends_at.get(n, now))
                for n in range(len(positions))
            ],
            retry_after_ms=outcomes.retry_after_ms,
            now=now,
            chance=self._chance,
        )
        events = bytearray(outcomes.events)
        details = dict(outcomes.details)
        in_the_way: set[int] = set()
        due_at, given_up = self._within_hours(window, positions, plan, ends_at)
        for n in falling_back:
            if n in due_at:
                due_at[n] = now
            elif said[n] == Event.REFUSE:
                # There is neither time nor an attempt for the other one; the refusal stands.
                events[n] = Event.REFUSE
                in_the_way.add(n)
        for n, why in given_up.items():
            if n in in_the_way:
                continue
            is_in_the_way = why is GiveUp.EXPIRED and ends_at[n] > (tried_until[n] or ends_at[n])
            if is_in_the_way:
                # It could still be sent; but those behind it have waited for long enough.
                in_the_way.add(n)
            if why is GiveUp.EXHAUSTED or is_in_the_way:
                events[n] = Event.REFUSE
                seen = _seen(window, positions[n])
                details[n] = f"given up after {seen} attempts: {details.get(n, 'deferred')}"
        rows: list[BufferEntry] = []
        timers: list[TimerRow] = []
        horizon = later(now, self._windows.near_horizon_ms)
        for n, wished in due_at.items():
            position = positions[n]
            id_, pk = window.message_ids[position], window.partition_keys[position]
            born, group = window.borns[position], window.groups[position]
            attempt, at = attempt_of(Step(window.steps[position])) + 1, wished
            if wished > horizon or len(rows) >= later_room:
                at = max(wished, Instant(horizon + 1))
                timers.append((at, id_, pk, born, attempt, group))
                self._planned[window.seq, position] = Planned(at, timers[-1])
            else:
                rows.append((id_, pk, born, attempt, at, group))
                self._planned[window.seq, position] = Planned(at, None)

        def answer(chosen: list[int]) -> Answer:
            return Answer(
                window,
                Outcomes(
                    events=bytes(events[n] for n in chosen),
                    details={m: details[n] for m, n in enumerate(chosen) if n in details},
                    references={
                        m: outcomes.references[n]
                        for m, n in enumerate(chosen)
                        if n in outcomes.references
                    },
                ),
                [positions[n] for n in chosen],
                [
                    m
                    for m, n in enumerate(chosen)
                    if given_up.get(n) is GiveUp.EXPIRED and n not in in_the_way
                ],
            )

        if due_at:
            self._waiting.append(_Deferred(answer(list(due_at)), rows, timers))
        rest = [n for n in range(len(events)) if n not in due_at]
        return [answer(rest)] if rest else []

    def _told(
        self,
        window: Window,
        outcomes: Outcomes,
        positions: Sequence[int],
        falling_back: Sequence[int],
    ) -> Outcomes:
        """Return the outcomes with refusals that lead on as deferrals, and say who refused."""
        events = bytearray(outcomes.events)
        details = {n: told_deferral(detail) for n, detail in outcomes.details.items()}
        for n in falling_back:
            position, by = positions[n], window.connector
            why = outcomes.details.get(n, "it gives no reason")
            if events[n] == Event.DEFER:
                why = f"given up at attempt {_seen(window, position)}: {why}"
            window.pasts[position] = window.pasts.get(position, Past()).refused(by)
            events[n] = Event.DEFER
            details[n] = told_refusal(by, why)
        return replace(outcomes, events=bytes(events), details=details)

    def _within_hours(
        self,
        window: Window,
        positions: Sequence[int],
        plan: Plan,
        ends_at: Mapping[int, Instant],
    ) -> tuple[dict[int, Instant], dict[int, GiveUp]]:
        """Return the plan with nothing due outside of its sender's hours."""
        due_at, given_up = dict(plan.due_at), dict(plan.given_up)
        for n, wished in plan.due_at.items():
            body = window.bodies[positions[n]]
            assert body is not None, "only an owner's own claims are deferred"
            opens_at = self._hours.opens_at(body, wished)
            if opens_at == wished:
                continue
            if opens_at < ends_at[n]:
                due_at[n] = opens_at
            else:
                del due_at[n]
                given_up[n] = GiveUp.EXPIRED
        return due_at, given_up

    def _expires_at(self, window: Window, position: int) -> Instant:
        body = window.bodies[position]
        assert body is not None, "only an owner's own claims are deferred"
        expires_at = expiry_of(body)
        if expires_at is None:
            return later(window.borns[position], self._windows.validity_ms_max)
        return expires_at

    def _tried_until(self, window: Window, position: int, *, now: Instant) -> Instant | None:
        pk, id_ = window.partition_keys[position], window.message_ids[position]
        return self._order.give_up_at(pk, id_, now=now)

    def decide(self, now: Instant) -> list[Action]:
        """Return what is to be written now: all that waits, in one batch of each kind."""
        if self._writing or not self._waiting or now < self._not_before:
            return []
        self._writing = list(self._waiting)
        self._waiting.clear()
        return [
            WriteLater(
                rows=[row for part in self._writing for row in part.rows],
                timers=[row for part in self._writing for row in part.timers],
            )
        ]

    def on_written(self) -> list[Answer]:
        """Return the answers whose next attempts are durable now."""
        written, self._writing = self._writing, []
        return [part.answer for part in written]

    def on_write_failed(self, *, now: Instant) -> None:
        """Note that the rows may or may not be there; they are written again."""
        self._waiting.extendleft(reversed(self._writing))
        self._writing = []
        self._not_before = later(now, self._windows.checkpoint_ms)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._not_before = min(self._not_before, now)


def _is_last(window: Window, position: int) -> bool:
    return attempt_of(Step(window.steps[position])) >= ATTEMPTS_MAX


def _seen(window: Window, position: int) -> int:
    return attempts_seen(Step(window.steps[position]), window.pasts.get(position))
