"""An ingester or more on a real store, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from actors.doorbells import Bell, Doorbells
from actors.ingester import Ingester, IngesterPorts
from cluster.runtime.processor import ProcessorUse
from cluster.topology.generation import Core
from pipeline.ingest.chunk import (
    Refused,
    SubmitChunk,
    SubmitReply,
    decode_reply,
    encode,
)
from pipeline.ingest.doorbell import Heard, LaneRows, decode_doorbell
from pipeline.lane_id import LaneId
from pipeline.message import BufferRow, TimerRow
from pipeline.ports import Beat
from tests.contract.store_under_test import EVER, NEVER
from tests.support.faulty_store import FaultyStore, StoreWorld
from tests.support.local_data import WINDOWS
from tests.support.submissions import make_submission

W_MS = WINDOWS.write_deadline_ms
ONE_LANE = [make_submission(priority="urgent")]


class World:
    """One ingester or more on one data folder; what doorbells bring is kept."""

    def __init__(self, stores: StoreWorld) -> None:
        self.stores = stores
        self.clock = stores.clock
        self.rung: list[LaneRows] = []
        self.story: list[str] = []
        self.store: FaultyStore
        self.closed_count = 0
        self.opened_count = 0
        self.use = ProcessorUse(0, 0)
        self.refusal: str | None = None

    @classmethod
    @asynccontextmanager
    async def on(cls, folder: Path) -> AsyncIterator["World"]:
        async with StoreWorld(folder / "data") as stores:
            world = cls(stores)
            world.store = await stores.open()
            yield world

    def ingester(self, store: FaultyStore | None = None) -> "Client":
        return Client(Ingester(WINDOWS, lambda: self.open_ports(store or self.store)))

    async def open_ports(self, store: FaultyStore) -> IngesterPorts:
        self.opened_count += 1

        async def find_bell(_: str) -> Bell | None:
            return self

        async def read_owners(_: Core) -> list[Beat]:
            return [Beat(b"o" * 16, "s1", 7)]

        async def close() -> None:
            self.closed_count += 1

        return IngesterPorts(
            store=store.port,
            generations=[self.stores.data.generation],
            channels=frozenset({"sms", "email"}),
            clock=self.clock,
            chance=lambda count: bytes(n % 251 for n in range(count)),
            doorbells=Doorbells(
                clock=self.clock,
                read_owners=read_owners,
                find_bell=find_bell,
                owner_refresh_ms=5_000,
            ),
            measure=lambda: self.use,
            close=close,
            refusal=lambda: self.refusal,
        )

    async def ring(self, doorbell: bytes) -> Heard:
        self.story.append("doorbell")
        self.rung.extend(decode_doorbell(doorbell))
        return Heard([], {})

    async def timer_rows(self) -> list[TimerRow]:
        generation = self.stores.data.generation
        rows: list[TimerRow] = []
        for core in generation.cores:
            for lane in await self.store.port.read_lanes(core, generation.number):
                page = await self.store.port.read_timers(
                    lane, from_due=NEVER, through_due=EVER, limit=100_000, resume=None
                )
                rows += page.rows
        return rows

    async def buffer_rows(self) -> list[tuple[LaneId, BufferRow]]:
        rows = []
        generation = self.stores.data.generation
        for core in generation.cores:
            for lane in await self.store.port.read_lanes(core, generation.number):
                page = await self.store.port.read_buffer(
                    lane, from_at=NEVER, through_at=EVER, limit=100_000, resume=None
                )
                rows += [(lane, row) for row in page.rows]
        return rows


class Client:
    """Submits chunks and reads replies."""

    def __init__(self, ingester: Ingester) -> None:
        self.ingester = ingester

    async def submit(self, chunk: SubmitChunk) -> SubmitReply:
        return decode_reply(await self.ingester.submit(encode(chunk)))


def positions(reply: SubmitReply) -> list[tuple[int, str]]:
    assert isinstance(reply, Refused), reply
    return [(position, field) for position, field, _ in reply.reasons]
