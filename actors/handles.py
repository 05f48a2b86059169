"""The only place where classes become Ray actors and calls go over Ray, behind typed handles.

Schedulers and ingesters are never restarted by Ray: the registry replaces them, under another
name, so that a process is never taken for the one before it.  No call is retried by Ray.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import ray
import structlog
from ray.actor import ActorHandle
from ray.util import list_named_actors

from actors.config import MACHINE_LABEL, NAMESPACE, PlatformConfig
from actors.doorbells import Bell
from actors.elastic import Bounds
from actors.ingester import Ingester
from actors.limiter import Limiter
from actors.names import (
    REGISTRY,
    ActorKey,
    IngesterKey,
    LimiterKey,
    ReceiverKey,
    SchedulerKey,
    parse_name,
)
from actors.open_ports import (
    open_ingester_ports,
    open_receiver_ports,
    open_registry_ports,
    open_scheduler_ports,
)
from actors.receiver import Receiver
from actors.registry import ShardRegistry
from actors.scheduler import Scheduler, SchedulerConfig
from actors.sender import IngesterGone
from cluster.runtime.clock import SystemClock
from cluster.runtime.logging import configure_logging
from cluster.runtime.routing import limit_book
from pipeline.errors import ShardpostError
from pipeline.ingest.doorbell import Heard

log = structlog.get_logger(__name__)

_DEATHS: Final = (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError)


def _at_birth(start: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin to start: Ray makes async actors on the loop that they run on.

    Why a start fails is told to whoever asks for the actor's health, which starts it again.
    """
    task = asyncio.get_running_loop().create_task(start)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


class SchedulerActor(Scheduler):
    """A scheduler as a process of its own."""

    def __init__(self, config: SchedulerConfig, platform: PlatformConfig) -> None:
        configure_logging(platform.settings.log_level, platform.settings.log_format)
        super().__init__(
            config,
            partial(
                open_scheduler_ports,
                platform,
                config.core,
                part=config.part,
                find_limiter=find_limiter,
                find_bell=find_bell,
            ),
        )
        self._birth = _at_birth(self.start())

    def __repr__(self) -> str:
        place = SchedulerKey(self._config.core, self._config.part)
        return f"Scheduler({str(place).partition('|')[2]})"


class IngesterActor(Ingester):
    """An ingester as a process of its own."""

    def __init__(self, number: int, platform: PlatformConfig) -> None:
        configure_logging(platform.settings.log_level, platform.settings.log_format)
        self._number = number
        super().__init__(
            platform.settings.windows, partial(open_ingester_ports, platform, find_bell=find_bell)
        )
        self._birth = _at_birth(self.start())

    def __repr__(self) -> str:
        return f"Ingester({self._number})"


class LimiterActor(Limiter):
    """The limiter as a process of its own."""

    def __init__(self, platform: PlatformConfig) -> None:
        configure_logging(platform.settings.log_level, platform.settings.log_format)
        super().__init__(limit_book(platform.settings.connectors), SystemClock())
        self._birth = _at_birth(self.start())

    def __repr__(self) -> str:
        return "Limiter"


class ReceiverActor(Receiver):
    """The receiver as a process of its own."""

    def __init__(self, platform: PlatformConfig) -> None:
        configure_logging(platform.settings.log_level, platform.settings.log_format)
        super().__init__(partial(open_receiver_ports, platform))
        self._birth = _at_birth(self.start())

    def __repr__(self) -> str:
        return "Receiver"


class RegistryActor(ShardRegistry):
    """The registry as a process of its own."""

    def __init__(self, platform: PlatformConfig) -> None:
        configure_logging(platform.settings.log_level, platform.settings.log_format)
        super().__init__(
            bounds=Bounds(
                ingesters_min=platform.settings.ingesters,
                ingesters_max=platform.settings.ingesters_max,
                schedulers_per_core_max=platform.settings.schedulers_per_core_max,
            ),
            has_limiter=bool(limit_book(platform.settings.connectors).limits),
            has_receiver=platform.settings.has_receipts,
            platform_id=platform.platform_id,
            open_ports=partial(open_registry_ports, platform, RayActorWorld(platform)),
        )
        # Nobody calls a registry that Ray has restarted.
        self._birth = _at_birth(self.start())

    def __repr__(self) -> str:
        return "ShardRegistry"


_RemoteScheduler = ray.remote(SchedulerActor)
_RemoteIngester = ray.remote(IngesterActor)
_RemoteLimiter = ray.remote(LimiterActor)
_RemoteReceiver = ray.remote(ReceiverActor)
_RemoteRegistry = ray.remote(RegistryActor)


class ActorGone(Exception):
    """The actor died, or cannot be reached; the call may or may not have run."""


class ActorFails(Exception):
    """The actor lives and cannot do its work; the text is for whoever can change that."""


def _told(cause: BaseException) -> str:
    line = " ".join(str(cause).split())
    if isinstance(cause, ShardpostError) and line:
        return line
    return f"{type(cause).__name__}: {line}" if line else type(cause).__name__


async def _call(method: Any, *args: object) -> Any:  # noqa: ANN401 -- Ray's methods are untyped
    try:
        return await method.remote(*args)
    except _DEATHS as error:
        raise ActorGone(str(error).partition("\n")[0]) from error


class IngesterHandle:
    """One ingester of the pool."""

    def __init__(self, name: str, actor: ActorHandle[Any]) -> None:
        self.name = name
        self._actor = actor

    async def submit(self, chunk: bytes) -> bytes:
        """Return the encoded reply to an encoded chunk; raises `IngesterGone`."""
        try:
            return cast(bytes, await _call(self._actor.submit, chunk))
        except ActorGone as error:
            raise IngesterGone(f"{self.name}: {error}") from error


class SchedulerBell:
    """The doorbell of one scheduler."""

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self._actor = actor

    async def ring(self, doorbell: bytes) -> Heard:
        """Return which lanes lag, and which others work on; raises `ActorGone`."""
        return cast(Heard, await _call(self._actor.ring, doorbell))


class LimiterHandle:
    """The limiter, as a scheduler reaches it."""

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self._actor = actor

    async def ask(self, demand: bytes) -> bytes:
        """Return encoded grants to an encoded demand; raises `ActorGone`."""
        return cast(bytes, await _call(self._actor.ask, demand))


class RegistryHandle:
    """The registry of the platform that this process is connected to."""

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self._actor = actor

    async def status(self) -> Mapping[str, Any]:
        """Return what should run and what does; raises `ActorGone`."""
        return cast(Mapping[str, Any], await _call(self._actor.status))

    async def drain(self) -> None:
        """Stop every actor of the platform in order; raises `ActorGone`."""
        await _call(self._actor.drain)

    def restart(self) -> None:
        """End the registry's process, whatever it does; Ray starts another one."""
        ray.kill(self._actor, no_restart=False)


def create_registry(platform: PlatformConfig) -> RegistryHandle:
    """Start the registry.  Ray restarts it as often as it dies; it goes on from what it sees."""
    actor = cast(
        "ActorHandle[Any]",
        _RemoteRegistry.options(
            name=REGISTRY,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
        ).remote(platform),
    )
    return RegistryHandle(actor)


def find_registry() -> RegistryHandle | None:
    """Return the registry, None if there is none."""
    actor = _find(REGISTRY)
    return None if actor is None else RegistryHandle(actor)


async def find_ingesters() -> list[IngesterHandle]:
    """Return the ingesters that live."""
    handles = []
    for name in _list_names():
        parsed = parse_name(name)
        if parsed is not None and isinstance(parsed[0], IngesterKey):
            actor = _find(name)
            if actor is not None:
                handles.append(IngesterHandle(name, actor))
    return handles


async def find_bell(name: str) -> Bell | None:
    """Return the doorbell of a scheduler by the name in its heartbeat, None if it is gone."""
    actor = _find(name)
    return None if actor is None else SchedulerBell(actor)


async def find_limiter() -> LimiterHandle | None:
    """Return the limiter, None if there is none (yet)."""
    for name in _list_names():
        parsed = parse_name(name)
        if parsed is not None and isinstance(parsed[0], LimiterKey):
            actor = _find(name)
            if actor is not None:
                return LimiterHandle(actor)
    return None


class RayActorWorld:
    """Ray, as the registry needs it."""

    def __init__(self, platform: PlatformConfig) -> None:
        self._platform = platform

    async def list_names(self) -> Sequence[str]:
        """Return the names of the living actors of the platform."""
        return _list_names()

    async def create(self, key: ActorKey, *, name: str, owner: bytes) -> None:
        """Start an actor, beside its node of the ring if a machine says that it is there."""
        options: dict[str, Any] = {
            "name": name,
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "num_cpus": 0,
            "max_restarts": 0,
            "max_task_retries": 0,
            # Calls are many and batches are ours to count; the actors stay in the dashboard.
            "enable_task_events": False,
        }
        match key:
            case SchedulerKey(core, part):
                machine, machines = self._platform.machine_of(core), _machines()
                if machine in machines:
                    options["label_selector"] = {MACHINE_LABEL: machine}
                elif len(machines) > 1:  # on a single machine there is no choice
                    log.warning("no_machine_for_core", actor=name, machine=machine)
                _RemoteScheduler.options(**options).remote(
                    SchedulerConfig(
                        core=core,
                        actor_name=name,
                        owner=owner,
                        platform_id=self._platform.sole_platform,
                        windows=self._platform.settings.windows,
                        part=part,
                    ),
                    self._platform,
                )
            case IngesterKey(number):
                _RemoteIngester.options(**options).remote(number, self._platform)
            case LimiterKey():
                _RemoteLimiter.options(**options).remote(self._platform)
            case ReceiverKey():
                _RemoteReceiver.options(**options).remote(self._platform)

    async def ask_health(self, name: str) -> Any:  # noqa: ANN401 -- see ActorWorld
        """Return the actor's report; raises why it fails, in one line, or that it is gone."""
        try:
            return await _call(_get(name).check_health)
        except ray.exceptions.RayTaskError as error:
            # Ray's own text is the whole stack of another process, which has logged it.
            raise ActorFails(_told(error.cause)) from error

    async def hand_over(self, name: str, lanes: Sequence[str], *, heir: str) -> None:
        """Let a scheduler give lanes to another one of its core."""
        parsed = parse_name(heir)
        assert parsed is not None, heir
        try:
            await _get(name).hand_over.remote(list(lanes), heir=parsed[1], heir_name=heir)
        except _DEATHS as error:
            raise ActorGone(str(error).partition("\n")[0]) from error

    async def drain(self, name: str) -> None:
        """Ask an actor to finish what it has begun: a scheduler releases its lanes then."""
        parsed = parse_name(name)
        assert parsed is not None, name
        actor = _get(name)
        drains = isinstance(parsed[0], SchedulerKey | IngesterKey)
        await _call(actor.drain if drains else actor.stop)

    async def kill(self, name: str) -> None:
        """End an actor at once.  One that is gone already is no error."""
        actor = _find(name)
        if actor is not None:
            ray.kill(actor)


def _list_names() -> list[str]:
    return [
        actor["name"]
        for actor in list_named_actors(all_namespaces=True)
        if actor["namespace"] == NAMESPACE
    ]


def _find(name: str) -> ActorHandle[Any] | None:
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


def _get(name: str) -> ActorHandle[Any]:
    actor = _find(name)
    if actor is None:
        raise ActorGone(f"{name} is gone")
    return actor


def _machines() -> list[str | None]:
    """Return beside which machine each raylet that lives stands."""
    return [
        node["Labels"].get(MACHINE_LABEL)
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
