import pytest

from pipeline.route.lane_turns import LaneTurns


def _rounds(turns: LaneTurns, lanes: dict[str, float], *, rounds: int, each: int) -> dict[str, int]:
    """Return what each lane took when all always want more and `each` permits come a round."""
    taken = dict.fromkeys(lanes, 0)
    there = 0
    for _ in range(rounds):
        there += each
        for lane, weight in lanes.items():
            turns.want(lane, 1_000, weight=weight)
        for lane in lanes:
            got = turns.take(lane, 1_000, permits=there)
            there -= got
            taken[lane] += got
    return taken


@pytest.mark.parametrize("each", [1, 7, 1_000])
def test_lanes_share_by_weight_however_few_permits_come_at_once(each: int) -> None:
    taken = _rounds(LaneTurns(), {"urgent": 16, "normal": 4, "bulk": 1}, rounds=2_100, each=each)
    parts = [taken[lane] / sum(taken.values()) for lane in ("urgent", "normal", "bulk")]
    assert sum(taken.values()) == pytest.approx(2_100 * each, abs=each)
    assert parts == pytest.approx([16 / 21, 4 / 21, 1 / 21], rel=0.05)


def test_the_lane_that_asks_first_does_not_take_all() -> None:
    turns = LaneTurns()
    turns.want("a", 1_000, weight=1)
    turns.want("b", 1_000, weight=1)
    assert turns.take("a", 1_000, permits=10) == 5
    assert turns.take("a", 1_000, permits=5) == 0
    assert turns.take("b", 1_000, permits=5) == 5


def test_what_one_does_not_want_is_the_others() -> None:
    turns = LaneTurns()
    turns.want("a", 1_000, weight=1)
    turns.want("b", 2, weight=100)
    assert turns.take("a", 1_000, permits=10) == 8
    assert turns.take("b", 2, permits=2) == 2


def test_a_lane_that_has_nothing_more_gives_back_what_it_was_dealt() -> None:
    turns = LaneTurns()
    turns.want("a", 1_000, weight=1)
    turns.want("b", 1_000, weight=1)
    assert turns.take("a", 1_000, permits=10) == 5
    turns.want("b", 0, weight=1)
    assert turns.take("a", 1_000, permits=5) == 5


def test_permits_that_ended_are_nobodys() -> None:
    turns = LaneTurns()
    turns.want("a", 1_000, weight=1)
    turns.want("b", 1_000, weight=1)
    turns.take("a", 0, permits=10)
    assert turns.take("a", 1_000, permits=2) + turns.take("b", 1_000, permits=0) <= 2


def test_a_lane_that_was_idle_gets_no_more_than_its_part_afterwards() -> None:
    turns = LaneTurns()
    turns.want("a", 10**6, weight=1)
    assert turns.take("a", 10_000, permits=10_000) == 10_000
    taken = _rounds(turns, {"a": 1, "b": 1}, rounds=100, each=10)
    assert taken["a"] == pytest.approx(taken["b"], abs=10)


def test_a_lane_that_said_nothing_takes_only_what_is_left() -> None:
    turns = LaneTurns()
    turns.want("a", 6, weight=1)
    assert turns.take("b", 100, permits=10) == 4
    assert turns.take("a", 100, permits=6) == 6
