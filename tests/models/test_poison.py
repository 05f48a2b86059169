"""Does a message that ends whatever process touches it stop its lane, or take others with it?

Three messages, one or two of them poison.  The first owner touches what it likes, up to F at once.
After a crash an owner names in the journal what it is about to touch; should it end as well, its
successor touches each of these alone, and what ended the process three times is in quarantine.

Z1 each poison ends at most three processes.  Z2 nothing else is in quarantine.  Z3 at the end all
others are handed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds, put

MESSAGES = 3
WINDOW = 2
ENDS_MAX = 3

Mutant = Literal[
    "",
    "nothing is named",
    "whatever was named is in quarantine",
    "suspects are tried together",
    "ends are not counted on",
]


class State(NamedTuple):
    done: tuple[str, ...] = ("",) * MESSAGES  # "", over or quarantine
    tried: frozenset[int] = frozenset()  # what the journal names
    ends: int = 0  # at how many ends those were being touched
    suspects: tuple[int, ...] = (0,) * MESSAGES  # the ends that each is known for
    touched: frozenset[int] = frozenset()
    crashes: int = 0


@dataclass(frozen=True)
class Poison:
    poison: frozenset[int] = frozenset({0})
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        yield State()

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        waits = [n for n in range(MESSAGES) if not state.done[n]]
        is_careful = state.crashes > 0 and self.mutant != "nothing is named"
        if is_careful and not state.tried:
            yield from self._name(state, waits)
        may_touch = state.tried if is_careful else frozenset(waits)
        for n in waits:
            if n in may_touch and n not in state.touched and len(state.touched) < WINDOW:
                if n in self.poison:
                    yield f"touches {n} and ends", self._crash(state)
                else:
                    touched = state._replace(touched=state.touched | {n})
                    yield f"touches {n}", touched
        for n in state.touched:
            over = state._replace(
                done=put(state.done, n, "over"),
                touched=state.touched - {n},
                tried=state.tried - {n},
            )
            yield f"hands {n} over", over

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.crashes > ENDS_MAX * len(self.poison):
            return f"Z1 {state.crashes} processes ended"
        for n, done in enumerate(state.done):
            if done == "quarantine" and n not in self.poison:
                return f"Z2 {n} is in quarantine"
            if is_quiet and not done:
                return f"Z3 {n} waits for ever"
        return None

    def _name(self, state: State, waits: list[int]) -> Iterator[tuple[str, State]]:
        alone = [n for n in waits if state.suspects[n] > 1]
        if alone and self.mutant != "suspects are tried together":
            choices = [frozenset({n}) for n in alone]
        else:
            choices = [frozenset(waits[:WINDOW])] if waits else []
        for named in choices:
            ends = max(1, *(state.suspects[n] for n in named))
            yield f"names {sorted(named)}", state._replace(tried=named, ends=ends)

    def _crash(self, state: State) -> State:
        crashed = state._replace(
            tried=frozenset(), ends=0, touched=frozenset(), crashes=state.crashes + 1
        )
        tried, ends = state.tried, state.ends + 1
        if self.mutant == "ends are not counted on":
            ends = 1
        is_found = len(tried) == 1 and ends >= ENDS_MAX
        if is_found or (tried and self.mutant == "whatever was named is in quarantine"):
            done = tuple("quarantine" if n in tried else it for n, it in enumerate(state.done))
            return crashed._replace(done=done)
        suspects = tuple(ends if n in tried else known for n, known in enumerate(state.suspects))
        return crashed._replace(suspects=suspects)


@pytest.mark.parametrize("poison", [{0}, {2}, {0, 1}, {0, 2}], ids=str)
def test_poison_is_found_and_nothing_else(poison: set[int]) -> None:
    assert_holds(Poison(frozenset(poison)), states_min=15)


@pytest.mark.parametrize(
    ("mutant", "promise"),
    [
        ("nothing is named", "Z1"),
        ("whatever was named is in quarantine", "Z2"),
        ("suspects are tried together", "Z1"),
        ("ends are not counted on", "Z1"),
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant, promise: str) -> None:
    assert_fails(Poison(mutant=mutant), promise)
