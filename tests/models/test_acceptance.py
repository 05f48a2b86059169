"""Is every row that was acknowledged read, although rows are late and clocks differ?

The ingester chooses the slice by its clock when a try begins; the row gets `at` from the clock of
the database when it executes, and is seen later still.  It counts as acknowledged only if that was
within W of the beginning, by a clock that also runs while the machine sleeps; else the row is
written again, with a slice chosen anew.  Pairwise the clocks are at most epsilon apart.  A read
begins at the time of the reader's clock, lists the slices from that of the offset to its own, and
its end moves the offset to that time - (W + epsilon).

W1 no row that was acknowledged is behind the offset, or in a slice nobody lists, and unread.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds

W, EPSILON, SLICE = 2, 1, 3
OVERLAP = W + EPSILON

Mutant = Literal[
    "",
    "no deadline",
    "the overlap is short",
    "the overlap forgets the clocks",
    "the offset is the cursor",
    "the offset counts from the end of the read",
    "a clock that sleeps",
    "the offset itself is not read",
    "slices are listed from now on",
    "the slice is chosen before the try",
    "a rewrite keeps its slice",
]


class Try(NamedTuple):
    began: int
    slice: int
    at: int | None = None
    is_visible: bool = False
    slept: int = 0


class Acknowledged(NamedTuple):
    at: int
    slice: int


class State(NamedTuple):
    ingester: int  # how far each clock is ahead
    database: int
    reader: int
    now: int = 1
    writes: Try | None = None
    tries: int = 0
    rows: tuple[Acknowledged, ...] = ()
    acknowledged: Acknowledged | None = None
    reads: tuple[int, bool] | None = None  # when it began, and whether it got the row
    offset: int = -9
    was_read: bool = False


@dataclass(frozen=True)
class Acceptance:
    ends: int = 8
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        for clocks in range(8):
            yield State(clocks & 1, clocks >> 1 & 1, clocks >> 2)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        writes = state.writes
        if state.now < self.ends:
            later = state._replace(now=state.now + 1)
            yield f"~it is {later.now}", later
            if writes is not None and self.mutant == "a clock that sleeps" and writes.slept < 4:
                asleep = writes._replace(slept=writes.slept + 1)
                yield f"~it is {later.now}, the ingester sleeps", later._replace(writes=asleep)
        if writes is None and state.acknowledged is None and not state.tries and state.now <= 5:
            for back in (0, 3) if self.mutant.startswith("the slice is chosen") else (0,):
                number = max(0, state.now + state.ingester - back) // SLICE
                begun = state._replace(writes=Try(state.now, number), tries=1)
                yield f"begins to write to slice {number}", begun
        if writes is not None:
            yield from self._write(state, writes)
        yield self._read(state)

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        row = state.acknowledged
        if row is None or state.was_read or state.reads is not None:
            return None
        is_excluded = self.mutant.startswith("the offset itself") and row.at == state.offset
        if row.at < state.offset or is_excluded:
            return f"W1 {row} is behind the offset {state.offset}"
        if row.slice < state.offset // SLICE:
            return f"W1 {row} lies in a slice that nobody lists from {state.offset}"
        return None

    def _write(self, state: State, writes: Try) -> Iterator[tuple[str, State]]:
        if writes.at is None:
            at = state.now + state.database
            yield f"~executes at {at}", state._replace(writes=writes._replace(at=at))
            row = None
        else:
            row = Acknowledged(writes.at, writes.slice)
            if not writes.is_visible:
                seen = writes._replace(is_visible=True)
                yield "~is seen", state._replace(writes=seen, rows=(*state.rows, row))
        elapsed = state.now - writes.began - writes.slept
        has_no_deadline = self.mutant == "no deadline"
        if row is not None and writes.is_visible and (elapsed <= W or has_no_deadline):
            yield f"{row} is acknowledged", state._replace(writes=None, acknowledged=row)
        elif state.tries < 2 and elapsed > W and not has_no_deadline:
            number = (state.now + state.ingester) // SLICE
            if self.mutant == "a rewrite keeps its slice":
                number = writes.slice
            again = state._replace(writes=Try(state.now, number), tries=2)
            yield f"writes again, to slice {number}", again

    def _read(self, state: State) -> tuple[str, State]:
        now = state.now + state.reader
        if state.reads is None:
            # In the worst case what is seen later is not in it.
            oldest = now if self.mutant == "slices are listed from now on" else state.offset
            is_exclusive = self.mutant.startswith("the offset itself")
            got = any(
                row.at >= state.offset + is_exclusive
                and oldest // SLICE <= row.slice <= now // SLICE
                for row in state.rows
            )
            return f"a read begins at {now}", state._replace(reads=(now, got))
        began, got = state.reads
        overlap = OVERLAP
        if self.mutant == "the overlap is short":
            overlap = W - 1
        elif self.mutant == "the overlap forgets the clocks":
            overlap = W
        counted_from = now if self.mutant.endswith("the end of the read") else began
        offset = max(state.offset, counted_from - overlap)
        if self.mutant == "the offset is the cursor":
            offset = began
        ended = state._replace(reads=None, offset=offset, was_read=state.was_read or got)
        return f"the read ends, the offset is {offset}", ended


def test_what_was_acknowledged_is_read() -> None:
    assert_holds(Acceptance(), states_min=10_000)


@pytest.mark.parametrize(
    "mutant",
    [
        "no deadline",
        "the overlap is short",
        "the overlap forgets the clocks",
        "the offset is the cursor",
        "the offset counts from the end of the read",
        "a clock that sleeps",
        "the offset itself is not read",
        "slices are listed from now on",
        "the slice is chosen before the try",
        "a rewrite keeps its slice",
    ],
)
def test_a_mutant_breaks_it(mutant: Mutant) -> None:
    ends = 10 if mutant == "a rewrite keeps its slice" else 9
    assert_fails(Acceptance(ends=ends, mutant=mutant), "W1")
