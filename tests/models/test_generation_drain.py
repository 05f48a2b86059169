"""One message in three generations: who may act on it, and when is a lane of it done?

The message is accepted in the generation of now, its client may repeat the key in any later one,
and one cancel command is written to the lane of that moment.  Inside a lane the journal is exact;
from
one lane to another only the timeline is seen.  A lane that is over forwards its rows, commands and
timers to the generation of now, once or twice, and claims nothing new.  It is marked drained when
nothing is left in it, all is projected, and the lane before it is marked.  A lane acts on nothing
before the one before it is marked.

D1 an attempt is handed over once, the second only after a refusal.  D2 nothing is handed over after
the answer "cancelled".  D3 when nothing is left to do the message is final, and the command
answered.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds, put

GENERATIONS = 3
FINAL = ("taken", "uncertain", "failed")

Mutant = Literal[
    "",
    "no barrier",
    "a lane in the middle is drained by itself",
    "timers stay behind",
    "commands pass the barrier",
    "marked before it is projected",
    "the timeline is not asked",
    "marked before its commands are read",
]


class Step(NamedTuple):
    attempt: int
    kind: str


class Lane(NamedTuple):
    has_row: bool = False
    attempt: int = 0
    outcome: str = ""
    does: str = "waits"  # waits, claimed, heard
    journal: tuple[Step, ...] = ()
    timers: frozenset[int] = frozenset()
    is_drained: bool = False


class State(NamedTuple):
    now: int = 0
    lanes: tuple[Lane, ...] = (Lane(),) * GENERATIONS
    command: int | None = None
    is_commanded: bool = False
    timeline: frozenset[Step] = frozenset()
    sends: tuple[int, int] = (0, 0)
    answer: str = ""
    writes: int = 2
    was_written: bool = False
    wrong: str = ""


@dataclass(frozen=True)
class GenerationDrain:
    mutant: Mutant = ""
    writes: int = 2
    # Lanes that forward claim nothing new; without, an old lane finishes what it has.
    forwards: bool = True

    def starts(self) -> Iterator[State]:
        yield State(writes=self.writes)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        now = state.now
        if now < GENERATIONS - 1 and state.was_written:
            yield f"~generation {now + 1} begins", state._replace(now=now + 1)
        if state.writes and not state.lanes[now].has_row:
            row = _with(state, now, state.lanes[now]._replace(has_row=True))
            yield f"~a row in {now}", row._replace(writes=state.writes - 1, was_written=True)
        if not state.is_commanded and state.was_written:
            yield f"~a cancel in {now}", state._replace(command=now, is_commanded=True)
        for generation, lane in enumerate(state.lanes):
            if not lane.is_drained:
                for label, after in self._moves_of(state, generation, lane):
                    yield f"lane {generation} {label}", after

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.wrong:
            return state.wrong
        if max(state.sends) > 1:
            return f"D1 an attempt was handed over twice: {state.sends}"
        if is_quiet and state.now == GENERATIONS - 1:
            kind = _fold(state.timeline)[1]
            if state.was_written and kind not in (*FINAL, "cancelled"):
                return f"D3 nothing is left to do, and it {kind}"
            if state.command is not None:
                return "D3 the command is never answered"
        return None

    def _moves_of(self, state: State, g: int, lane: Lane) -> Iterator[tuple[str, State]]:
        before_is_drained = g == 0 or state.lanes[g - 1].is_drained
        may_act = before_is_drained or self.mutant == "no barrier"
        is_over = state.now > g
        waits = _fold(state.timeline | {step for step in lane.journal if step.kind != "claim"})
        if may_act and lane.does == "waits" and not (is_over and self.forwards):
            yield from self._claim(state, g, lane, waits)
        if state.command == g and (may_act or self.mutant == "commands pass the barrier"):
            yield self._judge(state, g, lane, waits)
        if lane.does == "claimed":
            yield from self._send(state, g, lane)
        if lane.does == "heard":
            timers = lane.timers | ({lane.attempt + 1} if lane.outcome == "again" else set())
            ended = lane._replace(
                does="waits",
                timers=timers,
                journal=(*lane.journal, Step(lane.attempt, lane.outcome)),
            )
            yield "journals the outcome", _with(state, g, ended)
        for step in lane.journal:
            if step.kind != "claim" and step not in state.timeline:
                yield f"projects {step}", state._replace(timeline=state.timeline | {step})
        if is_over:
            if may_act and self.forwards:
                yield from self._forward(state, g, lane)
            yield from self._drain(state, g, lane, before_is_drained=before_is_drained)

    def _claim(
        self, state: State, g: int, lane: Lane, waits: tuple[int, str]
    ) -> Iterator[tuple[str, State]]:
        is_claimed = {step.attempt for step in lane.journal}
        if lane.has_row:
            resolved = lane._replace(has_row=False)
            may_claim = waits == (1, "waits") and 1 not in is_claimed
            if self.mutant == "the timeline is not asked":
                may_claim = 1 not in is_claimed
            yield "looks at its row", _with(state, g, _claimed(resolved, 1, may_claim=may_claim))
        for attempt in lane.timers:
            fired = lane._replace(timers=lane.timers - {attempt})
            may_claim = waits == (attempt, "waits")
            yield "timer", _with(state, g, _claimed(fired, attempt, may_claim=may_claim))

    def _judge(self, state: State, g: int, lane: Lane, waits: tuple[int, str]) -> tuple[str, State]:
        if lane.does != "waits" or waits[1] != "waits":
            return "answers too late", state._replace(command=None, answer="too late")
        journal = (*lane.journal, Step(9, "cancelled"))
        cancelled = _with(state, g, lane._replace(journal=journal))
        return "cancels", cancelled._replace(command=None, answer="cancelled")

    def _send(self, state: State, g: int, lane: Lane) -> Iterator[tuple[str, State]]:
        n, wrong = lane.attempt, state.wrong
        if state.answer == "cancelled":
            wrong = wrong or "D2 handed over after it was cancelled"
        refused = {step for one in state.lanes for step in one.journal} | state.timeline
        if n == 2 and Step(1, "again") not in refused:
            wrong = wrong or "D1 a second attempt without a refusal of the first"
        sends = (state.sends[0] + (n == 1), state.sends[1] + (n == 2))
        for outcome in ("taken", "again", "uncertain") if n == 1 else ("taken", "failed"):
            heard = _with(state, g, lane._replace(does="heard", outcome=outcome))
            yield f"SENDS {n}: {outcome}", heard._replace(sends=sends, wrong=wrong)

    def _forward(self, state: State, g: int, lane: Lane) -> Iterator[tuple[str, State]]:
        now = state.now
        if lane.has_row:
            written = _with(state, now, state.lanes[now]._replace(has_row=True))
            yield "forwards its row", _with(written, g, lane._replace(has_row=False))
            # It died before it noted that; its successor does it again.
            yield "forwards its row and forgets", written
        if state.command == g:
            yield "forwards the command", state._replace(command=now)

    def _drain(
        self, state: State, g: int, lane: Lane, *, before_is_drained: bool
    ) -> Iterator[tuple[str, State]]:
        now, is_idle = state.now, not lane.has_row and lane.does == "waits"
        if is_idle and state.command != g and lane.timers and self.mutant != "timers stay behind":
            timers = state.lanes[now].timers | lane.timers
            given = _with(state, now, state.lanes[now]._replace(timers=timers))
            yield "gives its timers on", _with(given, g, lane._replace(timers=frozenset()))
        steps = {step for step in lane.journal if step.kind != "claim"}
        is_projected = steps <= state.timeline or self.mutant == "marked before it is projected"
        may_mark = before_is_drained or self.mutant in (
            "a lane in the middle is drained by itself",
            "no barrier",
        )
        has_read = state.command != g or self.mutant == "marked before its commands are read"
        has_no_timers = not lane.timers or self.mutant == "timers stay behind"
        if is_idle and has_read and is_projected and may_mark and has_no_timers:
            yield "is marked drained", _with(state, g, lane._replace(is_drained=True))


def _with(state: State, generation: int, lane: Lane) -> State:
    return state._replace(lanes=put(state.lanes, generation, lane))


def _claimed(lane: Lane, attempt: int, *, may_claim: bool) -> Lane:
    if not may_claim:
        return lane
    journal = (*lane.journal, Step(attempt, "claim"))
    return lane._replace(does="claimed", attempt=attempt, journal=journal)


def _fold(steps: frozenset[Step]) -> tuple[int, str]:
    newest = (1, "waits")
    for step in sorted(steps):
        newest = (2, "waits") if step.kind == "again" else (step.attempt, step.kind)
        if step.kind in FINAL:
            break
    return newest


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(GenerationDrain(writes=3), id="lanes that are over forward"),
        pytest.param(GenerationDrain(writes=3, forwards=False), id="lanes that are over finish"),
    ],
)
def test_one_lane_after_the_other_acts(model: GenerationDrain) -> None:
    assert_holds(model, states_min=500)


@pytest.mark.parametrize(
    ("mutant", "promise"),
    [
        ("no barrier", "D"),
        ("a lane in the middle is drained by itself", "D"),
        ("timers stay behind", "D3"),
        ("commands pass the barrier", "D"),
        ("marked before it is projected", "D"),
        ("the timeline is not asked", "D"),
        ("marked before its commands are read", "D3"),
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant, promise: str) -> None:
    assert_fails(GenerationDrain(mutant, forwards=mutant == "no barrier"), promise)
