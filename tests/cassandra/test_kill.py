"""A node is killed and comes back while lanes write: what was acknowledged is there, and once."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from cluster.scylla.store import ScyllaStore
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from tests.cassandra.conftest import Cluster, running_cluster
from tests.cassandra.front import Break, Rule
from tests.cassandra.scylla_data import Keyspace, ScyllaData
from tests.cassandra.servers import SYNC_GROUP
from tests.contract.store_under_test import OWNER_A, Rows, buffer_entry, read_all
from tests.support.seed import seeded_random

LANES = 6
# Of each lane; the node is killed when so many, and so many more, were acknowledged in all.
ENTRIES = 150
KILLS_AT = (150, 500)
AGAIN_S = 0.1


pytestmark = pytest.mark.stand_in


@pytest.fixture(params=[1, pytest.param(3, marks=pytest.mark.three_nodes)])
async def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """Return nodes that acknowledge what is on their disks."""
    with running_cluster(
        tmp_path_factory.mktemp("killed"), node_count=request.param, commitlog_sync=SYNC_GROUP
    ) as cluster:
        yield cluster


class Writers:
    """Lanes whose owner writes what it is to write, and repeats until the answer is definite."""

    def __init__(self, store: ScyllaStore, lanes: list[LaneId], rows: list[Rows]) -> None:
        self.store = store
        self.lanes = lanes
        self.rows = dict(zip(lanes, rows, strict=True))
        self.acknowledged = 0
        self.repeated = 0
        self.submitted: dict[LaneId, list[bytes]] = {lane: [] for lane in lanes}

    async def write(self, lane: LaneId) -> None:
        for seq in range(ENTRIES):
            body = b"%s/%d" % (str(lane).encode(), seq)
            while not await self._done(lane, seq, body):  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_S)
            [id_] = self.rows[lane].ids(1)
            while not await self._submitted(lane, id_):  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_S)
            self.submitted[lane].append(id_)
            self.acknowledged += 1

    async def _done(self, lane: LaneId, seq: int, body: bytes) -> bool:
        try:
            assert await self.store.append(lane, 0, epoch=1, seq=seq, body=body)
        except (StoreUnavailable, WriteUnknown):
            self.repeated += 1
            return False
        return True

    async def _submitted(self, lane: LaneId, id_: bytes) -> bool:
        try:
            await self.store.write_buffer(lane, [buffer_entry(id_)])  # type: ignore[arg-type]
        except (StoreUnavailable, WriteUnknown):
            self.repeated += 1
            return False
        return True


async def test_a_killed_node_loses_nothing_that_was_acknowledged(cluster: Cluster) -> None:
    chance = seeded_random()
    keyspace = await asyncio.to_thread(
        Keyspace,
        cluster.hosts,
        replication_factor=len(cluster.servers),
        node_count=len(cluster.servers),
    )
    data = ScyllaData(keyspace, cluster.fronts)
    try:
        await data.begin()
        store = await data.open()
        # Lanes of every core, so that whichever node is killed is some lane's coordinator.
        cores = data.generation.cores
        rows = [Rows(data.generation, cores[number % len(cores)]) for number in range(LANES)]
        lanes = [mine.lane(band=f"bulk-{number}") for number, mine in enumerate(rows)]
        for lane in lanes:
            assert await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        writers = Writers(store, lanes, rows)
        # Some answers are lost besides, so that repeats meet what they wrote themselves.
        lost = Rule(Break.LOSE, lambda text: "SET body" in text and chance.random() < 0.02)
        with data.fronts.breaking(lost):
            writing = asyncio.gather(*(writers.write(lane) for lane in lanes))
            for kill_at in KILLS_AT:
                await until(lambda at=kill_at: writers.acknowledged >= at)  # type: ignore[misc]
                server = chance.choice(cluster.servers)
                await asyncio.to_thread(server.stop, signal.SIGKILL)
                await asyncio.to_thread(server.start)
            await asyncio.wait_for(writing, 240)
        assert writers.repeated >= len(KILLS_AT)
        assert lost.hits > 0
        # Seen by somebody else, who was not there.
        other = await data.open()
        for lane in lanes:
            entries = await other.read_journal(lane, 0, before_seq=None, limit=ENTRIES + 1)
            assert [(entry.seq, entry.body) for entry in reversed(entries)] == [
                (seq, b"%s/%d" % (str(lane).encode(), seq)) for seq in range(ENTRIES)
            ]
            found = await read_all(other, lane, through_at=Instant(1 << 61))
            assert {row[1] for row in found} == set(writers.submitted[lane])
        await until(store._session.shards_ready)
    finally:
        await data.close()
        await asyncio.to_thread(keyspace.close)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
