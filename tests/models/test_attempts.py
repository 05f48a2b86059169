"""When an attempt may be claimed: retries, what is put off, timers, take-overs, zombies.

One message, owners A, B and C; a deposed one goes on with all that is not fenced: it hands over
what it claimed, writes a row of the next attempt, projects what it journaled.  A provider takes or
refuses each hand-over, and its answer is heard or lost.  A refusal, and a command that puts the
message off, write the row of the next attempt first, and journal the outcome then.  A put-off is an
outcome without a claim.  Entries retire when they are projected.  A successor reads the rows again,
the timers from the persisted cursor on, and what has not retired.

R1 no attempt is handed over twice (class 0).  R2 attempt n + 1 only after n was journaled as to be
tried again.  R3 at most one acceptance (class K: by its key).  R4 a claim is in the journal or its
attempt in the timeline.  R5 at the end of C the message is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds, put

COPIES_MAX = 3

Mutant = Literal[
    "",
    "claimed unless a step of the attempt is there",
    "the row comes after the outcome",
    "the timeline is not asked",
    "retired before it is projected",
    "the cursor moves past what it loads",
    "any step is enough to skip",
    "a key for each attempt",
    "put off while it is claimed",
]


class Step(NamedTuple):
    attempt: int
    kind: str  # claim, again, taken, failed, uncertain


class Owner(NamedTuple):
    does: str
    attempt: int = 0
    outcome: str = ""


class State(NamedTuple):
    owner: int = 0
    owners: tuple[Owner, ...] = (Owner("looks"), Owner("idle"), Owner("idle"))
    journal: tuple[Step, ...] = ()  # what has not retired
    ever: tuple[Step, ...] = ()
    timeline: frozenset[Step] = frozenset()
    timers: frozenset[int] = frozenset()
    cursor: int = 0
    sends: tuple[int, ...] = (0, 0, 0, 0)
    keys: frozenset[str] = frozenset()
    is_put_off: bool = False
    acceptances: int = 0  # where nothing deduplicates
    wrong: str = ""


@dataclass(frozen=True)
class Attempts:
    is_keyed: bool = False
    attempts: int = 2
    can_be_put_off: bool = False
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        yield State()

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        for n, owner in enumerate(state.owners):
            for label, after, changed in self._moves_of(state, n, owner):
                owners = put(after.owners, n, changed)
                yield f"{'ABC'[n]} {label}", after._replace(owners=owners)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.wrong:
            return state.wrong
        if not self.is_keyed and max(state.sends) > 1:
            return f"R1 an attempt was handed over twice: {state.sends}"
        if state.acceptances > 1:
            return "R3 taken twice"
        if len(state.keys) > 1:
            return f"R3 taken under two keys: {sorted(state.keys)}"
        for step in state.ever:
            known = {one.attempt for one in (*state.journal, *state.timeline)}
            if step.kind == "claim" and step.attempt not in known:
                return f"R4 the claim {step.attempt} is nowhere"
        if state.owners[2].does == "done" and (kind := _fold(state.timeline)[1]) == "waits":
            return f"R5 it waits for ever: {kind}, timers {sorted(state.timers)}"
        return None

    def _moves_of(self, state: State, n: int, owner: Owner) -> Iterator[tuple[str, State, Owner]]:
        is_owner = n == state.owner
        match owner.does:
            case "idle":
                if n == state.owner + 1 or (n, state.owner) == (2, 0):
                    yield "takes over", state._replace(owner=n), Owner("looks")
            case "looks":
                if is_owner:
                    yield from self._look(state, owner)
                else:
                    yield "is fenced", state, Owner("gone")
            case "sends":
                yield from self._send(state, owner)
            case "hears":
                if owner.outcome == "again" and self.mutant != "the row comes after the outcome":
                    timers = state.timers | {owner.attempt + 1}
                    written = state._replace(timers=timers)
                    yield "writes the next row", written, owner._replace(does="wrote")
                else:
                    yield self._journal(state, owner, is_owner=is_owner)
            case "wrote":
                yield self._journal(state, owner, is_owner=is_owner)
            case "writes late":
                timers = state.timers | {owner.attempt + 1}
                yield "writes the row late", state._replace(timers=timers), Owner("looks")
            case _:
                assert owner.does in ("gone", "done")

    def _journal(self, state: State, owner: Owner, *, is_owner: bool) -> tuple[str, State, Owner]:
        if not is_owner:
            return "is fenced", state, Owner("gone")
        step = Step(owner.attempt, owner.outcome)
        does = "looks"
        if step.kind == "again" and owner.does == "hears":
            does = "writes late"
        return f"journals {step}", _journaled(state, step), Owner(does, owner.attempt)

    def _look(self, state: State, owner: Owner) -> Iterator[tuple[str, State, Owner]]:
        journal = state.journal
        ended = {step.attempt for step in journal if step.kind != "claim"}
        opens = [step.attempt for step in journal if step.kind == "claim"]
        if opens := [attempt for attempt in opens if attempt not in ended]:
            if self.mutant == "put off while it is claimed" and not state.is_put_off:
                yield from self._put_off(state, opens[0])
            if self.is_keyed:
                yield f"finds {opens[0]}, same key again", state, Owner("sends", opens[0])
            else:
                after = _journaled(state, Step(opens[0], "uncertain"))
                yield f"finds {opens[0]}: uncertain", after, owner
            return
        waits = _fold({*state.timeline, *(one for one in journal if one.kind != "claim")})
        may_claim = False
        after_cursor = [timer for timer in sorted(state.timers) if timer > state.cursor]
        for attempt in (1, *after_cursor):
            if self._may_claim(state, attempt, waits):
                may_claim = True
                claimed = _journaled(state, Step(attempt, "claim"))
                yield f"claims {attempt}", claimed, Owner("sends", attempt)
            if self.mutant.startswith("the cursor moves") and attempt > state.cursor + 1:
                yield "moves the cursor", state._replace(cursor=attempt), owner
        if self.can_be_put_off and waits[1] == "waits" and not state.is_put_off:
            yield from self._put_off(state, waits[0])
        unprojected = [step for step in journal if step.kind != "claim"]
        unprojected = [step for step in unprojected if step not in state.timeline]
        for step in unprojected:
            after = state._replace(timeline=state.timeline | {step})
            yield f"projects {step}", after, owner
        if journal and (not unprojected or self.mutant == "retired before it is projected"):
            yield "retires", state._replace(journal=()), owner
        if not may_claim and not journal:
            yield "is done", state, Owner("done")

    def _may_claim(self, state: State, attempt: int, waits: tuple[int, str]) -> bool:
        is_named = any(step.attempt == attempt for step in state.journal)
        if self.mutant == "claimed unless a step of the attempt is there":
            return not is_named and all(step.attempt != attempt for step in state.timeline)
        if self.mutant == "the timeline is not asked":
            return not is_named
        if self.mutant == "any step is enough to skip" and state.timeline:
            return False
        return waits == (attempt, "waits") and not is_named

    def _put_off(self, state: State, attempt: int) -> Iterator[tuple[str, State, Owner]]:
        after = state._replace(is_put_off=True, timers=state.timers | {attempt + 1})
        yield f"puts {attempt} off, its next row first", after, Owner("wrote", attempt, "again")

    def _send(self, state: State, owner: Owner) -> Iterator[tuple[str, State, Owner]]:
        n, key = owner.attempt, f"k{owner.attempt}" if "key" in self.mutant else "k"
        earlier = [step for step in state.ever if step.attempt < n]
        wrong = state.wrong
        if n > 1 and Step(n - 1, "again") not in earlier:
            wrong = wrong or f"R2 {n} is handed over, and {n - 1} was not journaled as over"
        if any(step.kind in ("taken", "uncertain") for step in earlier):
            wrong = wrong or f"R2 {n} is handed over after the end"
        copies = state.sends[n - 1] + 1
        sent = state._replace(sends=put(state.sends, n - 1, copies), wrong=wrong)
        is_known = self.is_keyed and key in state.keys
        for is_taken in (True,) if is_known else (True, False):
            after = sent
            if is_taken and self.is_keyed:
                after = sent._replace(keys=state.keys | {key})
            elif is_taken:
                after = sent._replace(acceptances=state.acceptances + 1)
            last = n >= self.attempts
            heard = "taken" if is_taken else "failed" if last else "again"
            # A refusal after a copy that nobody answered for proves nothing.
            is_proof = is_taken or not self.is_keyed or copies == 1
            if is_proof:
                yield f"SENDS {n}: {heard}", after, Owner("hears", n, heard)
            if not is_proof or self.is_keyed:
                if copies < COPIES_MAX:
                    yield f"SENDS {n}: no proof", after, owner
                else:
                    yield f"SENDS {n}: gives up", after, Owner("hears", n, "uncertain")
            else:
                yield f"SENDS {n}: no answer", after, Owner("hears", n, "uncertain")


def _journaled(state: State, step: Step) -> State:
    return state._replace(journal=(*state.journal, step), ever=(*state.ever, step))


def _fold(steps: frozenset[Step] | set[Step]) -> tuple[int, str]:
    newest = (1, "waits")
    for step in sorted(steps):
        newest = (step.attempt, step.kind)
        if step.kind == "again":
            newest = (step.attempt + 1, "waits")
    return newest


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Attempts(), id="class 0"),
        pytest.param(Attempts(is_keyed=True), id="class K"),
        pytest.param(Attempts(attempts=3, can_be_put_off=True), id="class 0, put off"),
        pytest.param(Attempts(is_keyed=True, can_be_put_off=True), id="class K, put off"),
    ],
)
def test_an_attempt_is_claimed_only_if_the_fold_waits_for_it(model: Attempts) -> None:
    assert_holds(model, states_min=500)


@pytest.mark.parametrize(
    ("model", "promise"),
    [
        (Attempts(mutant="claimed unless a step of the attempt is there"), "R"),
        (Attempts(is_keyed=True, mutant="claimed unless a step of the attempt is there"), "R"),
        (Attempts(is_keyed=True, mutant="a key for each attempt"), "R"),
        (Attempts(mutant="the row comes after the outcome"), "R5"),
        (Attempts(mutant="the timeline is not asked"), "R"),
        (Attempts(mutant="retired before it is projected"), "R"),
        (Attempts(mutant="the cursor moves past what it loads"), "R5"),
        (Attempts(mutant="any step is enough to skip"), "R5"),
        (Attempts(attempts=3, mutant="put off while it is claimed"), "R"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.mutant}, {value.is_keyed}",
)
def test_a_mutant_breaks_it(model: Attempts, promise: str) -> None:
    assert_fails(model, promise)
