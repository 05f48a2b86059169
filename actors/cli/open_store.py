"""Opens the store for a command that writes; a platform may run meanwhile, and need not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from actors.cli.home import find_home
from actors.stores import ActorStore
from actors.stores import open_store as open_actor_store
from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings
from cluster.topology.generation import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """What a command that writes holds of the world."""

    settings: Settings
    generation: Generation
    store: ActorStore
    clock: SystemClock


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[OpenStore]:
    """Give the store of these settings; its data folder is there.

    Raises `DataFolderUnusable`, `SettingInvalid`, `SchemaUnusable` or `StoreUnavailable`.
    """
    opened = await open_actor_store(settings, find_home(settings))
    try:
        yield OpenStore(
            settings=settings,
            generation=opened.generations[-1],
            store=opened.store,
            clock=opened.clock,
        )
    finally:
        await opened.close()
