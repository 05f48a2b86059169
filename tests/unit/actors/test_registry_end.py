"""The registry ends everybody in order, and begins nothing again."""

import asyncio

from actors.names import (
    LimiterKey,
    ReceiverKey,
)
from actors.registry import ShardRegistry
from pipeline.limits import (
    DRAIN_TIMEOUT_MS,
)
from tests.support.ray_world import A_SCHEDULER, CORES, PLACES, ROUND_MS, World, running
from tests.support.virtual_time import in_virtual_time, loop_now, pass_time


@in_virtual_time
async def test_the_doors_are_closed_before_the_lanes() -> None:
    world = World()
    async with running(world):
        for actor in world.living.values():
            actor.drains_ms = 100
    kinds = [name.partition("|")[0] for name in world.drained]
    assert kinds == ["ingester"] * 2 + ["scheduler"] * len(CORES)
    assert sorted(world.killed) == sorted(world.created)
    assert world.closed_count == 1


@in_virtual_time
async def test_who_cannot_be_drained_is_killed_all_the_same() -> None:
    world = World()
    async with running(world):
        world.drain_error = ConnectionError("it died")
    assert sorted(world.killed) == sorted(world.created)
    assert world.closed_count == 1


@in_virtual_time
async def test_the_end_does_not_wait_for_ever_for_one_that_cannot_finish() -> None:
    world = World()
    async with running(world):
        world.living[world.serving(A_SCHEDULER)[0]].drains_ms = 10 * DRAIN_TIMEOUT_MS
    assert sorted(world.killed) == sorted(world.created)
    assert loop_now().time() * 1_000 <= DRAIN_TIMEOUT_MS + 10_000


@in_virtual_time
async def test_after_the_end_nothing_begins_again() -> None:
    world = World()
    async with running(world) as registry:
        pass
    created = len(world.created)
    await registry.status()
    await pass_time(10 * ROUND_MS)
    assert len(world.created) == created
    assert world.opened_count == 1


@in_virtual_time
async def test_whoever_asks_during_the_end_starts_nothing() -> None:
    world = World()
    async with running(world) as registry:
        for actor in world.living.values():
            actor.drains_ms = 1_000
        asking = asyncio.get_running_loop().create_task(_ask_later(registry))
    await asking
    created = len(world.created)
    await pass_time(10 * ROUND_MS)
    assert len(world.created) == created == len(PLACES)


async def _ask_later(registry: ShardRegistry) -> None:
    await pass_time(100)
    await registry.status()


@in_virtual_time
async def test_starting_twice_is_starting_once() -> None:
    world = World()
    registry = world.registry()
    await asyncio.gather(registry.start(), registry.start(), registry.status())
    await pass_time(2 * ROUND_MS)
    assert world.opened_count == 1
    assert len(world.created) == len(PLACES)
    await asyncio.gather(registry.drain(), registry.drain())
    assert world.closed_count == 1


@in_virtual_time
async def test_an_end_before_the_start_kills_nobody() -> None:
    world = World()
    world.add(A_SCHEDULER, 1)
    await world.registry().drain()
    assert world.killed == []


@in_virtual_time
async def test_a_platform_with_a_limit_has_one_limiter_that_stops_last() -> None:
    world = World()
    registry = world.registry(has_limiter=True)
    await registry.start()
    await pass_time(2 * ROUND_MS)
    assert set(world.places()) == PLACES | {LimiterKey()}
    (limiter,) = world.serving(LimiterKey())
    await world.kill(limiter)
    await pass_time(10 * ROUND_MS)
    (successor,) = world.serving(LimiterKey())
    assert successor != limiter
    await registry.drain()
    assert world.drained[-1] == successor
    assert not world.living


@in_virtual_time
async def test_a_platform_with_receipts_has_one_receiver_that_stops_before_the_lanes() -> None:
    world = World()
    registry = world.registry(has_receiver=True)
    await registry.start()
    await pass_time(2 * ROUND_MS)
    assert set(world.places()) == PLACES | {ReceiverKey()}
    (receiver,) = world.serving(ReceiverKey())
    await world.kill(receiver)
    await pass_time(10 * ROUND_MS)
    (successor,) = world.serving(ReceiverKey())
    assert successor != receiver
    await registry.drain()
    lanes = [name for name in world.drained if name.startswith("scheduler")]
    assert world.drained.index(successor) < min(map(world.drained.index, lanes))
    assert not world.living
