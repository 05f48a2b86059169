"""Whether anything moved while a keyspace was copied."""

import pytest

from actors.cli.audit.keyspace_copy import Heads, lanes_that_moved
from pipeline.lane_id import LaneId

A, B = LaneId(1, "n1", 0, "sms", "bulk-1"), LaneId(1, "n1", 1, "sms", "bulk-1")


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        ({A: (0, 7), B: (1, 900)}, []),
        ({A: (0, 8), B: (1, 900)}, [str(A)]),
        ({A: (0, 7), B: (2, -1)}, [str(B)]),
    ],
    ids=["still", "an entry", "a segment"],
)
def test_a_lane_whose_journal_goes_on_moves(after: Heads, moved: list[str]) -> None:
    assert lanes_that_moved({A: (0, 7), B: (1, 900)}, after) == moved


def test_a_lane_that_is_new_moves() -> None:
    assert lanes_that_moved({}, {A: (0, -1)}) == [str(A)]
