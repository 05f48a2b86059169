"""Is a timer ever written into a slice that was read already?

A scheduled message goes to the timers if it is due later than H from the beginning of the try, else
to the buffer, which is always read; every try chooses again.  Its write is seen later, and counts
only within W.  The owner reads a slice of due time once, when its clock is past the beginning of
the slice less the lead, or any time later.  H >= slice + lead + W + epsilon.

T1 what was acknowledged as a timer was there when its slice was read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds

W, EPSILON, SLICE, LEAD = 1, 1, 3, 2
HORIZON = SLICE + LEAD + W + EPSILON
ENDS = 12


class State(NamedTuple):
    ingester: int
    reader: int
    due: int
    now: int = 0
    writes: tuple[int, str] | None = None
    tries: int = 0
    visible: str = ""
    acknowledged: str = ""
    loaded: bool | None = None  # whether the slice had it when it was read


@dataclass(frozen=True)
class Timers:
    horizon: int = HORIZON
    chooses_again: bool = True

    def starts(self) -> Iterator[State]:
        for clocks in range(4):
            for due in range(4, ENDS):
                yield State(clocks & 1, clocks >> 1, due)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        if state.now < ENDS:
            yield f"~it is {state.now + 1}", state._replace(now=state.now + 1)
        is_far = state.due - state.now - state.ingester >= self.horizon
        place = "timers" if is_far else "buffer"
        if state.writes is None and not state.acknowledged and not state.tries:
            yield f"writes to {place}", state._replace(writes=(state.now, place), tries=1)
        if state.writes is not None:
            began, at = state.writes
            if not state.visible:
                yield "~is seen", state._replace(visible=at)
            if state.visible == at and state.now - began <= W:
                done = state._replace(writes=None, acknowledged=at)
                yield f"is acknowledged in {at}", done
            elif state.now - began > W and state.tries < 2 and not state.visible:
                again = place if self.chooses_again else at
                yield (
                    f"writes again, to {again}",
                    state._replace(writes=(state.now, again), tries=2),
                )
        first = state.due // SLICE * SLICE
        if state.loaded is None and state.now + state.reader >= first - LEAD:
            yield "the slice is read", state._replace(loaded=state.visible == "timers")

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.acknowledged == "timers" and state.loaded is False:
            return f"T1 what is due at {state.due} was not there when its slice was read"
        return None


def test_no_timer_comes_too_late_to_be_read() -> None:
    assert_holds(Timers(), states_min=1_000)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Timers(horizon=HORIZON - EPSILON), id="without epsilon"),
        pytest.param(Timers(horizon=HORIZON - W), id="without W"),
        pytest.param(Timers(horizon=HORIZON - SLICE), id="without the slice"),
        pytest.param(Timers(horizon=HORIZON - LEAD), id="without the lead"),
        pytest.param(Timers(chooses_again=False), id="a rewrite chooses not again"),
    ],
)
def test_a_mutant_breaks_it(model: Timers) -> None:
    assert_fails(model, "T1")
