"""Owners of lanes on a real store: what they are given, and a provider that counts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from actors.lane_runner import LaneRunner, LaneRunnerPorts
from actors.scheduler import Scheduler, SchedulerConfig, SchedulerPorts
from cluster.runtime.processor import ProcessorUse
from cluster.topology.generation import Core
from pipeline.lane.gate import Gate
from pipeline.lane.takeover import OwnerWatch
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, state_of
from pipeline.limits import Windows
from pipeline.message import AT_ONCE, BufferEntry, MessageId, MessageRow, PartitionKey
from pipeline.outcome import HandOver, Outcomes, ProviderClass, Report
from pipeline.ports import Beat
from pipeline.route.lease import PermitDesk
from pipeline.route.permits import LimitBook
from tests.contract.store_under_test import make_body
from tests.support.faulty_store import FaultyStore, StoreWorld
from tests.support.gates import NoLists, gate_of
from tests.support.virtual_time import loop_now, pass_time

PLATFORM, OTHER_PLATFORM = b"today-", b"before"
WINDOWS = Windows(claims_open_max=4)
GROUP = "acme/spring"


def owner_id(name: str, *, platform: bytes = PLATFORM) -> bytes:
    return platform + name.encode().ljust(10, b"-")


def reference_to(message_id: MessageId) -> str:
    return f"sim-{message_id.hex()[:16]}"


class CountingConnector:
    """Takes everything, and keeps its own log."""

    name = "counting"
    provider_class = ProviderClass.NONE
    has_receipts = False

    def __init__(self, log: "Counter[MessageId]", *, takes_ms: int = 0) -> None:
        self.log = log
        self.takes_ms = takes_ms
        self.error: Exception | None = None
        self.defers = False  # it takes nothing for now
        self.refers = False  # it names what it takes
        self.hand_overs: list[HandOver] = []

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        self.hand_overs.append(hand_over)
        self.log.update(hand_over.message_ids)
        if self.takes_ms:
            await asyncio.sleep(self.takes_ms / 1_000)
        if self.error is not None:
            raise self.error
        count = len(hand_over.message_ids)
        taken = Outcomes.all_alike(Event.DEFER if self.defers else Event.TAKE, count)
        if self.refers:
            names = {n: reference_to(id_) for n, id_ in enumerate(hand_over.message_ids)}
            taken = Outcomes(events=taken.events, references=names)
        report(range(count), taken)

    async def close(self) -> None:
        """Nothing is held."""


class LaneActors:
    """One lane (or more, of one core), its messages, and its owners."""

    def __init__(self, stores: StoreWorld) -> None:
        self.stores = stores
        self.clock = stores.clock
        self.generation = stores.data.generation
        self.core: Core = self.generation.cores[0]
        self.lane = self.lane_of("bulk-1")
        self.log: Counter[MessageId] = Counter()
        self.accepted: list[MessageId] = []
        self.closed: list[str] = []
        self.opened: list[str] = []
        self.bells: list[str] = []
        self.admin: FaultyStore
        self.by_name: dict[str, Scheduler] = {}
        self.use = ProcessorUse(0, 0)
        self._tasks: list[asyncio.Task[None]] = []
        self._schedulers: list[Scheduler] = []
        self._seed = 0

    @classmethod
    @asynccontextmanager
    async def on(cls, folder: Path) -> AsyncIterator["LaneActors"]:
        async with StoreWorld(folder / "data") as stores:
            made = cls(stores)
            made.admin = await stores.open()
            try:
                yield made
            finally:
                await made._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for scheduler in self._schedulers:
            for task in (*scheduler._loops, *scheduler._tasks.values()):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    def lane_of(self, band: str, *, channel: str = "sms") -> LaneId:
        return LaneId(self.generation.number, self.core.node, self.core.shard, channel, band)

    # --- messages -----------------------------------------------------------------------------

    async def find_bell(self, name: str) -> Scheduler | None:
        return self.by_name.get(name)

    async def accept(
        self, count: int, *, lane: LaneId | None = None, is_in_buffer: bool = True
    ) -> list[MessageId]:
        """Do as an ingester does, without the doorbell."""
        lane = lane or self.lane
        ids = [
            MessageId(self.generation.forged_key(self.core, self._seed + n)) for n in range(count)
        ]
        self._seed += count
        now = self.clock.now()
        bodies: list[MessageRow] = [
            (id_, PartitionKey(id_), now, GROUP, make_body(id_.hex())) for id_ in ids
        ]
        rows: list[BufferEntry] = [(id_, PartitionKey(id_), now, 1, AT_ONCE, GROUP) for id_ in ids]
        await self.admin.port.write_messages(self.core, bodies)
        await self.admin.port.announce_lane(lane)
        if is_in_buffer:
            await self.admin.port.write_buffer(lane, rows)
        self.accepted += ids
        return ids

    async def states(self) -> Counter[str]:
        """Return how many of the accepted messages are in which state, by the timeline."""
        keys = [(PartitionKey(id_), id_) for id_ in self.accepted]
        folds = await self.admin.port.read_folds(self.core, keys)
        return Counter(state_of(folds.get(id_)).value for id_ in self.accepted)

    async def epoch(self, lane: LaneId | None = None) -> int | None:
        newest = await self.admin.port.newest_segment(lane or self.lane)
        return None if newest is None else newest.ownership.epoch

    # --- owners -------------------------------------------------------------------------------

    async def beat(self, owner: bytes, value: int) -> None:
        await self.admin.port.beat(self.core, Beat(owner, "somebody", value))

    def keep_beating(
        self, owner: bytes, *, every_ms: int = WINDOWS.heartbeat_ms
    ) -> asyncio.Task[None]:
        """Let somebody live until the task is cancelled."""

        async def live() -> None:
            while True:
                await self.beat(owner, self.clock.now())
                await pass_time(every_ms)

        task = loop_now().create_task(live())
        self._tasks.append(task)
        return task

    def runner(
        self,
        store: FaultyStore,
        *,
        name: str = "me",
        platform: bytes = PLATFORM,
        connector: CountingConnector | None = None,
        windows: Windows = WINDOWS,
        gate: Gate | None = None,
    ) -> LaneRunner:
        return LaneRunner(
            self.lane,
            windows=windows,
            me=owner_id(name),
            platform=platform,
            ports=LaneRunnerPorts(
                store=store.port,
                connectors={"counting": connector or CountingConnector(self.log)},
                gate=gate or gate_of("counting"),
                book=LimitBook(),
                desk=PermitDesk(name),
                lists=NoLists(),
                clock=self.clock,
                watch=OwnerWatch(steal_after_ms=windows.steal_after_ms),
                generation=self.generation,
            ),
        )

    def begin(self, runner: LaneRunner) -> asyncio.Task[None]:
        task = loop_now().create_task(runner.run())
        self._tasks.append(task)
        return task

    def scheduler(
        self,
        store: FaultyStore,
        *,
        name: str = "me",
        connector: CountingConnector | None = None,
        channels: Sequence[str] = ("sms",),
        part: int = 0,
    ) -> Scheduler:
        async def close() -> None:
            self.closed.append(name)

        async def no_limiter() -> None:
            return None

        async def open_ports() -> SchedulerPorts:
            self.opened.append(name)
            made = connector or CountingConnector(self.log)
            return SchedulerPorts(
                store=store.port,
                generations=[self.generation],
                connectors={made.name: made},
                book=LimitBook(),
                find_limiter=no_limiter,
                find_bell=self.find_bell,
                measure=lambda: self.use,
                gates={channel: gate_of(made.name) for channel in channels},
                clock=self.clock,
                close=close,
                hang_bell=lambda _hear: self.bells.append("hung"),
            )

        scheduler = self.by_name[f"scheduler|{name}"] = Scheduler(
            SchedulerConfig(
                core=self.core,
                actor_name=f"scheduler|{name}",
                owner=owner_id(name),
                platform_id=PLATFORM,
                windows=WINDOWS,
                part=part,
            ),
            open_ports,
        )
        self._schedulers.append(scheduler)
        return scheduler


__all__ = [
    "GROUP",
    "OTHER_PLATFORM",
    "PLATFORM",
    "WINDOWS",
    "CountingConnector",
    "LaneActors",
    "owner_id",
    "reference_to",
]
