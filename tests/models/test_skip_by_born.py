"""Is skipping exact?  Whatever is in the recent set was claimed, and what is not was not.

Every row of an id carries the same born.  A row with `at` <= born + P is prompt; a doorbell counts
only if born + P >= the offset.  A prompt row at or above the offset whose id is not in the recent
set was never claimed.  Any other row is claimed only if the timeline knows nothing, and its id is
pending before that is read.  An entry retires, and its id is forgotten, only when it is projected
and the journaled offset is beyond born + P.  A successor begins at the journaled offset.

No two clocks are compared: here born, the `at` of every row and the offsets are any numbers at all,
rows come at any moment and offsets move as they like.  Owners take over at any moment, and deposed
ones go on.  The second row is a rewrite, a replay of a key or a ghost.

Of a deposed owner only what it can still do is kept: hand over what it claimed, project what it
journaled.

X1 only what was claimed is skipped.  X2 one hand-over.  X3 a claim is in the journal or in the
timeline.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds, put

P = 1

Mutant = Literal[
    "",
    "late rows are prompt",
    "a rewrite is born again",
    "any doorbell counts",
    "retired when projected",
    "retired by the offset in memory",
    "retired before it is projected",
    "a successor begins lower",
]

# How far the owner has got with the message.
NOTHING, CLAIMED, SENT, JOURNALED, PROJECTED = range(5)


class Owner(NamedTuple):
    is_up: bool
    offset: int = 0
    memory: str = ""  # recent or pending
    stage: int = NOTHING
    read: bool | None = None  # what the timeline said


class State(NamedTuple):
    born: int
    rows: tuple[int | None, int | None]
    has_doorbell: bool
    owners: tuple[Owner | None, ...]  # None: has not come yet
    offset: int = 0  # the journaled one
    journal: str = ""  # what has not retired: nothing, claim or outcome
    timeline: bool = False
    sends: int = 0
    wrong: str = ""


@dataclass(frozen=True)
class SkipByBorn:
    owners: int = 2
    ats: int = 4
    has_doorbell: bool = True
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        for born in range(self.ats - P if self.owners < 3 else 1):
            owners = (Owner(is_up=True), *[None] * (self.owners - 1))
            yield State(born, (None, None), self.has_doorbell, owners)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        for which in (0, 1):
            if state.rows[which] is None:
                for at in range(self.ats):
                    rows = (at, state.rows[1]) if which == 0 else (state.rows[0], at)
                    yield f"~row {which} comes at {at}", state._replace(rows=rows)
        newest = max(n for n, owner in enumerate(state.owners) if owner is not None)
        for n, owner in enumerate(state.owners):
            if owner is not None and owner.is_up:
                for label, after, changed in self._moves_of(state, owner, is_owner=n == newest):
                    owners = put(after.owners, n, changed)
                    yield f"{'ABC'[n]} {label}", after._replace(owners=owners)
        if newest + 1 < self.owners:
            yield self._take_over(state, newest + 1)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.wrong:
            return state.wrong
        if state.sends > 1:
            return "X2 handed over twice"
        if state.sends and not state.journal and not state.timeline:
            return "X3 the claim is nowhere"
        return None

    def _take_over(self, state: State, n: int) -> tuple[str, State]:
        successor = Owner(
            is_up=True,
            offset=0 if self.mutant == "a successor begins lower" else state.offset,
            memory="recent" if state.journal else "",
            stage={"": NOTHING, "claim": SENT, "outcome": JOURNALED}[state.journal],
        )
        deposed = (
            Owner(is_up=True, stage=owner.stage)
            if owner is not None and owner.is_up and owner.stage in (CLAIMED, JOURNALED)
            else Owner(is_up=False)
            for owner in state.owners[:n]
        )
        owners = (*deposed, successor, *state.owners[n + 1 :])
        return f"{'ABC'[n]} takes over", state._replace(owners=owners)

    def _moves_of(
        self, state: State, owner: Owner, *, is_owner: bool
    ) -> Iterator[tuple[str, State, Owner]]:
        if owner.stage == CLAIMED:
            yield "SENDS", state._replace(sends=state.sends + 1), owner._replace(stage=SENT)
        if owner.stage == JOURNALED:
            yield "projects", state._replace(timeline=True), owner._replace(stage=PROJECTED)
        if not is_owner:
            return
        if owner.offset <= self.ats:
            yield "moves its offset", state, owner._replace(offset=owner.offset + 1)
        if state.offset < owner.offset:
            yield "journals its offset", state._replace(offset=owner.offset), owner
        yield from self._see(state, owner)
        if owner.memory == "pending":
            if owner.read:
                yield "drops it by the timeline", state, owner._replace(memory="", read=None)
            else:
                yield self._claim(state, owner)
        if owner.stage == SENT:
            yield "journals", state._replace(journal="outcome"), owner._replace(stage=JOURNALED)
        if owner.stage in (JOURNALED, PROJECTED) and self._may_retire(state, owner):
            forgotten = owner._replace(memory="", stage=NOTHING, read=None)
            yield "retires and forgets", state._replace(journal=""), forgotten

    def _may_retire(self, state: State, owner: Owner) -> bool:
        offset = owner.offset if self.mutant.endswith("in memory") else state.offset
        is_beyond = offset > state.born + P or self.mutant == "retired when projected"
        is_projected = owner.stage == PROJECTED or self.mutant == "retired before it is projected"
        return is_beyond and is_projected

    def _see(self, state: State, owner: Owner) -> Iterator[tuple[str, State, Owner]]:
        first, second = state.rows
        last = state.born + P
        if first is not None and first >= owner.offset:
            is_prompt = first <= last or self.mutant == "late rows are prompt"
            yield self._look(state, owner, is_prompt=is_prompt)
        if second is not None and second >= owner.offset:
            is_prompt = second <= last + 2 * (self.mutant == "a rewrite is born again")
            yield self._look(state, owner, is_prompt=is_prompt)
        counts = last >= owner.offset or self.mutant == "any doorbell counts"
        if state.has_doorbell and counts:
            rung = state._replace(has_doorbell=False)
            yield self._look(rung, owner, is_prompt=True)

    def _look(self, state: State, owner: Owner, *, is_prompt: bool) -> tuple[str, State, Owner]:
        if owner.memory:
            was_claimed = bool(state.journal) or state.timeline or owner.memory == "pending"
            wrong = state.wrong or ("" if was_claimed else "X1 skipped, never claimed")
            return "skips a row", state._replace(wrong=wrong), owner
        if is_prompt:
            return self._claim(state, owner)
        pending = owner._replace(memory="pending", stage=NOTHING, read=state.timeline)
        return "reads the timeline", state, pending

    def _claim(self, state: State, owner: Owner) -> tuple[str, State, Owner]:
        claimed = owner._replace(memory="recent", stage=CLAIMED, read=None)
        return "claims", state._replace(journal="claim"), claimed


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(SkipByBorn(), id="two owners"),
        pytest.param(SkipByBorn(owners=3, ats=3, has_doorbell=False), id="three owners"),
    ],
)
def test_what_is_skipped_was_claimed_and_nothing_else(model: SkipByBorn) -> None:
    assert_holds(model, states_min=10_000)


@pytest.mark.parametrize(
    "mutant",
    [
        "late rows are prompt",
        "a rewrite is born again",
        "any doorbell counts",
        "retired when projected",
        "retired by the offset in memory",
        "retired before it is projected",
        "a successor begins lower",
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant) -> None:
    # One whose successor begins lower shows only where rows may lie further apart.
    ats = 4 if mutant == "a successor begins lower" else 3
    assert_fails(SkipByBorn(ats=ats, mutant=mutant), "X")
