"""The registry sees to it that every place is served, whatever it finds."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.elastic import Bounds
from actors.names import (
    ActorKey,
    IngesterKey,
    LimiterKey,
    ReceiverKey,
    SchedulerKey,
    actor_name,
    parse_name,
)
from actors.registry import RegistryPorts, ShardRegistry
from cluster.topology.generation import Core, Generation
from pipeline.errors import StoreUnavailable
from pipeline.limits import (
    ACTOR_HEALTH_STRIKES_MAX,
    ACTOR_HEALTH_TIMEOUT_MS,
    ACTOR_START_BACKOFF_MS_MAX,
    ACTOR_START_TIMEOUT_MS,
    DRAIN_TIMEOUT_MS,
    MERGE_AFTER_MS,
    SPLIT_AFTER_MS,
)
from tests.support.topologies import make_generation
from tests.support.virtual_time import LoopClock, in_virtual_time, loop_now, pass_time

PLATFORM = b"today-"
ROUND_MS = 500
CORES = make_generation().cores
PLACES: set[ActorKey] = {*(SchedulerKey(core) for core in CORES), IngesterKey(0), IngesterKey(1)}


class Actor:
    """One that answers, unless it is told otherwise."""

    def __init__(self, key: ActorKey) -> None:
        self.key = key
        self.error: Exception | None = None
        self.is_mute = False
        self.asked_count = 0
        self.drains_ms = 0
        self.busy = 0
        self.lanes: dict[str, int] = {}  # that it owns -> handed over lately
        self.messages_in_flight = 0
        self.is_ending = False

    async def check_health(self) -> dict[str, Any]:
        self.asked_count += 1
        if self.is_mute:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return {
            "who": str(self.key),
            "is_ending": self.is_ending,
            "busy": self.busy,
            "idle": 1_000,
            "messages_in_flight": self.messages_in_flight,
            "overloaded_lately": 0,
            "lanes": [
                {"lane": lane, "is_owned": True, "handed_over_lately": work}
                for lane, work in self.lanes.items()
            ],
        }


class World:
    """Ray as the registry needs it, and the ring."""

    def __init__(self) -> None:
        self.living: dict[str, Actor] = {}
        self.created: list[str] = []
        self.killed: list[str] = []
        self.drained: list[str] = []
        self.generations: list[Generation] = [make_generation()]
        self.new_are_mute = False
        self.new_die = False
        self.create_error: Exception | None = None
        self.topology_error: Exception | None = None
        self.drain_error: Exception | None = None
        self.closed_count = 0
        self.opened_count = 0
        self.ingesters_max = 2
        self.schedulers_per_core_max = 0
        self.moved: list[tuple[str, tuple[str, ...], str]] = []
        self.hand_over_error: Exception | None = None
        self._chances = 0

    # --- ActorWorld and TopologySource ---

    async def list_names(self) -> Sequence[str]:
        return [*self.living, "registry", "someone else's"]

    async def create(self, key: ActorKey, *, name: str, owner: bytes) -> None:
        assert parse_name(name) == (key, owner)
        assert owner.startswith(PLATFORM)
        assert name not in self.created, "a name is unique to an incarnation"
        self.created.append(name)
        if self.create_error is not None:
            raise self.create_error
        if not self.new_die:
            self.living[name] = Actor(key)
            self.living[name].is_mute = self.new_are_mute

    async def ask_health(self, name: str) -> Any:
        return await self.living[name].check_health()

    async def hand_over(self, name: str, lanes: Sequence[str], *, heir: str) -> None:
        self.moved.append((name, tuple(lanes), heir))
        if self.hand_over_error is not None:
            raise self.hand_over_error
        for lane in lanes:
            self.living[heir].lanes[lane] = self.living[name].lanes.pop(lane)

    async def drain(self, name: str) -> None:
        self.drained.append(name)
        self.living[name].is_ending = True
        if self.drain_error is not None:
            raise self.drain_error
        await asyncio.sleep(self.living[name].drains_ms / 1_000)

    async def kill(self, name: str) -> None:
        self.killed.append(name)
        self.living.pop(name, None)

    async def read_generations(self) -> list[Generation]:
        if self.topology_error is not None:
            raise self.topology_error
        return self.generations

    # --- what tests do ---

    def chance(self, count: int) -> bytes:
        self._chances += 1
        return self._chances.to_bytes(count)

    async def open_ports(self) -> RegistryPorts:
        self.opened_count += 1
        return RegistryPorts(
            topology=self,
            world=self,
            clock=LoopClock(loop_now()),
            chance=self.chance,
            close=self.close,
        )

    async def close(self) -> None:
        self.closed_count += 1

    def registry(self, *, has_limiter: bool = False, has_receiver: bool = False) -> ShardRegistry:
        return ShardRegistry(
            bounds=Bounds(
                ingesters_min=2,
                ingesters_max=self.ingesters_max,
                schedulers_per_core_max=self.schedulers_per_core_max,
            ),
            platform_id=PLATFORM,
            open_ports=self.open_ports,
            has_limiter=has_limiter,
            has_receiver=has_receiver,
        )

    def add(self, key: ActorKey, number: int) -> Actor:
        name = actor_name(key, PLATFORM + number.to_bytes(10))
        self.living[name] = Actor(key)
        return self.living[name]

    def serving(self, key: ActorKey) -> list[str]:
        return [name for name, actor in self.living.items() if actor.key == key]

    def places(self) -> list[ActorKey]:
        return sorted((actor.key for actor in self.living.values()), key=str)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[ShardRegistry]:
    registry = world.registry()
    await registry.start()
    await pass_time(2 * ROUND_MS)
    yield registry
    await registry.drain()


A_SCHEDULER = SchedulerKey(CORES[0])


@in_virtual_time
async def test_every_place_is_filled_once() -> None:
    world = World()
    async with running(world) as registry:
        assert set(world.places()) == PLACES
        assert len(world.places()) == len(PLACES)
        status = await registry.status()
        assert status["is_complete"]
        assert set(status["wanted"]) == set(status["running"]) == {str(key) for key in PLACES}
        assert status["reports"][world.serving(A_SCHEDULER)[0]]["who"] == str(A_SCHEDULER)
        await pass_time(60_000)
        assert len(world.created) == len(PLACES)
        assert world.killed == []


@in_virtual_time
async def test_it_is_not_complete_before_everybody_has_answered() -> None:
    world = World()
    world.new_are_mute = True
    async with running(world) as registry:
        status = await registry.status()
        assert not status["is_complete"]
        assert status["running"] == {}


@in_virtual_time
async def test_a_registry_that_was_restarted_adopts_who_survived() -> None:
    world = World()
    survivors = [world.add(key, number) for number, key in enumerate(PLACES, start=100)]
    async with running(world) as registry:
        assert world.created == world.killed == []
        assert (await registry.status())["is_complete"]
        assert all(actor.asked_count for actor in survivors)


@in_virtual_time
async def test_who_died_is_replaced_under_another_name() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        del world.living[name]
        await pass_time(2 * ROUND_MS)
        (successor,) = world.serving(A_SCHEDULER)
        assert successor != name
        assert len(world.created) == len(PLACES) + 1


@in_virtual_time
async def test_who_says_that_it_failed_is_killed_and_replaced() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].error = KeyError("a lane")
        await pass_time(3 * ROUND_MS)
        assert world.killed == [name]
        assert len(world.serving(A_SCHEDULER)) == 1


@in_virtual_time
async def test_who_does_not_answer_three_times_is_killed_and_replaced() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].is_mute = True
        await pass_time((ACTOR_HEALTH_STRIKES_MAX - 1) * (ACTOR_HEALTH_TIMEOUT_MS + ROUND_MS))
        assert world.killed == []
        await pass_time(2 * (ACTOR_HEALTH_TIMEOUT_MS + ROUND_MS))
        assert world.killed == [name]
        assert len(world.serving(A_SCHEDULER)) == 1


@in_virtual_time
async def test_who_answers_in_between_begins_anew() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        for _ in range(3):
            world.living[name].is_mute = True
            await pass_time((ACTOR_HEALTH_STRIKES_MAX - 1) * (ACTOR_HEALTH_TIMEOUT_MS + ROUND_MS))
            world.living[name].is_mute = False
            await pass_time(ACTOR_HEALTH_TIMEOUT_MS + 2 * ROUND_MS)
        assert world.killed == []


@in_virtual_time
async def test_one_that_is_mute_keeps_nobody_else_waiting() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].is_mute = True
        (other,) = world.serving(IngesterKey(0))
        del world.living[other]
        await pass_time(3 * ROUND_MS)
        assert len(world.serving(IngesterKey(0))) == 1


@in_virtual_time
async def test_who_never_starts_is_given_up() -> None:
    world = World()
    world.new_are_mute = True
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        await pass_time(ACTOR_START_TIMEOUT_MS - 2 * ROUND_MS)
        assert world.killed == []
        await pass_time(4 * ROUND_MS)
        assert name in world.killed


@in_virtual_time
async def test_who_says_that_it_could_not_start_is_replaced() -> None:
    world = World()
    world.add(A_SCHEDULER, 999).error = StoreUnavailable("away")
    async with running(world):
        assert len(world.killed) == 1
        assert len(world.serving(A_SCHEDULER)) == 1


@in_virtual_time
async def test_of_two_at_one_place_one_is_killed() -> None:
    world = World()
    world.add(A_SCHEDULER, 1)
    world.add(A_SCHEDULER, 2)
    async with running(world):
        assert len(world.serving(A_SCHEDULER)) == 1
        assert len(world.killed) == 1


@in_virtual_time
async def test_a_double_that_comes_later_goes() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.add(A_SCHEDULER, 999)
        await pass_time(2 * ROUND_MS)
        assert world.serving(A_SCHEDULER) == [name]


@in_virtual_time
async def test_who_serves_a_core_that_is_gone_is_ended() -> None:
    world = World()
    world.add(SchedulerKey(Core("gone", 0)), 1)
    async with running(world):
        assert set(world.places()) == PLACES


@in_virtual_time
async def test_a_place_that_keeps_dying_is_tried_ever_more_rarely() -> None:
    world = World()
    world.new_die = True
    async with running(world):
        await pass_time(10_000)
        early = len(world.created)
        assert early >= 5 * len(PLACES)
        await pass_time(20 * ACTOR_START_BACKOFF_MS_MAX)
        late = len(world.created) - early
        assert late <= 26 * len(PLACES)
        world.new_die = False
        await pass_time(ACTOR_START_BACKOFF_MS_MAX + 2 * ROUND_MS)
        assert set(world.places()) == PLACES


@pytest.mark.parametrize("what", ["the ring cannot be read", "Ray creates nothing"])
@in_virtual_time
async def test_what_a_round_could_not_do_the_next_one_does(what: str) -> None:
    world = World()
    if what.startswith("the ring"):
        world.topology_error = StoreUnavailable("away")
    else:
        world.create_error = ConnectionError("away")
    async with running(world):
        assert world.places() == []
        world.topology_error = world.create_error = None
        await pass_time(30 * ROUND_MS)
        assert set(world.places()) == PLACES


@in_virtual_time
async def test_a_new_generation_is_served_as_soon_as_it_is_seen() -> None:
    world = World()
    async with running(world):
        world.generations = [make_generation(), make_generation(number=2, shard_count=3)]
        await pass_time(2 * ROUND_MS)
        assert len(world.places()) == 2 * 3 + 2


# --- as many as the load needs --------------------------------------------------------------------

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


# --- the end --------------------------------------------------------------------------------------


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
