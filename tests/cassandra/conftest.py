"""A node with a front, started once for all tests that need it; or a cluster that is there."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.cassandra.front import Front, Fronts
from tests.cassandra.real_cluster import SessionFaults, named_hosts
from tests.cassandra.scylla_data import Keyspace, ScyllaData
from tests.cassandra.servers import (
    BACKEND_PORT,
    OPEN,
    SYNC_PERIODIC,
    Server,
    ServersMissing,
    make_cluster,
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, on a cluster that is there, what needs servers of its own or the front's eyes."""
    if not named_hosts():
        return
    left_out = [item for item in items if item.get_closest_marker("stand_in")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@dataclass
class Cluster:
    """Nodes that run, and what stands in front of them."""

    servers: list[Server]
    fronts: Fronts
    hosts: list[str]

    def watch_owners(self) -> None:
        """Let the fronts count from now on which requests come to the owners of their keys."""
        self.fronts.watch_owners(
            {
                server.address: [int(token) for token in server.tokens.split(",")]
                for server in self.servers
            }
        )


@contextmanager
def running_cluster(
    folder: Path,
    *,
    node_count: int,
    commitlog_sync: str = SYNC_PERIODIC,
    security_of: Callable[[str], str] = lambda _address: OPEN,
) -> Iterator[Cluster]:
    """Run a cluster meanwhile; the test is skipped where none can be made."""
    try:
        servers = make_cluster(
            folder,
            node_count=node_count,
            commitlog_sync=commitlog_sync,
            security_of=security_of,
        )
    except ServersMissing as error:
        # Where CI is set a skip fails (tests/conftest.py).
        pytest.skip(f"no test on a real server: {error}")
    fronts = Fronts([Front(server.address, BACKEND_PORT) for server in servers])
    try:
        for server in servers:
            server.spawn()
        for server in servers:
            server.wait_until_ready()
        fronts.start()
        yield Cluster(servers, fronts, [server.address for server in servers])
        fronts.stop()
    finally:
        for server in servers:
            server.stop()


@pytest.fixture(scope="session")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster of one node with two shards, or the one that is named."""
    if hosts := named_hosts():
        yield Cluster([], cast(Fronts, SessionFaults()), hosts)
        return
    with running_cluster(tmp_path_factory.mktemp("cassandra"), node_count=1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def keyspace(one_node: Cluster) -> Iterator[Keyspace]:
    """Return the keyspace of the tests, with every table."""
    keyspace = Keyspace(
        one_node.hosts, node_count=len(one_node.servers) or None, replication_factor=1
    )
    yield keyspace
    if not one_node.servers:
        keyspace.remove()
    keyspace.close()


@pytest.fixture
async def under_test(keyspace: Keyspace, one_node: Cluster) -> AsyncIterator[ScyllaData]:
    """Return empty tables."""
    data = ScyllaData(keyspace, one_node.fronts)
    try:
        await data.begin()
        yield data
    finally:
        await data.close()
