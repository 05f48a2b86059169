"""Opens what a query reads on ScyllaDB."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

from actors.cli.audit.look import Look
from actors.cli.inspection import Inspection
from actors.cli.scylla_snapshot import KeyspaceSnapshot
from actors.scylla_store import connected
from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings
from cluster.scylla import generations
from cluster.scylla.inspection import ScyllaInspection
from cluster.topology.generation import Core, Generation
from pipeline.errors import DataFolderUnusable


class ScyllaQueriesOpened(NamedTuple):
    """What a query holds."""

    store: Inspection
    viewing: Callable[[Core], AbstractAsyncContextManager[Look]]
    generation: Generation
    addresses: Mapping[str, str]


@asynccontextmanager
async def open_scylla_queries(settings: Settings) -> AsyncIterator[ScyllaQueriesOpened]:
    """Give the queries; raises `SettingInvalid`, `SchemaUnusable` or `StoreUnavailable`."""
    # What it notices of connections the driver tells by itself, and in its own way.
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    async with connected(settings) as session:
        found = await generations.read_all(session)
        if not found:
            raise DataFolderUnusable(
                f"keyspace {settings.scylla.keyspace} was not used so far: start the platform with"
                " `shardpost up`"
            )
        store = ScyllaInspection(session, found[-1], clock=SystemClock(), windows=settings.windows)
        snapshot = KeyspaceSnapshot(store, found[-1], windows=settings.windows)
        try:
            yield ScyllaQueriesOpened(store, snapshot.viewing, found[-1], session.addresses())
        finally:
            snapshot.close()
