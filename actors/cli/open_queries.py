"""Opens what a query reads: settings, home, store.  Nothing of the platform need be running."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import assert_never

from actors.cli.audit.look import Look
from actors.cli.home import find_home
from actors.cli.inspection import Inspection
from cluster.local.data_folder import DataFolder
from cluster.local.inspection import LocalInspection
from cluster.local.platform_lock import PlatformAddress, read_platform
from cluster.runtime.settings import Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from cluster.topology.generation import Core, Generation
from pipeline.errors import PlatformNotRunning


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQueries:
    """What a query holds of the world."""

    settings: Settings
    path: Path  # of the data folder
    generation: Generation
    store: Inspection
    viewing: Callable[[Core], AbstractAsyncContextManager[Look]]  # for an audit
    addresses: Mapping[str, str] = field(default_factory=dict)  # of nodes, where they have one

    def platform(self) -> PlatformAddress | None:
        """Return where the platform of the folder answers, None if none runs."""
        return platform_of(self.path)

    def address_of(self, node: str) -> str:
        """Return what a person calls a node."""
        return self.addresses.get(node, node)


def platform_of(folder: Path) -> PlatformAddress | None:
    """Return where the platform of a folder answers, None if none runs."""
    with suppress(PlatformNotRunning):
        return read_platform(folder)
    return None


@asynccontextmanager
async def open_queries(data: Path | None) -> AsyncIterator[OpenQueries]:
    """Give the queries of the command line's folder, or of that of the settings.

    Raises `SettingInvalid`, `DataFolderUnusable`, `SchemaUnusable` or `StoreUnavailable`.
    """
    async with open_queries_of(load_settings(data=data)) as queries:
        yield queries


@asynccontextmanager
async def open_queries_of(settings: Settings) -> AsyncIterator[OpenQueries]:
    """Give the queries of these settings; raises as `open_queries`."""
    match settings.store:
        case StoreKind.LOCAL:
            folder = DataFolder.open(settings.data.absolute())
            store = LocalInspection(folder)

            @asynccontextmanager
            async def viewing(core: Core) -> AsyncIterator[Look]:
                yield partial(store.snapshot, core)

            try:
                yield OpenQueries(
                    settings=settings,
                    path=folder.path,
                    generation=folder.generation,
                    store=store,
                    viewing=viewing,
                )
            finally:
                await store.close()
        case StoreKind.SCYLLA:
            # Imported only here: it brings the driver.
            from actors.cli.scylla_queries import open_scylla_queries

            path = find_home(settings)
            async with open_scylla_queries(settings) as scylla:
                yield OpenQueries(
                    settings=settings,
                    path=path,
                    generation=scylla.generation,
                    store=scylla.store,
                    viewing=scylla.viewing,
                    addresses=scylla.addresses,
                )
        case other:
            assert_never(other)
