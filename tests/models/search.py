"""Everything that can happen in a small model of the protocol, breadth first.

A model is a question: what can be, what may come next, and what must never be.  A move whose label
begins with `~` is one of the network or of time; a state is quiet when nobody else can move.  The
first wrong state is told with the shortest way to it.  Where a model and the code differ, the model
is mended first (`docs/guarantees.md`).
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

StateT = TypeVar("StateT")

# A model that outgrows this asks too much at once.
STATES_MAX = 3_000_000


class Model(Protocol[StateT]):
    """What a search walks through; states are hashable."""

    def starts(self) -> Iterable[StateT]:
        """Return the states that it may begin in."""

    def moves(self, state: StateT) -> Iterable[tuple[str, StateT]]:
        """Return what may happen next, each with a label."""

    def wrong(self, state: StateT, *, is_quiet: bool) -> str | None:
        """Return what must never be, if this state is so."""


class Explored(NamedTuple):
    """What a search found: nothing, or what is wrong and how it came to it."""

    wrong: str | None
    trace: list[str]
    states: int

    def __str__(self) -> str:
        if self.wrong is None:
            return f"{self.states} states, nothing wrong"
        return "\n  ".join((f"{self.wrong}, after {self.states} states:", *self.trace))


def explore(model: Model[StateT]) -> Explored:
    """Visit every state that can be reached, or those up to the first wrong one."""
    came_by: dict[StateT, tuple[StateT, str] | None] = dict.fromkeys(model.starts())
    waiting = deque(came_by)
    while waiting:
        state = waiting.popleft()
        nexts = list(model.moves(state))
        is_quiet = all(label.startswith("~") for label, _ in nexts)
        if (wrong := model.wrong(state, is_quiet=is_quiet)) is not None:
            return Explored(wrong, _trace(came_by, state), len(came_by))
        for label, after in nexts:
            if after not in came_by:
                came_by[after] = (state, label)
                waiting.append(after)
        assert len(came_by) <= STATES_MAX, "the model is too large"
    return Explored(None, [], len(came_by))


def _trace(came_by: dict[StateT, tuple[StateT, str] | None], state: StateT) -> list[str]:
    labels: list[str] = []
    step = came_by[state]
    while step is not None:
        before, label = step
        labels.append(label)
        step = came_by[before]
    return labels[::-1]


def assert_holds(model: Model[StateT], *, states_min: int) -> None:
    """Fail unless nothing is wrong in any state, and there are as many as there should be."""
    found = explore(model)
    print(found)  # noqa: T201 -- shown when the test fails, or with -s
    assert found.wrong is None, str(found)
    assert found.states >= states_min, "the model does not do what it did"


def assert_fails(model: Model[StateT], promise: str) -> None:
    """Fail unless a mutant breaks the promise that it is there to break."""
    found = explore(model)
    assert found.wrong is not None, "the mutant goes unnoticed"
    assert found.wrong.startswith(promise), str(found)


def put(values: tuple[StateT, ...], at: int, value: StateT) -> tuple[StateT, ...]:
    """Return the tuple with another value in one place."""
    return (*values[:at], value, *values[at + 1 :])
