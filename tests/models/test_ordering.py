"""Two messages of one ordering key: the second was submitted after the first was accepted.

A read passes the place of the first before that of the second, so it may return the second alone.
The first may be refused: its next attempt waits in the timers.  B takes over from A at any time and
reads from the persisted offset of ordered rows, the timers and the folds; entries are taken to be
projected and retired at once, which is the worst case.

O1 the second is handed over only when the first is final.  O2 both are final at the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds

Mutant = Literal["", "no read confirms", "a retry lets the offset go", "both"]


class Owner(NamedTuple):
    is_reading: bool = False
    page_had_first: bool = False
    knows_first: bool = False
    knows_second: bool = False
    confirmed: int = 0  # of the second: unseen, seen, seen by a read that began later
    began_after: bool = False


class State(NamedTuple):
    visible: int = 0
    first: str = "new"
    second: str = "new"
    is_passed: bool = False  # the ordered offset is beyond the first
    timer: bool = False
    owner: Owner = Owner()
    taken_over: bool = False


@dataclass(frozen=True)
class Ordering:
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        yield State()

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        owner = state.owner
        if state.visible < 2:
            yield "~a row is seen", state._replace(visible=state.visible + 1)
        if not state.taken_over:
            yield "B takes over", state._replace(owner=Owner(), taken_over=True)
        is_settled = owner.knows_first and owner.knows_second and owner.confirmed == 2
        if not owner.is_reading and not is_settled:
            had = state.visible >= 1 and not state.is_passed
            reading = owner._replace(
                is_reading=True, page_had_first=had, began_after=owner.confirmed >= 1
            )
            yield f"reads page one: {had}", state._replace(owner=reading)
        if owner.is_reading:
            has_second = state.visible >= 2
            seen = 1 if has_second or owner.knows_second else owner.confirmed
            read = Owner(
                knows_first=owner.knows_first or owner.page_had_first,
                knows_second=owner.knows_second or has_second,
                confirmed=max(owner.confirmed, 2 if owner.began_after else seen),
            )
            yield f"reads page two: {has_second}", state._replace(owner=read)
        if state.timer and not owner.knows_first:
            yield "loads the timer", state._replace(owner=owner._replace(knows_first=True))
        if owner.knows_first and state.first == "new":
            for end in ("taken", "uncertain, and its deadline over"):
                yield f"SENDS the first: {end}", state._replace(first="final")
            yield "SENDS the first: again", state._replace(first="waits", timer=True)
        if state.timer and state.first == "waits" and owner.knows_first:
            yield "SENDS the first again", state._replace(first="final", timer=False)
        lets_go = self.mutant in ("a retry lets the offset go", "both") and state.first == "waits"
        if not state.is_passed and owner.knows_first and (state.first == "final" or lets_go):
            yield "the ordered offset passes the first", state._replace(is_passed=True)
        is_blocked = owner.knows_first and state.first != "final"
        is_sure = owner.confirmed == 2 or self.mutant in ("no read confirms", "both")
        if owner.knows_second and state.second == "new" and not is_blocked and is_sure:
            end = "final" if state.first == "final" else "early"
            yield "SENDS the second", state._replace(second=end)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        if state.second == "early":
            return f"O1 the second was handed over while the first is {state.first}"
        is_over = (state.first, state.second) == ("final", "final")
        return f"O2 stuck: {state}" if is_quiet and state.visible == 2 and not is_over else None


def test_the_second_waits_for_the_first() -> None:
    assert_holds(Ordering(), states_min=80)


@pytest.mark.parametrize("mutant", ["no read confirms", "a retry lets the offset go", "both"])
def test_a_mutant_breaks_it(mutant: Mutant) -> None:
    assert_fails(Ordering(mutant), "O1")
