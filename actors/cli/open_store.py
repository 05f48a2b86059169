"""Opens the store for a command that writes; a platform may run meanwhile, and need not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cluster.local.data_folder import DataFolder
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """What a command that writes holds of the world."""

    settings: Settings
    folder: DataFolder
    store: LocalStore
    clock: SystemClock


@asynccontextmanager
async def open_store(settings: Settings, folder: DataFolder) -> AsyncIterator[OpenStore]:
    """Give the store of a folder that was opened under these settings.

    Raises `DataFolderUnusable`.
    """
    clock = SystemClock()
    store = LocalStore.open(folder.path, cores=None, clock=clock, windows=settings.windows)
    try:
        yield OpenStore(settings=settings, folder=folder, store=store, clock=clock)
    finally:
        await store.close()
