"""A running platform on one machine: lock, Ray, registry; started, awaited, drained, stopped.

Who holds the lock is the only platform of the folder.  What an earlier one left behind (it was
killed) is fenced by epochs; nothing here waits for it.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

import structlog

from actors.config import (
    EMBEDDED_MACHINE,
    MACHINE_LABEL,
    NAMESPACE,
    PLATFORM_ID_BYTES,
    PlatformConfig,
)
from actors.handles import ActorGone, RegistryHandle, create_registry
from cluster.local.data_folder import DataFolder
from cluster.local.platform_lock import PlatformAddress, PlatformLock
from cluster.runtime.embedded_ray import start_embedded_ray, stop_ray
from cluster.runtime.settings import Settings
from pipeline.errors import PlatformNotStarted

log = structlog.get_logger(__name__)

_READY_LOOK_S: Final = 0.1
_READY_TIMEOUT_S: Final = 120.0


class Platform:
    """The process that holds the lock, and the children that do the work."""

    def __init__(self, lock: PlatformLock, registry: RegistryHandle, dashboard_url: str) -> None:
        self._lock = lock
        self._registry = registry
        self.dashboard_url = dashboard_url

    @classmethod
    def start(cls, settings: Settings, folder: DataFolder) -> "Platform":
        """Take the folder and start; raises `PlatformHeld` or `DataFolderUnusable`."""
        lock = PlatformLock.take(folder.path)
        try:
            ray_address, dashboard_url = start_embedded_ray(
                namespace=NAMESPACE,
                labels={MACHINE_LABEL: EMBEDDED_MACHINE},
                dashboard_port=settings.dashboard_port if settings.dashboard else None,
            )
            registry = create_registry(
                PlatformConfig(
                    platform_id=os.urandom(PLATFORM_ID_BYTES),
                    data_folder=str(folder.path),
                    settings=settings,
                )
            )
            lock.publish(
                PlatformAddress(
                    ray_address=ray_address,
                    namespace=NAMESPACE,
                    dashboard_url=dashboard_url,
                    pid=os.getpid(),
                )
            )
        except BaseException:
            stop_ray()
            lock.release()
            raise
        return cls(lock, registry, dashboard_url)

    async def ready(self) -> None:
        """Wait until every scheduler and ingester answers; raises `PlatformNotStarted`."""
        deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                if (await self._registry.status())["is_complete"]:
                    return
            except ActorGone as error:
                log.warning("registry_gone", error=str(error))
            await asyncio.sleep(_READY_LOOK_S)
        raise PlatformNotStarted(f"not every actor started within {_READY_TIMEOUT_S:.0f} s")

    async def status(self) -> Mapping[str, Any]:
        """Return what the registry sees; raises `ActorGone`."""
        return await self._registry.status()

    async def drain(self) -> None:
        """Finish what is claimed and release every lane; then nothing is half done."""
        # Else a sender would look for an ingester until Ray itself is gone, and be ended by it.
        self._lock.announce_end()
        try:
            await self._registry.drain()
        except ActorGone as error:
            # Nothing is lost: the next platform takes the lanes over.
            log.warning("drain_unanswered", error=str(error))

    def stop(self) -> None:
        """End every process of the platform and give the folder back.  May come twice."""
        stop_ray()
        self._lock.release()
