"""A keyspace for tests, and the stores that were opened on it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.runtime.clock import SystemClock
from cluster.scylla import generations, schema
from cluster.scylla.queries import ScyllaQueries
from cluster.scylla.session import ScyllaSession, make_cluster
from cluster.scylla.settings import ScyllaSettings
from cluster.scylla.store import ScyllaStore
from cluster.scylla.topology_source import picture_of
from cluster.topology.generation import Generation
from pipeline.limits import Windows
from pipeline.ports import QueryStore
from tests.cassandra.front import Break, Fronts, Rule
from tests.contract.store_under_test import Store

KEYSPACE = "shardpost_tests"
WINDOWS = Windows()
AGREEMENT_S_MAX = 30


def is_write(text: str) -> bool:
    """Return whether a statement writes what a verb was asked to write."""
    # That a slice is there is noted before; if that fails the rows are not written at all.
    return text.startswith(("INSERT", "UPDATE")) and " slices " not in text


class Keyspace:
    """A keyspace that is made once and emptied before each test."""

    def __init__(
        self, hosts: list[str], *, replication_factor: int, node_count: int | None = None
    ) -> None:
        self.settings = ScyllaSettings(hosts=tuple(hosts), keyspace=KEYSPACE)
        self._cluster = make_cluster(self.settings)
        self._session: Any = self._cluster.connect()
        self._wait_for_agreement(node_count or len(self._cluster.metadata.all_hosts()))
        # What another run left behind may be of another release.
        self._session.execute(f"DROP KEYSPACE IF EXISTS {KEYSPACE}")
        [datacenter] = {host.datacenter for host in self._cluster.metadata.all_hosts()}
        schema.create_keyspace(self._session, KEYSPACE, {datacenter: replication_factor})
        self._session.set_keyspace(KEYSPACE)
        schema.migrate(self._session, WINDOWS)
        schema.check(self._session, WINDOWS)
        tables = self._cluster.metadata.keyspaces[KEYSPACE].tables
        self._tables = sorted(set(tables) - {"schema_versions"})

    def _wait_for_agreement(self, node_count: int) -> None:
        """Wait until every node knows all others: what is made before may be gone again."""
        deadline = time.monotonic() + AGREEMENT_S_MAX  # noqa: TID251 -- real processes
        while not self._agree(node_count):
            assert time.monotonic() < deadline, "the nodes do not agree on a schema"  # noqa: TID251
            time.sleep(0.2)  # noqa: TID251

    def _agree(self, node_count: int) -> bool:
        self._cluster.refresh_nodes()
        hosts = self._cluster.metadata.all_hosts()
        if len(hosts) != node_count or not all(host.is_up for host in hosts):
            return False
        versions = set()
        for host in hosts:
            peers = self._session.execute("SELECT schema_version FROM system.peers", host=host)
            seen = [row[0] for row in peers]
            if len(seen) != node_count - 1:
                return False
            mine = self._session.execute("SELECT schema_version FROM system.local", host=host)
            versions |= {*seen, mine.one()[0]}
        return len(versions) == 1

    @property
    def driver_session(self) -> Any:
        """Return a session of the driver, for what no store has a verb for."""
        return self._session

    def empty(self) -> None:
        """Remove every row."""
        looks = [
            (table, self._session.execute_async(f"SELECT * FROM {table} LIMIT 1"))
            for table in self._tables
        ]
        for table, look in looks:
            if look.result().one() is not None:
                self._session.execute(f"TRUNCATE {table}")

    def remove(self) -> None:
        """Leave nothing behind."""
        self._session.execute(f"DROP KEYSPACE IF EXISTS {KEYSPACE}")

    def close(self) -> None:
        self._cluster.shutdown()


def port_of(store: ScyllaStore) -> Store:
    """Return the store as actors see it: that it has every verb is told by its type."""
    return store


def queries_of(queries: ScyllaQueries) -> QueryStore:
    """Return the queries as the command line sees them: the same."""
    return queries


class ScyllaData:
    """What a contract needs: stores of several processes on the same, empty tables."""

    def __init__(self, keyspace: Keyspace, fronts: Fronts) -> None:
        self.keyspace = keyspace
        self.fronts = fronts
        self.clock = SystemClock()
        self.windows = WINDOWS
        self._sessions: list[ScyllaSession] = []
        self._generation: Generation | None = None

    async def begin(self) -> None:
        """Empty the tables and publish the first generation."""
        await asyncio.to_thread(self.keyspace.empty)
        session = await self.session()
        picture = picture_of(session)
        self._generation = Generation(
            number=1,
            starts_at=self.clock.now(),
            prompt_ms=WINDOWS.prompt_ms,
            nodes=picture.nodes,
            ring=picture.ring,
        )
        assert await generations.publish(session, self._generation)

    @property
    def generation(self) -> Generation:
        assert self._generation is not None
        return self._generation

    async def session(self) -> ScyllaSession:
        session = await ScyllaSession.connect(self.keyspace.settings)
        self._sessions.append(session)
        return session

    async def open(self) -> ScyllaStore:
        return await ScyllaStore.open(
            await self.session(), self.generation, clock=self.clock, windows=self.windows
        )

    async def open_queries(self) -> ScyllaQueries:
        return ScyllaQueries(
            await self.session(), self.generation, clock=self.clock, windows=self.windows
        )

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()

    @contextmanager
    def losing_the_answer(self, store: object) -> Iterator[None]:
        with self.fronts.breaking(Rule(Break.LOSE, is_write)):
            yield

    @contextmanager
    def refusing_writes(self, store: object) -> Iterator[None]:
        with self.fronts.breaking(Rule(Break.REFUSE, is_write)):
            yield
