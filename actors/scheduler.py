"""The scheduler of one core: owns its lanes, and says every second that it lives.

The heartbeat is sent from the event loop that does the work: a loop that is stuck is silent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from actors.doorbells import Bell
from actors.lane_runner import LaneRunner, LaneRunnerPorts, runner_report
from actors.listing_watch import ListingWatch
from actors.missed_rows import MissedRows
from actors.permits import LimiterDoor, PermitClient
from cluster.runtime.processor import ProcessorUse
from cluster.runtime.routing import limited_connectors
from cluster.topology.generation import Core, Generation
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.ingest.accept import core_of
from pipeline.ingest.doorbell import Heard, LaneRows, decode_doorbell, encode_doorbell
from pipeline.lane.entry import EntryUnreadable
from pipeline.lane.gate import Gate
from pipeline.lane.suppressions import ListingTenants
from pipeline.lane.takeover import GONE, OwnerWatch
from pipeline.lane_id import LaneId
from pipeline.limits import Windows
from pipeline.ports import Beat, Clock, Connector, LaneStore
from pipeline.route.lease import PermitDesk
from pipeline.route.permits import LimitBook

log = structlog.get_logger(__name__)

_SWEEP_S: Final = 5.0
# What a lane's own data makes of it, at each start again.
_UNREADABLE: Final = (EntryUnreadable, msgspec.DecodeError, UnicodeDecodeError)
_WHAT_TO_DO: Final = (
    "the other lanes go on: run `shardpost audit`, then stop the platform and restore the data"
    " folder from a backup, or run the release that wrote it"
)
_MS_PER_S: Final = 1_000
_US_PER_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """What one scheduler is told at birth; plain data, so that Ray can ship it."""

    core: Core
    actor_name: str
    owner: bytes
    platform_id: bytes
    windows: Windows
    part: int = 0  # the others serve the core beside part 0 while its lanes are split


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerPorts:
    """What a scheduler holds of the world."""

    store: LaneStore
    generations: Sequence[Generation]
    connectors: Mapping[str, Connector]  # by name
    gates: Mapping[str, Gate]  # by channel
    book: LimitBook
    find_limiter: Callable[[], Awaitable[LimiterDoor | None]]
    find_bell: Callable[[str], Awaitable[Bell | None]]
    measure: Callable[[], ProcessorUse]  # since it was called last
    clock: Clock
    close: Callable[[], Awaitable[None]]
    hang_bell: Callable[[Callable[[Sequence[str]], None]], None] | None = None
    warnings: Callable[[], Sequence[str]] = tuple  # what somebody should look at
    # Statements that the owning core served, and those that others did.
    served: Callable[[], tuple[int, Mapping[str, int]]] = lambda: (0, {})


class Scheduler:
    """Runs lanes of one core until it is drained: those that it gets, of several schedulers."""

    def __init__(
        self, config: SchedulerConfig, open_ports: Callable[[], Awaitable[SchedulerPorts]]
    ) -> None:
        self._config = config
        self._open_ports = open_ports
        self._watch = OwnerWatch(steal_after_ms=config.windows.steal_after_ms)
        self._lifecycle = asyncio.Lock()
        self._ports: SchedulerPorts | None = None
        self._runners: dict[str, LaneRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._is_draining = False
        self._desk = PermitDesk(config.actor_name)
        self._permits: PermitClient | None = None
        self._lists = ListingTenants()
        self._peers: Mapping[bytes, str] = {}  # owner -> actor name, of the core
        self._telling: set[asyncio.Task[None]] = set()
        self._use = ProcessorUse(0, 0)
        self._handed_over: dict[str, int] = {}
        self._work: dict[str, int] = {}  # by lane, since the beat before
        self._set_aside: dict[str, str] = {}  # lanes that cannot be read, and why

    async def start(self) -> None:
        """Open the ports, take the lanes, begin to beat.

        A second start does nothing, nor does one after the end.  One that failed may be repeated.
        """
        async with self._lifecycle:
            if self._ports is None and not self._is_draining:
                ports = await self._open_ports()
                try:
                    await self._beat(ports, ports.clock.now())
                except BaseException:
                    await ports.close()
                    raise
                self._ports = ports
                if ports.hang_bell is not None:
                    ports.hang_bell(self.hear)
                await self._ask_for_permits(ports)
                watch = ListingWatch(ports.store, ports.generations, self._lists, clock=ports.clock)
                await watch.look()
                create = asyncio.get_running_loop().create_task
                self._loops = [
                    create(self._beat_for_ever(ports)),
                    create(self._look_for_lanes_for_ever(ports)),
                    create(watch.run()),
                    create(self._look_for_missed_rows_for_ever(ports)),
                ]
                if not self._config.part:
                    self._loops.append(create(self._sweep_for_ever(ports)))

    async def _ask_for_permits(self, ports: SchedulerPorts) -> None:
        if not ports.book.limits:
            return
        self._desk = PermitDesk(self._config.actor_name, limited_connectors(ports.book))
        self._permits = PermitClient(
            self._desk,
            find_limiter=ports.find_limiter,
            clock=ports.clock,
            on_grants=self._wake_lanes,
        )
        await self._permits.start()

    def _wake_lanes(self) -> None:
        for runner in self._runners.values():
            runner.wake()

    async def ring(self, doorbell: bytes) -> Heard:
        """Take a doorbell; say which of its lanes want none for a while, or not here."""
        heard = Heard([], {})
        ports = self._ports
        if ports is None or self._is_draining:
            return heard
        for rows in decode_doorbell(doorbell):
            if rows.lane in self._set_aside:
                continue
            runner = self._runners.get(rows.lane)
            if runner is None:
                runner = self._run_lane(ports, LaneId.parse(rows.lane))
            if runner is None:
                continue
            runner.ring(rows)
            if runner.lane is None:
                name = self._peers.get(runner.owner_seen or b"")
                if name is not None and name != self._config.actor_name:
                    heard.elsewhere[rows.lane] = name
            elif runner.lane.is_lagging:
                heard.lagging.append(rows.lane)
        return heard

    def hear(self, lanes: Sequence[str]) -> None:
        """Let those of these lanes that are at work here look for commands now; a hint."""
        for name in lanes:
            runner = self._runners.get(name)
            if runner is not None and runner.lane is not None:
                runner.ring(LaneRows(name, [], None, [], [], []))

    async def hand_over(self, lanes: Sequence[str], *, heir: bytes, heir_name: str) -> None:
        """Begin to give these lanes to another scheduler of the core; those that are ours.

        Each is given when its claims are finished.  May be repeated; what became of it is seen in
        the lanes' owners.
        """
        if self._is_draining or heir == self._config.owner:
            return
        for lane in lanes:
            runner, task = self._runners.get(lane), self._tasks.get(lane)
            if runner is not None and task is not None and runner.hand_over(heir):
                task.add_done_callback(partial(self._on_lane_given, runner, heir_name))

    def _on_lane_given(self, runner: LaneRunner, heir_name: str, task: asyncio.Task[None]) -> None:
        ports = self._ports
        if ports is None or task.cancelled() or task.exception() or runner.handed_to is None:
            return
        self._peers = {**self._peers, runner.handed_to: heir_name}
        telling = asyncio.get_running_loop().create_task(self._tell(ports, runner, heir_name))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _tell(self, ports: SchedulerPorts, runner: LaneRunner, heir_name: str) -> None:
        """Ring the heir, so that it need not come by."""
        nothing = LaneRows(str(runner.lane_id), [], None, [], [], [])
        try:
            bell = await ports.find_bell(heir_name)
            if bell is not None:
                await bell.ring(encode_doorbell([nothing]))
        except Exception as error:
            # It looks at the lane by itself soon.
            log.debug("heir_not_told", actor=heir_name, error=str(error))

    async def drain(self) -> None:
        """Finish what is claimed, journal and project it, release every lane."""
        async with self._lifecycle:
            self._is_draining = True
            ports = self._ports
            if ports is None:
                return
            for runner in self._runners.values():
                runner.drain()
            # A lane that failed does not keep the others from ending well.
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            for loop in (*self._loops, *self._telling):
                loop.cancel()
            await asyncio.gather(*self._loops, *self._telling, return_exceptions=True)
            if self._permits is not None:
                await self._permits.stop()
            # From here on others may take the lanes at once: nothing of them is held any more.
            await self._beat(ports, GONE)
            self._ports = None
            await ports.close()

    async def check_health(self) -> Mapping[str, Any]:
        """Return how it goes, with a report of each lane; raise what ended a loop or a lane.

        Ray sees a living process even when its loops are dead, so the registry asks.
        """
        await self.start()
        for task in (*self._loops, *self._tasks.values()):
            if task.done() and not task.cancelled():
                task.result()
        return {
            "is_ending": self._is_draining,
            "busy": self._use.busy,
            "idle": self._use.idle,
            "lanes": [
                {**runner_report(runner), "handed_over_lately": self._work.get(name, 0)}
                for name, runner in self._runners.items()
                if name not in self._set_aside
            ],
            "lanes_set_aside": dict(self._set_aside),
            "warnings": [] if self._ports is None else list(self._ports.warnings()),
            "served": (0, {}) if self._ports is None else self._ports.served(),
        }

    def _measure(self, ports: SchedulerPorts) -> None:
        self._use = ports.measure()
        before = self._handed_over
        self._handed_over = {
            name: runner.lane.claims.handed_over_count
            for name, runner in self._runners.items()
            if runner.lane is not None
        }
        self._work = {
            name: max(0, count - before.get(name, 0)) for name, count in self._handed_over.items()
        }

    async def _beat(self, ports: SchedulerPorts, value: int) -> None:
        config = self._config
        await ports.store.beat(config.core, Beat(config.owner, config.actor_name, value))

    async def _beat_for_ever(self, ports: SchedulerPorts) -> None:
        while True:
            await asyncio.sleep(self._config.windows.heartbeat_ms / _MS_PER_S)
            self._measure(ports)
            try:
                await self._beat(ports, ports.clock.now())
            except (StoreUnavailable, WriteUnknown) as error:
                log.warning("heartbeat_unanswered", error=str(error))

    async def _look_for_lanes_for_ever(self, ports: SchedulerPorts) -> None:
        core = self._config.core
        while True:
            try:
                beats = await ports.store.read_owners(core)
                self._peers = {beat.owner: beat.actor_name for beat in beats if beat.value != GONE}
            except StoreUnavailable as error:
                log.warning("owners_not_read", error=str(error))
            for generation in ports.generations:
                try:
                    lanes = await ports.store.read_lanes(self._config.core, generation.number)
                except StoreUnavailable as error:
                    log.warning("lanes_not_read", error=str(error))
                    continue
                for lane_id in lanes:
                    if str(lane_id) not in self._runners:
                        self._run_lane(ports, lane_id)
            await asyncio.sleep(self._config.windows.idle_read_ms / _MS_PER_S)

    async def _sweep_for_ever(self, ports: SchedulerPorts) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                await ports.store.sweep(self._config.core)
            except (StoreUnavailable, WriteUnknown) as error:
                log.warning("sweep_unanswered", error=str(error))

    async def _look_for_missed_rows_for_ever(self, ports: SchedulerPorts) -> None:
        missed = MissedRows(store=ports.store, clock=ports.clock, windows=self._config.windows)
        while True:
            await asyncio.sleep(_SWEEP_S)
            lanes = {name: runner for name, runner in self._runners.items() if name in self._tasks}
            try:
                await missed.look(lanes)
            except (StoreUnavailable, WriteUnknown) as error:
                log.warning("missed_rows_not_looked_for", error=str(error))
            except _UNREADABLE as error:
                # Who reads such rows to hand them over is set aside.
                log.warning("missed_rows_not_looked_for", error=str(error))

    def _run_lane(self, ports: SchedulerPorts, lane_id: LaneId) -> LaneRunner | None:
        assert core_of(lane_id) == self._config.core, lane_id
        gate = ports.gates.get(lane_id.channel)
        if gate is None:
            # Its messages wait; they were accepted when a connector served the channel.
            log.error("channel_without_connector", lane=str(lane_id))
            return None
        generation = next(g for g in ports.generations if g.number == lane_id.generation)
        runner = LaneRunner(
            lane_id,
            windows=self._config.windows,
            me=self._config.owner,
            platform=self._config.platform_id,
            ports=LaneRunnerPorts(
                store=ports.store,
                connectors=ports.connectors,
                gate=gate,
                book=ports.book,
                desk=self._desk,
                lists=self._lists,
                clock=ports.clock,
                watch=self._watch,
                generation=generation,
            ),
        )
        name = str(lane_id)
        self._runners[name] = runner
        task = asyncio.get_running_loop().create_task(runner.run(), name=name)
        task.add_done_callback(self._on_lane_ended)
        self._tasks[name] = task
        if self._is_draining:
            runner.drain()
        return runner

    def _on_lane_ended(self, task: asyncio.Task[None]) -> None:
        name = task.get_name()
        if task.cancelled():
            return
        if isinstance(error := task.exception(), _UNREADABLE):
            # Another process would read the same; the others of the core are not to suffer for it.
            self._set_aside[name] = str(error)
            self._tasks.pop(name, None)
            log.error("lane_set_aside", lane=name, error=str(error), what_to_do=_WHAT_TO_DO)
        elif error is not None:
            # The registry's next question meets it (`check_health`) and replaces this process.
            log.error("lane_failed", lane=name, error=str(error))
        elif not self._is_draining:
            # Fenced: another owner has it.  It may come back to us, as any lane may.
            self._runners.pop(name, None)
            self._tasks.pop(name, None)
