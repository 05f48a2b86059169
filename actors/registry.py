"""The registry: looks at the ring, and sees to it that every core has its scheduler, or several.

A reconcile loop and nothing else.  How many ingesters and schedulers there should be, and which
lanes move between these, is decided from what they tell of themselves (`actors.elastic`).  What it
needs to know it reads from the store and from Ray's list of actors, so that it may be restarted at
any moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, assert_never

import structlog

from actors.elastic import Bounds, Elastic, HandOver
from actors.names import (
    ActorKey,
    IngesterKey,
    LimiterKey,
    ReceiverKey,
    SchedulerKey,
    actor_name,
    parse_name,
)
from actors.reconcile import Backoff, Create, End, Incarnation, Kill, decide_reconcile
from actors.troubles import Troubles
from pipeline.limits import ACTOR_HEALTH_TIMEOUT_MS, DRAIN_TIMEOUT_MS
from pipeline.ports import Clock, TopologySource

log = structlog.get_logger(__name__)

_ROUND_S: Final = 0.5
_MS_PER_S: Final = 1_000


class ActorWorld(Protocol):
    """Ray, as the registry needs it."""

    async def list_names(self) -> Sequence[str]:
        """Return the names of the living actors of the platform."""
        ...

    async def create(self, key: ActorKey, *, name: str, owner: bytes) -> None:
        """Start an actor; it may take a while to answer."""
        ...

    async def ask_health(self, name: str) -> Any:  # noqa: ANN401 -- a scheduler's or an ingester's
        """Return the actor's report; raises what it raises, or that it is gone."""
        ...

    async def hand_over(self, name: str, lanes: Sequence[str], *, heir: str) -> None:
        """Let a scheduler begin to give lanes to another one of its core, both by name."""
        ...

    async def drain(self, name: str) -> None:
        """Ask an actor to finish what it has begun: a scheduler releases its lanes then."""
        ...

    async def kill(self, name: str) -> None:
        """End an actor at once.  One that is gone already is no error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPorts:
    """What the registry holds of the world."""

    topology: TopologySource
    world: ActorWorld
    clock: Clock
    chance: Callable[[int], bytes]
    close: Callable[[], Awaitable[None]]
    warnings: Callable[[], Sequence[str]] = tuple  # what somebody should look at


class ShardRegistry:
    """One for a platform."""

    def __init__(
        self,
        *,
        bounds: Bounds,
        platform_id: bytes,
        open_ports: Callable[[], Awaitable[RegistryPorts]],
        has_limiter: bool = False,
        has_receiver: bool = False,
    ) -> None:
        self._elastic = Elastic(bounds)
        self._has_limiter = has_limiter
        self._has_receiver = has_receiver
        self._platform_id = platform_id
        self._open_ports = open_ports
        self._lifecycle = asyncio.Lock()
        self._ports: RegistryPorts | None = None
        self._loop: asyncio.Task[None] | None = None
        self._is_over = False
        self._wanted: frozenset[ActorKey] = frozenset()
        self._actual: dict[str, Incarnation] = {}
        self._backoffs: dict[ActorKey, Backoff] = {}
        self._reports: dict[str, Any] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._moving: set[asyncio.Task[None]] = set()
        self._troubles = Troubles()

    async def start(self) -> None:
        """Begin the loop.  A second start does nothing, nor does one after the end."""
        async with self._lifecycle:
            if self._loop is None and not self._is_over:
                self._ports = await self._open_ports()
                self._loop = asyncio.get_running_loop().create_task(self._run(self._ports))

    async def status(self) -> Mapping[str, Any]:
        """Return what should run, what does, and the newest report of each."""
        await self.start()
        running = {
            str(actor.key): actor.name
            for actor in self._actual.values()
            if actor.is_running and not actor.is_ending
        }
        return {
            "wanted": sorted(map(str, self._wanted)),
            "running": running,
            "is_complete": bool(self._wanted)
            and running.keys() >= {str(key) for key in self._wanted},
            "reports": {name: self._reports.get(name) for name in running.values()},
            "troubles": self._troubles.tell(
                self._wanted, [self._reports.get(name) for name in running.values()]
            ),
            "warnings": self._warnings([self._reports.get(name) for name in running.values()]),
        }

    def _warnings(self, reports: Sequence[Mapping[str, Any] | None]) -> list[str]:
        """Return what this process and the others say of the store, each line once."""
        lines = set() if self._ports is None else set(self._ports.warnings())
        for report in reports:
            lines.update((report or {}).get("warnings", ()))
        return sorted(lines)

    async def drain(self) -> None:
        """Stop the loop, then every actor: the doors first, then the lanes, then who serves them.

        Nothing begins again, whoever asks for the status meanwhile or afterwards.
        """
        async with self._lifecycle:
            self._is_over = True
            ports, loop = self._ports, self._loop
            if ports is None or loop is None:
                return
            self._ports = self._loop = None
            loop.cancel()
            for task in (*self._moving, *self._ending.values()):
                task.cancel()
            await asyncio.gather(
                loop,
                *self._asking.values(),
                *self._moving,
                *self._ending.values(),
                return_exceptions=True,
            )
            names = [
                (name, parsed[0])
                for name in await ports.world.list_names()
                if (parsed := parse_name(name))
            ]
            for kind in (IngesterKey, ReceiverKey, SchedulerKey, LimiterKey):
                await asyncio.gather(
                    *(self._end(ports, name) for name, key in names if isinstance(key, kind))
                )
            await ports.close()

    async def _end(self, ports: RegistryPorts, name: str) -> None:
        try:
            await asyncio.wait_for(ports.world.drain(name), DRAIN_TIMEOUT_MS / _MS_PER_S)
        except Exception as error:
            # Any class, as the actor's own errors come over Ray: the others are still drained.  Its
            # lanes are taken over by whoever comes next; what it had claimed is uncertain.
            log.warning("drain_failed", actor=name, error=str(error))
        await ports.world.kill(name)

    async def _run(self, ports: RegistryPorts) -> None:
        while True:
            try:
                await self._reconcile(ports)
            except Exception as error:
                # Any class, of the store or of Ray: nobody else keeps the platform running, and
                # whatever this round could not do, the next one tries again.
                log.warning("round_failed", error=str(error))
            await asyncio.sleep(_ROUND_S)

    async def _reconcile(self, ports: RegistryPorts) -> None:
        generations = await ports.topology.read_generations()
        await self._observe(ports)
        cores = [
            core
            for generation in generations
            for core in generation.cores
            if not generation.owns_nothing(core)
        ]
        self._wanted = frozenset(
            [
                *self._elastic.wanted(cores, self._actual.values()),
                *([LimiterKey()] if self._has_limiter else []),
                *([ReceiverKey()] if self._has_receiver else []),
            ]
        )
        now = ports.clock.now()
        for step in decide_reconcile(
            wanted=self._wanted,
            actual=list(self._actual.values()),
            backoffs=self._backoffs,
            now=now,
        ):
            match step:
                case Create(key):
                    owner = self._platform_id + ports.chance(16 - len(self._platform_id))
                    name = actor_name(key, owner)
                    log.info("actor_created", actor=name)
                    self._backoffs.setdefault(key, Backoff()).on_created(now)
                    self._actual[name] = Incarnation(key=key, name=name, first_seen=now)
                    await ports.world.create(key, name=name, owner=owner)
                case Kill(name, reason):
                    log.warning("actor_killed", actor=name, reason=reason)
                    self._troubles.on_failed(self._actual[name].key, reason)
                    await ports.world.kill(name)
                    self._forget(name)
                case End(name, reason):
                    if name not in self._ending:
                        log.info("actor_ended", actor=name, reason=reason)
                        self._actual[name].is_ending = True
                        ending = self._begin(self._end(ports, name))
                        self._ending[name] = ending
                        ending.add_done_callback(partial(self._on_ended, name))
                case other:
                    assert_never(other)
        for move in self._elastic.decide(self._actual.values(), self._reports, now=now):
            log.info("lanes_move", source=move.source, heir=move.heir, lanes=list(move.lanes))
            moving = self._begin(self._move(ports, move))
            self._moving.add(moving)
            moving.add_done_callback(self._moving.discard)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    def _on_ended(self, name: str, _: asyncio.Task[None]) -> None:
        self._ending.pop(name, None)

    async def _move(self, ports: RegistryPorts, move: HandOver) -> None:
        try:
            async with asyncio.timeout(ACTOR_HEALTH_TIMEOUT_MS / _MS_PER_S):
                await ports.world.hand_over(move.source, move.lanes, heir=move.heir)
        except Exception as error:
            # The lanes are somebody's, as ever; who owns what is looked at again.
            log.warning("move_failed", source=move.source, error=str(error))

    async def _observe(self, ports: RegistryPorts) -> None:
        now = ports.clock.now()
        alive = set(await ports.world.list_names())
        for name in alive - self._actual.keys():
            if parsed := parse_name(name):
                self._actual[name] = Incarnation(key=parsed[0], name=name, first_seen=now)
        for name in self._actual.keys() - alive:
            log.warning("actor_gone", actor=name)
            self._troubles.on_gone(self._actual[name].key)
            self._forget(name)
        for name, actor in self._actual.items():
            if name not in self._asking:
                self._asking[name] = asyncio.get_running_loop().create_task(self._ask(ports, actor))

    async def _ask(self, ports: RegistryPorts, actor: Incarnation) -> None:
        timeout_s = ACTOR_HEALTH_TIMEOUT_MS / _MS_PER_S
        try:
            report = await asyncio.wait_for(ports.world.ask_health(actor.name), timeout_s)
        except TimeoutError:
            # One that has not answered yet has until its start times out.
            actor.strikes += actor.is_running
        except Exception as error:
            # Any class: a health check raises whatever killed the actor's loop.
            actor.failure = str(error) or type(error).__name__
        else:
            actor.strikes = 0
            actor.is_running = True
            self._reports[actor.name] = report
            self._troubles.on_running(actor.key)
            actor.is_ending = actor.is_ending or report.get("is_ending", False)
            actor.lanes_count = sum(lane["is_owned"] for lane in report.get("lanes", ()))
            if (backoff := self._backoffs.get(actor.key)) is not None:
                backoff.on_running()
        finally:
            self._asking.pop(actor.name, None)

    def _forget(self, name: str) -> None:
        self._actual.pop(name, None)
        self._reports.pop(name, None)
        task = self._asking.get(name)
        if task is not None:
            task.cancel()
