"""Over how many schedulers a core's lanes are split, and which move."""

import random
from collections.abc import Mapping

import pytest

from pipeline.instant import Instant, later
from pipeline.lane.split import LaneSplit, Move, SchedulerLoad
from pipeline.limits import (
    GROW_IDLE_MIN,
    LANES_MOVING_MAX,
    MERGE_AFTER_MS,
    MERGE_BUSY_MAX,
    MOVE_PAUSE_MS,
    SPLIT_AFTER_MS,
    SPLIT_BUSY_MIN,
)
from tests.support.fake_clock import NOW
from tests.support.seed import seeded_random

LOOK_MS = 500
FULL = 1_000


def load(part: int, busy: int, lanes: Mapping[str, int] | None = None) -> SchedulerLoad:
    return SchedulerLoad(part=part, busy=busy, lanes=lanes or {})


class Core:
    """A core whose loads stay as they are set."""

    def __init__(self, *, parts_max: int = 4, parts: int = 1) -> None:
        self.split = LaneSplit(parts_max=parts_max, parts=parts)
        self.now: Instant = NOW
        self.idle = FULL

    def look(self, *loads: SchedulerLoad, for_ms: int = 0) -> list[Move]:
        """Decide again and again for a while; return the moves of it."""
        moves = []
        for _ in range(0, for_ms + 1, LOOK_MS):
            moves += self.split.decide(loads, idle=self.idle, now=self.now)
            self.now = later(self.now, LOOK_MS)
        return moves


BUSY = load(0, SPLIT_BUSY_MIN, {"a": 60, "b": 40})


def test_a_scheduler_that_cannot_keep_up_for_a_while_is_given_another() -> None:
    core = Core()
    assert core.look(BUSY, for_ms=SPLIT_AFTER_MS - LOOK_MS) == []
    assert core.split.parts == 1
    core.look(BUSY)
    assert core.split.parts == 2
    # Until it has started nobody's load is what it will be.
    core.look(BUSY, for_ms=10 * SPLIT_AFTER_MS)
    assert core.split.parts == 2
    assert core.look(BUSY, load(1, 0)) == [Move(lanes=("b",), source=0, target=1)]


@pytest.mark.parametrize(
    ("busiest", "idle", "parts_max"),
    [
        pytest.param(load(0, SPLIT_BUSY_MIN - 1, {"a": 1, "b": 1}), FULL, 4, id="it keeps up"),
        pytest.param(load(0, FULL, {"a": 1, "b": 0}), FULL, 4, id="one lane cannot be split"),
        pytest.param(BUSY, GROW_IDLE_MIN - 1, 4, id="the machine has nothing left"),
        pytest.param(BUSY, FULL, 1, id="not allowed"),
        pytest.param(BUSY, FULL, 0, id="off"),
    ],
)
def test_nobody_is_added(busiest: SchedulerLoad, idle: int, parts_max: int) -> None:
    core = Core(parts_max=parts_max)
    core.idle = idle
    assert core.look(busiest, for_ms=10 * SPLIT_AFTER_MS) == []
    assert core.split.parts == 1


def test_a_moment_of_rest_begins_anew() -> None:
    core = Core()
    for _ in range(5):
        core.look(BUSY, for_ms=SPLIT_AFTER_MS - LOOK_MS)
        core.look(load(0, 0))
    assert core.split.parts == 1


@pytest.mark.parametrize(
    ("first", "second", "moving"),
    [
        pytest.param({"a": 50, "b": 50}, {}, ("a",), id="half of two"),
        pytest.param({"a": 90, "b": 10}, {}, ("b",), id="the small one beside a large one"),
        pytest.param({"a": 4, "b": 3, "c": 2, "d": 1}, {}, ("a", "d"), id="as few as will do"),
        pytest.param({"a": 3, "b": 3, "idle": 0}, {}, ("a",), id="not one without work"),
        pytest.param({"a": 1, "b": 1, "c": 1}, {"d": 1}, ("a",), id="to one that has some"),
    ],
)
def test_as_much_moves_as_makes_both_alike(
    first: Mapping[str, int], second: Mapping[str, int], moving: tuple[str, ...]
) -> None:
    core = Core(parts=2)
    loads = load(0, FULL, first), load(1, 300 * bool(second), second)
    assert core.look(*loads, for_ms=SPLIT_AFTER_MS) == [Move(lanes=moving, source=0, target=1)]


def test_a_move_is_looked_at_before_the_next() -> None:
    core = Core(parts=2)
    loads = load(0, FULL, {"a": 1, "b": 1}), load(1, 0)
    assert len(core.look(*loads, for_ms=SPLIT_AFTER_MS)) == 1
    assert core.look(*loads, for_ms=MOVE_PAUSE_MS - 2 * LOOK_MS) == []
    assert len(core.look(*loads, for_ms=LOOK_MS)) == 1


def test_where_nothing_can_be_evened_out_another_is_added() -> None:
    core = Core(parts=2)
    loads = load(0, FULL, {"a": 1, "b": 1}), load(1, FULL - 1, {"c": 1, "d": 1})
    assert core.look(*loads, for_ms=SPLIT_AFTER_MS) == []
    assert core.split.parts == 3


def test_what_would_fit_in_one_less_for_long_is_merged() -> None:
    core = Core(parts=3)
    quiet = (
        load(0, MERGE_BUSY_MAX, {"a": 1}),
        load(1, MERGE_BUSY_MAX - 1, {"b": 1}),
        load(2, 1, {"c": 1, "idle": 0}),
    )
    assert core.look(*quiet, for_ms=MERGE_AFTER_MS - LOOK_MS) == []
    # All of it, to the one that has less to do.
    leaving = Move(lanes=("c", "idle"), source=2, target=1)
    assert core.look(*quiet) == [leaving]
    assert core.split.parts == 3, "it ends only when it has nothing left"
    assert core.look(*quiet) == [leaving], "until it is seen to be done"
    assert core.look(*quiet[:2], load(2, 0)) == []
    assert core.split.parts == 2


def test_what_would_not_fit_in_one_less_stays() -> None:
    core = Core(parts=2)
    loads = load(0, MERGE_BUSY_MAX, {"a": 1}), load(1, 1, {"b": 1})
    assert core.look(*loads, for_ms=10 * MERGE_AFTER_MS) == []
    assert core.split.parts == 2


def test_what_is_found_and_not_allowed_any_more_is_merged_at_once() -> None:
    core = Core(parts_max=0, parts=2)
    assert core.look(load(0, 0), load(1, FULL, {"a": 1})) == [
        Move(lanes=("a",), source=1, target=0)
    ]
    core.look(load(0, FULL, {"a": 1}), load(1, 0))
    assert core.split.parts == 1


def test_so_many_lanes_move_at_once_and_no_more() -> None:
    core = Core(parts_max=1, parts=2)
    lanes = dict.fromkeys(map(str, range(2 * LANES_MOVING_MAX)), 1)
    (move,) = core.look(load(0, 0), load(1, FULL, lanes))
    assert len(move.lanes) == LANES_MOVING_MAX
    core = Core(parts=2)
    (move,) = core.look(load(0, FULL, lanes | dict.fromkeys(map(str, range(900)), 1)), load(1, 0),
                        for_ms=SPLIT_AFTER_MS)  # fmt: skip
    assert len(move.lanes) == LANES_MOVING_MAX


def test_under_a_steady_load_the_lanes_come_to_rest() -> None:
    """Work is done where the lanes are; moving it about for ever would cost each lane its rest."""
    chance = seeded_random()
    for _ in range(20):
        _come_to_rest(chance)


def _come_to_rest(chance: random.Random) -> None:
    work = {f"lane {n}": chance.randint(0, 400) for n in range(chance.randint(1, 30))}
    parts_max = chance.randint(1, 5)
    core = Core(parts_max=parts_max)
    owner = dict.fromkeys(work, 0)
    moved_at = NOW
    for _ in range(600):
        loads = []
        for part in range(core.split.parts):
            lanes = {lane: work[lane] for lane in work if owner[lane] == part}
            loads.append(load(part, min(FULL, sum(lanes.values())), lanes))
        for move in core.look(*loads):
            assert move.source != move.target
            assert all(owner[lane] == move.source for lane in move.lanes)
            owner |= dict.fromkeys(move.lanes, move.target)
            moved_at = core.now
        assert 1 <= core.split.parts <= parts_max
    assert set(owner.values()) <= set(range(core.split.parts)), "a lane is left with nobody"
    assert moved_at < later(NOW, 120_000), "they still move"
