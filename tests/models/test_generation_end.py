"""When is a generation over, so that no acknowledged row of it is left unread?

The registry computes the start of the next generation and publishes it; the record may land at any
later time.  An ingester looks at any time, writes only while its picture is at most REFRESH old,
counted from the beginning of the look by its own elapsed time, and chooses the generation by its
clock at every try; a write counts only within W.  The owner of the old lane sees the record at any
time.  The lane is over for a read that began when its clock was past the start by W + epsilon, and
more than REFRESH + W of its own time after it first saw the record.

G1 nothing that was acknowledged in the old generation is unread when it is over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds

W, EPSILON, REFRESH = 1, 1, 1

Mutant = Literal[
    "",
    "over by the start alone",
    "over by sight alone",
    "a picture has no age",
    "its age is looked at once",
    "a rewrite keeps its generation",
]


class State(NamedTuple):
    ingester: int
    reader: int
    now: int = 0
    starts_at: int | None = None
    is_published: bool = False
    picture_age: int = 0
    knows: bool = False
    writes: tuple[int, int] | None = None
    tries: int = 0
    visible: int | None = None
    acknowledged: int | None = None
    seen_at: int = -1
    is_over: bool = False
    was_read: bool = False


@dataclass(frozen=True)
class GenerationEnd:
    mutant: Mutant = ""
    ends: int = 9
    lands_in_time: bool = False

    def starts(self) -> Iterator[State]:
        for clocks in range(4):
            yield State(clocks & 1, clocks >> 1)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        now, starts_at = state.now, state.starts_at
        if now < self.ends:
            aged = min(state.picture_age + 1, 9)
            yield f"~it is {now + 1}", state._replace(now=now + 1, picture_age=aged)
        if starts_at is None and now <= 2:
            starts = now + 2 * REFRESH + EPSILON
            yield "a generation is computed", state._replace(starts_at=starts)
        if starts_at is not None and not state.is_published:
            is_in_time = now <= starts_at - REFRESH - EPSILON
            if is_in_time or not self.lands_in_time:
                yield "~the record lands", state._replace(is_published=True)
        if state.picture_age > 0:
            yield (
                f"the ingester looks: {state.is_published}",
                state._replace(picture_age=0, knows=state.is_published),
            )
        yield from self._write(state)
        if state.is_published and state.seen_at < 0:
            yield "the owner sees the record", state._replace(seen_at=now)
        if not state.is_over:
            is_over = self._is_over(state)
            got = state.was_read or state.visible == 0
            yield f"the owner reads, over: {is_over}", state._replace(is_over=is_over, was_read=got)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        is_lost = state.acknowledged == 0 and state.is_over and not state.was_read
        return "G1 an acknowledged row is never read" if is_lost else None

    def _is_over(self, state: State) -> bool:
        if state.seen_at < 0 or state.starts_at is None:
            return False
        is_past = state.now + state.reader >= state.starts_at + W + EPSILON
        is_long_seen = state.now - state.seen_at > REFRESH + W
        if self.mutant == "over by the start alone":
            return is_past
        return is_long_seen and (is_past or self.mutant == "over by sight alone")

    def _write(self, state: State) -> Iterator[tuple[str, State]]:
        starts_at = state.starts_at
        is_next = starts_at is not None and state.now + state.ingester >= starts_at
        chosen = 1 if state.knows and is_next else 0
        is_fresh = state.picture_age <= REFRESH or self.mutant == "a picture has no age"
        if state.writes is None and state.acknowledged is None and not state.tries and is_fresh:
            yield f"writes to {chosen}", state._replace(writes=(state.now, chosen), tries=1)
        if state.writes is None:
            return
        began, generation = state.writes
        if state.visible is None:
            yield "~is seen", state._replace(visible=generation)
        if state.visible == generation and state.now - began <= W:
            acknowledged = state._replace(writes=None, acknowledged=generation)
            yield f"is acknowledged in {generation}", acknowledged
        may_repeat = is_fresh or self.mutant == "its age is looked at once"
        if state.now - began > W and state.tries < 2 and state.visible is None and may_repeat:
            again = generation if self.mutant == "a rewrite keeps its generation" else chosen
            yield f"writes again to {again}", state._replace(writes=(state.now, again), tries=2)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(GenerationEnd(), id="the record lands at any time"),
        pytest.param(
            GenerationEnd("over by the start alone", lands_in_time=True),
            id="the start is enough where it lands in time",
        ),
    ],
)
def test_nothing_acknowledged_is_left_behind(model: GenerationEnd) -> None:
    assert_holds(model, states_min=1_000)


@pytest.mark.parametrize(
    "mutant",
    [
        "over by the start alone",
        "over by sight alone",
        "a picture has no age",
        "its age is looked at once",
        "a rewrite keeps its generation",
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant) -> None:
    assert_fails(GenerationEnd(mutant, ends=10), "G1")
