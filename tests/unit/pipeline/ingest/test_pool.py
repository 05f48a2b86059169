"""How many ingesters there are."""

import pytest

from pipeline.ingest.pool import IngesterLoad, IngesterPool
from pipeline.instant import Instant, later
from pipeline.limits import (
    GROW_IDLE_MIN,
    INGEST_MESSAGES_IN_FLIGHT_MAX,
    POOL_BUSY_MIN,
    POOL_FULL_BUSY_MIN,
    POOL_GROW_AFTER_MS,
    POOL_SHRINK_AFTER_MS,
    POOL_SHRINK_BUSY_MAX,
)
from tests.support.fake_clock import NOW

LOOK_MS = 500
HALF = INGEST_MESSAGES_IN_FLIGHT_MAX // 2


def load(busy: int, *, in_flight: int = 0, overloaded: bool = False) -> IngesterLoad:
    return IngesterLoad(busy=busy, messages_in_flight=in_flight, overloaded_lately=overloaded)


class Pool:
    """A pool whose loads stay as they are set."""

    def __init__(self, *, size_min: int = 1, size_max: int = 4, found: int = 0) -> None:
        self.pool = IngesterPool(size_min=size_min, size_max=size_max, found=found)
        self.now: Instant = NOW
        self.idle = 1_000

    def look(self, *loads: IngesterLoad, for_ms: int = 0) -> int:
        """Decide again and again for a while; return the size then."""
        for _ in range(0, for_ms + 1, LOOK_MS):
            self.pool.decide(loads, idle=self.idle, now=self.now)
            self.now = later(self.now, LOOK_MS)
        return self.pool.size


@pytest.mark.parametrize(
    "pressed",
    [
        pytest.param(load(POOL_BUSY_MIN), id="busy"),
        pytest.param(load(POOL_FULL_BUSY_MIN, overloaded=True), id="it refused a chunk"),
        pytest.param(load(POOL_FULL_BUSY_MIN, in_flight=HALF + 1), id="more than half full"),
    ],
)
def test_it_grows_by_one_when_it_is_pressed_for_a_while(pressed: IngesterLoad) -> None:
    pool = Pool()
    assert pool.look(pressed, for_ms=POOL_GROW_AFTER_MS - LOOK_MS) == 1
    assert pool.look(pressed) == 2
    # The new one has to start, and then to show what it takes over.
    assert pool.look(pressed, for_ms=10 * POOL_GROW_AFTER_MS) == 2
    assert pool.look(pressed, pressed, for_ms=POOL_GROW_AFTER_MS) == 3


@pytest.mark.parametrize(
    ("one", "idle", "size_max"),
    [
        pytest.param(load(POOL_BUSY_MIN - 1), 1_000, 4, id="not so busy"),
        pytest.param(load(POOL_FULL_BUSY_MIN - 1, overloaded=True), 1_000, 4,
                     id="full, and waiting for the store"),
        pytest.param(load(POOL_FULL_BUSY_MIN, in_flight=HALF), 1_000, 4, id="half full"),
        pytest.param(load(1_000, overloaded=True), GROW_IDLE_MIN - 1, 4,
                     id="the machine has nothing left"),
        pytest.param(load(1_000, overloaded=True), 1_000, 1, id="not allowed"),
        pytest.param(load(1_000, overloaded=True), 1_000, 0, id="off"),
    ],
)  # fmt: skip
def test_it_stays(one: IngesterLoad, idle: int, size_max: int) -> None:
    pool = Pool(size_max=size_max)
    pool.idle = idle
    assert pool.look(one, for_ms=20 * POOL_GROW_AFTER_MS) == 1


def test_a_moment_of_rest_begins_anew() -> None:
    pool = Pool()
    for _ in range(5):
        pool.look(load(1_000), for_ms=POOL_GROW_AFTER_MS - LOOK_MS)
        pool.look(load(0))
    assert pool.pool.size == 1


def test_it_shrinks_by_one_when_all_would_fit_in_one_less_for_long() -> None:
    pool = Pool(found=3)
    quiet = load(2 * POOL_SHRINK_BUSY_MAX // 3)
    assert pool.look(quiet, quiet, quiet, for_ms=POOL_SHRINK_AFTER_MS - LOOK_MS) == 3
    assert pool.look(quiet, quiet, quiet) == 2


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(load(POOL_SHRINK_BUSY_MAX + 1), id="it would not fit"),
        pytest.param(load(0, overloaded=True), id="one refuses chunks"),
        pytest.param(load(0, in_flight=HALF + 1), id="one is more than half full"),
    ],
)
def test_it_does_not_shrink(second: IngesterLoad) -> None:
    assert Pool(found=2).look(load(0), second, for_ms=10 * POOL_SHRINK_AFTER_MS) == 2


def test_it_keeps_to_its_bounds() -> None:
    idle = load(0)
    assert Pool(size_min=2).look(idle, idle, for_ms=10 * POOL_SHRINK_AFTER_MS) == 2
    assert Pool(size_min=5, size_max=2).pool.size == 5, "a maximum that is less is the minimum"
    assert Pool(found=9, size_max=3).pool.size == 3
    assert Pool(found=2, size_max=3).pool.size == 2, "who is found stays"
