"""Opens what a query reads: settings, data folder, store.  Nothing need be running."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.local.data_folder import DataFolder
from cluster.local.inspection import LocalInspection
from cluster.local.platform_lock import PlatformAddress, read_platform
from cluster.runtime.settings import Settings, load_settings
from pipeline.errors import PlatformNotRunning


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQueries:
    """What a query holds of the world."""

    settings: Settings
    folder: DataFolder
    store: LocalInspection

    def platform(self) -> PlatformAddress | None:
        """Return where the platform of the folder answers, None if none runs."""
        return platform_of(self.folder.path)


def platform_of(folder: Path) -> PlatformAddress | None:
    """Return where the platform of a folder answers, None if none runs."""
    with suppress(PlatformNotRunning):
        return read_platform(folder)
    return None


@asynccontextmanager
async def open_queries(data: Path | None) -> AsyncIterator[OpenQueries]:
    """Give the queries of the command line's folder, or of that of the settings.

    Raises `SettingInvalid` and `DataFolderUnusable`.
    """
    settings = load_settings(data=data)
    folder = DataFolder.open(settings.data.absolute())
    store = LocalInspection(folder)
    try:
        yield OpenQueries(settings=settings, folder=folder, store=store)
    finally:
        await store.close()
