"""Do the books of a lane close, and stay closed, whoever writes late?

Two messages of one group in one lane.  Entries name (message, from, to), fenced and without gaps; A
may have appended one without knowing.  Owners write the counts of a book as one cell with the seq
that they hold for; the larger seq stays, in whatever order writes land.  B takes over at any time:
it takes the cell that it reads and adds the entries after it.  Entries retire up to the seq of an
acknowledged cell only.

B1 when the owner is done and its last write acknowledged, no late write changes what is told.
B2 a cell always closes: its counts sum up to the messages named by then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds

FLYING_MAX = 2

Mutant = Literal[
    "",
    "retired before the cell is acknowledged",
    "a successor counts from what has not retired",
    "a successor begins at nothing",
    "what was found claimed is not taken out",
    "the last writer wins",
]

Counts = tuple[int, int, int]  # in flight, sent, uncertain
NOTHING: Counts = (0, 0, 0)
PLACES = ("in flight", "sent", "uncertain")


class Entry(NamedTuple):
    message: int
    before: str
    after: str


class Cell(NamedTuple):
    as_of: int
    counts: Counts


class Owner(NamedTuple):
    is_up: bool = False
    knows: int = 0  # entries
    counts: Counts = NOTHING
    acknowledged: int = 0
    writes: int = -1  # the seq of its write that is on its way
    found: int = 0  # entries that were there when it came


class State(NamedTuple):
    journal: tuple[Entry, ...] = ()
    retired: int = 0
    cell: Cell = Cell(0, NOTHING)
    flying: tuple[Cell, ...] = ()
    old: Owner = Owner(is_up=True)
    new: Owner | None = None


@dataclass(frozen=True)
class Books:
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        yield State()

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        for n, cell in enumerate(state.flying):
            rest = state.flying[:n] + state.flying[n + 1 :]
            landed = state._replace(cell=self._land(state.cell, cell), flying=rest)
            yield f"~{cell} lands", landed
        if state.new is None:
            yield "B takes over", state._replace(new=self._successor(state))
        if state.old.is_up:
            is_owner = state.new is None
            for label, after, owner in self._moves_of(state, state.old, is_owner=is_owner):
                yield f"A {label}", after._replace(old=owner)
            if is_owner:
                yield from self._append_unknown(state)
            elif state.old.writes < 0:
                yield "A is fenced", state._replace(old=Owner())
        if state.new is not None:
            for label, after, owner in self._moves_of(state, state.new, is_owner=True):
                yield f"B {label}", after._replace(new=owner)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        for cell in (state.cell, *state.flying):
            named = len({entry.message for entry in state.journal[: cell.as_of]})
            if sum(cell.counts) != named:
                return f"B2 {cell} does not close: {named} are named"
        owner = state.new or state.old
        is_done = _next_of(state.journal) is None and owner.acknowledged == len(state.journal)
        if is_done and owner.writes < 0:
            truth = _counted(NOTHING, state.journal)
            after = state.cell
            for cell in state.flying:
                after = self._land(after, cell)
            if truth not in (state.cell.counts,) or truth != after.counts:
                return f"B1 the books say {state.cell}, then {after}, the truth is {truth}"
        return None

    def _land(self, there: Cell, cell: Cell) -> Cell:
        if self.mutant == "the last writer wins":
            return cell
        return max(there, cell)

    def _successor(self, state: State) -> Owner:
        cell = state.cell
        as_of, counts = cell
        if self.mutant == "a successor begins at nothing":
            counts, as_of = NOTHING, state.retired
        elif self.mutant == "a successor counts from what has not retired":
            as_of = state.retired
        found = len(state.journal)
        # What has retired cannot be read any more.
        counts = _counted(counts, state.journal[max(as_of, state.retired) :])
        return Owner(is_up=True, knows=found, counts=counts, acknowledged=cell.as_of, found=found)

    def _append_unknown(self, state: State) -> Iterator[tuple[str, State]]:
        old, journal = state.old, state.journal
        entry = _next_of(journal)
        if old.knows == len(journal) and entry is not None:
            yield f"A appends {entry}, no answer", state._replace(journal=(*journal, entry))
        elif old.knows < len(journal):
            counts = _counted(old.counts, journal[old.knows :])
            told = old._replace(knows=len(journal), counts=counts)
            yield "A hears that it was appended", state._replace(old=told)

    def _moves_of(
        self, state: State, owner: Owner, *, is_owner: bool
    ) -> Iterator[tuple[str, State, Owner]]:
        entry = _next_of(state.journal)
        if is_owner and owner.knows == len(state.journal) and entry is not None:
            was_found = entry.before and entry in _ends_of(state.journal[: owner.found])
            if was_found:
                entry = entry._replace(after="uncertain")
            counted = entry
            if was_found and self.mutant == "what was found claimed is not taken out":
                counted = entry._replace(before="")
            counts = _counted(owner.counts, [counted])
            journal = (*state.journal, entry)
            appended = owner._replace(knows=len(journal), counts=counts)
            yield f"appends {entry}", state._replace(journal=journal), appended
        if owner.writes < 0 and owner.knows > owner.acknowledged and len(state.flying) < FLYING_MAX:
            cell = Cell(owner.knows, owner.counts)
            flying = tuple(sorted((*state.flying, cell)))
            yield f"writes {cell}", state._replace(flying=flying), owner._replace(writes=cell.as_of)
        if owner.writes >= 0:
            if all(cell.as_of != owner.writes for cell in state.flying):
                acknowledged = owner._replace(acknowledged=owner.writes, writes=-1)
                yield "hears that its cell is there", state, acknowledged
            elif not is_owner:
                yield "leaves its write alone", state, owner._replace(writes=-1)
        through = owner.acknowledged
        if self.mutant == "retired before the cell is acknowledged":
            through = owner.knows
        if is_owner and through > state.retired:
            yield f"retires through {through}", state._replace(retired=through), owner


def _ends_of(journal: tuple[Entry, ...]) -> set[Entry]:
    return {Entry(entry.message, "in flight", "sent") for entry in journal}


def _next_of(journal: tuple[Entry, ...]) -> Entry | None:
    newest = {entry.message: entry.after for entry in journal}
    for message, after in newest.items():
        if after == "in flight":
            return Entry(message, after, "sent")
    new = [message for message in (0, 1) if message not in newest]
    return Entry(new[0], "", "in flight") if new else None


def _counted(counts: Counts, entries: tuple[Entry, ...] | list[Entry]) -> Counts:
    sums = list(counts)
    for entry in entries:
        if entry.before:
            sums[PLACES.index(entry.before)] -= 1
        sums[PLACES.index(entry.after)] += 1
    return (sums[0], sums[1], sums[2])


def test_books_close_at_every_instant_and_stay_closed() -> None:
    assert_holds(Books(), states_min=300)


@pytest.mark.parametrize(
    "mutant",
    [
        "retired before the cell is acknowledged",
        "a successor counts from what has not retired",
        "a successor begins at nothing",
        "what was found claimed is not taken out",
        "the last writer wins",
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant) -> None:
    assert_fails(Books(mutant), "B")
