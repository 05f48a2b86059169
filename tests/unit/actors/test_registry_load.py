"""The registry runs as many processes as the load needs."""

from actors.names import (
    ActorKey,
    IngesterKey,
    SchedulerKey,
)
from cluster.topology.generation import Core
from pipeline.limits import (
    DRAIN_TIMEOUT_MS,
    MERGE_AFTER_MS,
    SPLIT_AFTER_MS,
)
from tests.support.ray_world import A_SCHEDULER, CORES, PLACES, ROUND_MS, Actor, World, running
from tests.support.virtual_time import in_virtual_time, pass_time

SECOND = SchedulerKey(CORES[0], 1)
LANES = {"a": 60, "b": 40}
LONG_MS = 60_000


def elastic_world() -> World:
    world = World()
    world.ingesters_max = 4
    world.schedulers_per_core_max = 4
    return world


def the(world: World, key: ActorKey) -> Actor:
    (name,) = world.serving(key)
    return world.living[name]


async def load_one_core(world: World) -> tuple[str, str]:
    """Let one scheduler be busier than it can, until the core has two; return their names."""
    first = the(world, A_SCHEDULER)
    first.busy, first.lanes = 1_000, dict(LANES)
    await pass_time(SPLIT_AFTER_MS + 8 * ROUND_MS)
    (one,), (other,) = world.serving(A_SCHEDULER), world.serving(SECOND)
    return one, other


async def be_quiet(world: World) -> None:
    """Let nobody have much to do, for so long that what is not needed goes."""
    for actor in world.living.values():
        actor.busy = 10
    await pass_time(MERGE_AFTER_MS + 10 * ROUND_MS)


@in_virtual_time
async def test_a_core_with_too_much_to_do_gets_another_scheduler_and_lanes_move_there() -> None:
    world = elastic_world()
    async with running(world) as registry:
        one, other = await load_one_core(world)
        assert world.moved == [(one, ("b",), other)]
        assert set(world.places()) == PLACES | {SECOND}
        assert (await registry.status())["is_complete"]
        await be_quiet(world)
        assert world.moved[1:] == [(other, ("b",), one)]
        assert world.drained == [other]
        assert world.killed == [other]
        assert set(world.places()) == PLACES
        assert the(world, A_SCHEDULER).lanes == LANES
        await pass_time(LONG_MS)
        assert set(world.places()) == PLACES


@in_virtual_time
async def test_a_scheduler_with_lanes_is_not_ended_though_they_do_not_move() -> None:
    world = elastic_world()
    async with running(world):
        _, other = await load_one_core(world)
        world.hand_over_error = ConnectionError("away")
        await be_quiet(world)
        await pass_time(LONG_MS)
        assert len(world.moved) > 10, "it is tried again"
        assert world.drained == []
        world.hand_over_error = None
        await pass_time(10 * ROUND_MS)
        assert world.drained == [other]


@in_virtual_time
async def test_a_second_scheduler_that_dies_is_replaced_as_any() -> None:
    world = elastic_world()
    async with running(world):
        _, other = await load_one_core(world)
        await world.kill(other)
        await pass_time(4 * ROUND_MS)
        (successor,) = world.serving(SECOND)
        assert successor != other


@in_virtual_time
async def test_a_registry_that_was_restarted_goes_on_with_whom_it_finds() -> None:
    world = elastic_world()
    for number, key in enumerate([*PLACES, SECOND, IngesterKey(2)], start=100):
        world.add(key, number)
    the(world, A_SCHEDULER).lanes, the(world, SECOND).lanes = {"a": 1}, {"b": 1}
    async with running(world):
        assert world.created == world.killed == world.drained == []
        assert world.moved == []
        assert set(world.places()) == PLACES | {SECOND, IngesterKey(2)}
        await be_quiet(world)
        assert set(world.places()) == PLACES
        assert the(world, A_SCHEDULER).lanes == {"a": 1, "b": 1}
        assert sorted(name.partition("|")[0] for name in world.drained) == ["ingester", "scheduler"]


@in_virtual_time
async def test_one_that_was_ending_when_the_registry_was_restarted_is_ended() -> None:
    world = elastic_world()
    for number, key in enumerate(PLACES, start=100):
        world.add(key, number)
    ending = world.add(IngesterKey(5), 999)
    ending.is_ending = True
    async with running(world):
        await pass_time(10 * ROUND_MS)
        assert not world.serving(IngesterKey(5))
        assert world.killed == world.drained != []


@in_virtual_time
async def test_one_that_ends_long_keeps_its_place_from_nobody() -> None:
    world = elastic_world()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].is_ending = True
        world.living[name].drains_ms = 10_000
        await pass_time(5 * ROUND_MS)
        assert len(world.serving(A_SCHEDULER)) == 2
        assert world.drained == [name]
        assert world.killed == []
        await pass_time(10_000)
        assert world.killed == world.drained == [name]


@in_virtual_time
async def test_who_cannot_end_is_killed_after_a_while() -> None:
    world = elastic_world()
    world.add(SchedulerKey(Core("gone", 0)), 1).drains_ms = 10 * DRAIN_TIMEOUT_MS
    async with running(world):
        await pass_time(DRAIN_TIMEOUT_MS - 2 * ROUND_MS)
        assert world.killed == []
        await pass_time(4 * ROUND_MS)
        assert world.killed == world.drained
        assert set(world.places()) == PLACES


@in_virtual_time
async def test_the_pool_grows_with_its_load_and_shrinks_again() -> None:
    world = elastic_world()
    async with running(world) as registry:
        for _ in range(100):
            for actor in world.living.values():
                actor.busy = 900 if isinstance(actor.key, IngesterKey) else 0
            await pass_time(ROUND_MS)
        ingesters = [key for key in world.places() if isinstance(key, IngesterKey)]
        assert ingesters == [IngesterKey(n) for n in range(world.ingesters_max)]
        assert (await registry.status())["is_complete"]
        for _ in range(10):
            await be_quiet(world)
        assert set(world.places()) == PLACES
        assert {name.partition("|")[0] for name in world.drained} == {"ingester"}
        assert world.drained == world.killed


@in_virtual_time
async def test_what_is_off_stays_off() -> None:
    world = World()
    async with running(world):
        for actor in world.living.values():
            actor.busy, actor.lanes = 1_000, dict(LANES)
        await pass_time(LONG_MS)
        assert set(world.places()) == PLACES
        assert world.moved == []
