"""A receipt that comes before the name that it speaks of is known.

The provider took the message; its receipt may arrive before the owner of the lane has noted the
provider's name.  Both sides write their row to the reference's partition and then read it.  The
owner may die and its successor does it again, as the entry retires only after the owner's read.

C1 when both sides are done the receipt has become a command for the message.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pytest

from tests.models.search import assert_fails, assert_holds

Mutant = Literal["", "the receiver reads first", "the owner reads first", "retired after the write"]


class State(NamedTuple):
    owner: int = 0  # how many of its two steps are done
    receiver: int = 0
    has_read_name: bool = False
    name_is_there: bool = False
    receipt_is_there: bool = False
    has_command: bool = False
    crashes: int = 1


@dataclass(frozen=True)
class Receipts:
    mutant: Mutant = ""

    def starts(self) -> Iterator[State]:
        yield State()

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        if state.owner < 2:
            after = state._replace(owner=state.owner + 1)
            if (state.owner == 0) == (self.mutant != "the owner reads first"):
                yield "the owner writes the name", after._replace(name_is_there=True)
            else:
                has_command = state.has_command or state.receipt_is_there
                yield "the owner reads", after._replace(has_command=has_command)
            if state.crashes:
                is_early = self.mutant == "retired after the write" and state.owner == 1
                crashed = state._replace(owner=2 if is_early else 0, crashes=0)
                yield "the owner dies, its successor does it again", crashed
        if state.receiver < 2:
            after = state._replace(receiver=state.receiver + 1)
            reads_first = self.mutant == "the receiver reads first"
            if (state.receiver == 0) == (not reads_first):
                if reads_first and state.has_read_name:
                    yield "the receiver knows the name", after
                else:
                    yield "the receiver writes the receipt", after._replace(receipt_is_there=True)
            else:
                yield (
                    "the receiver reads",
                    after._replace(
                        has_read_name=state.name_is_there,
                        has_command=state.has_command or state.name_is_there,
                    ),
                )

    def wrong(self, state: State, *, is_quiet: bool) -> str | None:
        is_over = state.owner == state.receiver == 2
        return "C1 the receipt is lost" if is_over and not state.has_command else None


def test_whoever_is_second_sees_both_rows() -> None:
    assert_holds(Receipts(), states_min=20)


@pytest.mark.parametrize(
    "mutant", ["the receiver reads first", "the owner reads first", "retired after the write"]
)
def test_a_mutant_breaks_it(mutant: Mutant) -> None:
    assert_fails(Receipts(mutant), "C1")
