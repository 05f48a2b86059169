"""Ray as the registry needs it, with actors that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from actors.elastic import Bounds
from actors.names import (
    ActorKey,
    IngesterKey,
    SchedulerKey,
    actor_name,
    parse_name,
)
from actors.registry import RegistryPorts, ShardRegistry
from cluster.topology.generation import Generation
from tests.support.topologies import make_generation
from tests.support.virtual_time import LoopClock, loop_now, pass_time

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
        self.set_aside: dict[str, str] = {}
        self.warnings: list[str] = []
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
            "lanes_set_aside": self.set_aside,
            "warnings": self.warnings,
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
