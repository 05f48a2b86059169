import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lane_id import band_of
from pipeline.message import PRIORITIES
from pipeline.route.fair_share import fill, in_whole
from pipeline.route.limiter import flow_weight


@pytest.mark.parametrize(
    ("total", "demands", "weights", "shares"),
    [
        pytest.param(100, [200, 200], [1, 1], [50, 50], id="halves"),
        pytest.param(100, [200, 200], [3, 1], [75, 25], id="by weight"),
        pytest.param(100, [10, 200], [1, 1], [10, 90], id="what one does not need"),
        pytest.param(100, [10, 20], [1, 1], [10, 20], id="enough for all"),
        pytest.param(100, [0, 200], [9, 1], [0, 100], id="who asks for nothing"),
        pytest.param(90, [10, 30, 99], [1, 1, 1], [10, 30, 50], id="filled from below"),
        pytest.param(0, [5, 5], [1, 1], [0, 0], id="nothing to share"),
        pytest.param(100, [200_000, 100], [4, 4], [50, 50], id="a campaign beside a few"),
        pytest.param(100, [200_000, 100], [1, 16], [100 / 17, 1600 / 17], id="bulk and urgent"),
    ],
)
def test_shares(
    total: float, demands: list[float], weights: list[float], shares: list[float]
) -> None:
    filled = fill(total, dict(enumerate(demands)), dict(enumerate(weights)))
    assert [filled[n] for n in range(len(demands))] == pytest.approx(shares)


@given(
    total=st.integers(0, 1_000),
    claims=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 20)), min_size=1, max_size=8),
)
def test_nobody_envies_anybody(total: int, claims: list[tuple[int, int]]) -> None:
    demands = {n: float(demand) for n, (demand, _) in enumerate(claims)}
    weights = {n: float(weight) for n, (_, weight) in enumerate(claims)}
    shares = fill(total, demands, weights)
    assert sum(shares.values()) == pytest.approx(min(total, sum(demands.values())))
    for name, share in shares.items():
        assert 0 <= share <= demands[name] + 1e-9
        if share < demands[name] - 1e-6:
            # Whoever is not satisfied has as much for his weight as anybody else.
            level = share / weights[name]
            assert all(shares[other] / weights[other] <= level + 1e-6 for other in shares)


@given(
    rounds=st.integers(1, 40),
    total=st.integers(0, 20),
    claims=st.lists(st.floats(0.01, 10), min_size=1, max_size=8),
)
def test_whole_parts_add_up_and_are_fair_in_the_long_run(
    rounds: int, total: int, claims: list[float]
) -> None:
    scale = total / sum(claims)
    ideals = {n: claim * scale for n, claim in enumerate(claims)}
    owed: dict[int, float] = {}
    given_in_all = dict.fromkeys(ideals, 0)
    for _ in range(rounds):
        given = in_whole(total, ideals, owed)
        assert sum(given.values()) == total
        for name, count in given.items():
            assert count >= 0
            given_in_all[name] += count
    if total:
        for name, ideal in ideals.items():
            assert abs(given_in_all[name] - rounds * ideal) <= 2 + rounds * 1e-6


def test_who_asked_for_nothing_gets_nothing_and_is_owed_nothing() -> None:
    owed = {"gone": 0.9, "a": 0.0}
    assert in_whole(3, {"a": 3.0, "b": 0.0}, owed) == {"a": 3, "b": 0}
    assert owed == {"a": 0.0}


def test_every_band_has_a_weight_and_urgent_far_more_than_bulk() -> None:
    urgent, normal, bulk = (
        flow_weight(band_of(tenant="acme", priority=priority)) for priority in PRIORITIES
    )
    assert urgent >= 4 * normal >= 16 * bulk > 0
