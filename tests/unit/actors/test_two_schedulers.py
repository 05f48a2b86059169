"""Two schedulers of one core, one of them deaf for a while: nothing is sent twice or lost."""

from pathlib import Path

import pytest

from tests.support.faulty_store import FaultyStore
from tests.support.lane_actors import WINDOWS, CountingConnector, LaneActors
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000
D_MS = WINDOWS.steal_after_ms
F = WINDOWS.claims_open_max


async def stall(store: FaultyStore, duration_ms: int) -> None:
    """Let a process stand still: whatever it asks the store for waits."""
    store.pause()
    await pass_time(duration_ms)


@in_virtual_time
async def test_a_scheduler_that_stood_still_sends_nothing_that_its_successor_sends(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        paused, store = await world.stores.open(), await world.stores.open()
        first = world.scheduler(
            paused, name="first", connector=CountingConnector(world.log, takes_ms=30)
        )
        second = world.scheduler(store, name="second")
        # Before the start: else whether its first look sees the lane is a matter of luck.
        await world.accept(20 * F)
        await first.start()
        await pass_time(120)
        assert 0 < len(world.log) < 20 * F
        await second.start()
        await stall(paused, D_MS + 2 * A_SECOND)
        assert await world.epoch() == 2
        paused.resume()
        await pass_time(D_MS)
        assert set(world.log.values()) == {1}
        states = await world.states()
        assert states["sent"] + states["uncertain"] == 20 * F
        assert states["uncertain"] <= F
        assert len(world.log) >= states["sent"]
        await first.check_health()
        await second.check_health()


@in_virtual_time
async def test_whoever_was_deposed_waits_for_the_lane_like_anybody(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        paused, store = await world.stores.open(), await world.stores.open()
        first, second = (
            world.scheduler(paused, name="first"),
            world.scheduler(store, name="second"),
        )
        await world.accept(1)
        await first.start()
        await pass_time(A_SECOND)
        await second.start()
        await stall(paused, D_MS + A_SECOND)
        paused.resume()
        await world.accept(3)
        await pass_time(D_MS)
        assert await world.epoch() == 2
        await second.drain()
        await pass_time(2 * A_SECOND)
        assert await world.epoch() == 3
        await world.accept(3)
        await pass_time(2 * A_SECOND)
        assert set(world.log.values()) == {1}
        assert await world.states() == {"sent": 7}


@pytest.mark.parametrize("seed", range(4))
@in_virtual_time
async def test_two_that_stand_still_by_turns_send_nothing_twice_and_lose_nothing(
    tmp_path: Path, seed: int
) -> None:
    async with LaneActors.on(tmp_path) as world:
        stores = [await world.stores.open() for _ in range(2)]
        for number, store in enumerate(stores):
            connector = CountingConnector(world.log, takes_ms=5 + 40 * (seed % 2))
            scheduler = world.scheduler(store, name=f"s{number}", connector=connector)
            await scheduler.start()
        takeovers = 0
        for turn in range(4):
            await world.accept(5 * F)
            await pass_time(200 + 150 * seed)
            before = await world.epoch() or 0
            await stall(stores[(turn + seed) % 2], D_MS + 2 * A_SECOND)
            stores[(turn + seed) % 2].resume()
            takeovers += (await world.epoch() or 0) - max(before, 1)
        await pass_time(2 * D_MS)
        assert set(world.log.values()) == {1}
        states = await world.states()
        assert states["sent"] + states["uncertain"] == 20 * F
        assert states["uncertain"] <= F * takeovers
        assert takeovers >= 1
