"""A running platform on one machine: lock, Ray, registry; started, awaited, drained, stopped.

Who holds the lock is the only platform of the folder.  What an earlier one left behind (it was
killed) is fenced by epochs; nothing here waits for it.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
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
from cluster.local.platform_lock import PlatformAddress, PlatformLock
from cluster.runtime.embedded_ray import start_embedded_ray, stop_ray
from cluster.runtime.settings import Settings
from pipeline.errors import PlatformNotStarted
from pipeline.limits import ACTOR_HEALTH_STRIKES_MAX, ACTOR_HEALTH_TIMEOUT_MS, DRAIN_TIMEOUT_MS

log = structlog.get_logger(__name__)

_LOOK_S: Final = 0.1
_READY_TIMEOUT_S: Final = 120.0
_MS_PER_S: Final = 1_000
_WATCH_S: Final = 5.0
_ANSWER_TIMEOUT_S: Final = ACTOR_HEALTH_TIMEOUT_MS / _MS_PER_S
# Ray starts a registry that died again in a second or two, and kills one that hangs after five.
_DRAIN_BEGIN_TIMEOUT_S: Final = 30.0
# The registry gives the doors and then the lanes this long each, and its own questions before.
_DRAIN_TIMEOUT_S: Final = (2 * DRAIN_TIMEOUT_MS + 2 * ACTOR_HEALTH_TIMEOUT_MS) / _MS_PER_S


class RegistrySilent(ActorGone):
    """The registry lives and does not answer; the caller may ask again, or restart it."""


class Platform:
    """The process that holds the lock, and the children that do the work."""

    def __init__(
        self, lock: PlatformLock, registry: RegistryHandle, *, dashboard_url: str, logs: str
    ) -> None:
        self._lock = lock
        self._registry = registry
        self.dashboard_url = dashboard_url
        self.logs = logs  # the folder
        self._troubles: Sequence[str] = []
        self._warnings: Sequence[str] = []
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    def start(
        cls, settings: Settings, folder: Path, *, machines: Mapping[str, str] | None = None
    ) -> "Platform":
        """Take the folder and start; raises `PlatformHeld` or `DataFolderUnusable`.

        `machines`: beside which machine each node of the ring is served, where that is told.
        """
        lock = PlatformLock.take(folder)
        try:
            head = start_embedded_ray(
                namespace=NAMESPACE,
                labels={MACHINE_LABEL: EMBEDDED_MACHINE},
                dashboard_port=settings.dashboard_port if settings.dashboard else None,
            )
            registry = create_registry(
                PlatformConfig(
                    platform_id=os.urandom(PLATFORM_ID_BYTES),
                    data_folder=str(folder),
                    settings=settings,
                    machines=machines or {},
                )
            )
            lock.publish(
                PlatformAddress(
                    ray_address=head.address,
                    namespace=NAMESPACE,
                    dashboard_url=head.dashboard_url,
                    pid=os.getpid(),
                    logs=head.logs,
                )
            )
        except BaseException:
            stop_ray()
            lock.release()
            raise
        return cls(lock, registry, dashboard_url=head.dashboard_url, logs=head.logs)

    async def ready(self) -> None:
        """Wait until every scheduler and ingester answers; raises `PlatformNotStarted`.

        From then on until the drain the registry is watched.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_TIMEOUT_S):
                while True:
                    try:
                        status = await self._registry.status()
                        self._tell_troubles(status)
                        if status["is_complete"]:
                            self._watch = asyncio.create_task(self._watch_registry())
                            return
                    except ActorGone as error:
                        log.warning("registry_gone", error=str(error))
                    await asyncio.sleep(_LOOK_S)
        why = "; ".join(self._troubles) or f"look into {self.logs}"
        raise PlatformNotStarted(f"not every part started within {_READY_TIMEOUT_S:.0f} s: {why}")

    def _tell_troubles(self, status: Mapping[str, Any]) -> None:
        """Say what somebody should look at here and to all who ask; once, as long as it stays."""
        troubles, warnings = status["troubles"], status.get("warnings", [])
        if (troubles, warnings) == (self._troubles, self._warnings):
            return
        for one in troubles:
            if one not in self._troubles:
                log.error("platform_trouble", what=one)
        for one in warnings:
            if one not in self._warnings:
                log.warning("platform_warning", what=one)
        self._troubles, self._warnings = list(troubles), list(warnings)
        self._lock.tell_troubles(troubles, warnings)

    async def status(self) -> Mapping[str, Any]:
        """Return what the registry sees; raises `ActorGone`, `RegistrySilent` if it hangs."""
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await self._registry.status()
        except TimeoutError as error:
            raise RegistrySilent("the registry does not answer") from error

    async def drain(self) -> None:
        """Finish what is claimed and release every lane; then nothing is half done.

        A registry that has just died, or hangs, is no reason to leave that to the next platform:
        the one that Ray starts in its place drains whomever it finds.
        """
        # Else a sender would look for an ingester until Ray itself is gone, and be ended by it.
        self._lock.announce_end()
        if self._watch is not None:
            self._watch.cancel()
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _DRAIN_BEGIN_TIMEOUT_S
        while loop.time() < give_up_at:
            try:
                # A drain may take long; whether anybody is there to do it is told at once.
                await self.status()
                async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                    await self._registry.drain()
            except RegistrySilent:
                log.warning("registry_silent")
                self._registry.restart()
            except ActorGone as error:
                log.warning("registry_gone", error=str(error))
            except TimeoutError:
                break
            else:
                return
            await asyncio.sleep(_LOOK_S)
        # Nothing is lost: the next platform takes the lanes over.
        log.warning("drain_unanswered")

    async def _watch_registry(self) -> None:
        """Restart a registry that hangs: Ray sees a living process, and nobody else would look."""
        strikes = 0
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                self._tell_troubles(await self.status())
            except RegistrySilent:
                strikes += 1
                if strikes >= ACTOR_HEALTH_STRIKES_MAX:
                    log.warning("registry_restarted", reason="it does not answer")
                    self._registry.restart()
                    strikes = 0
            except ActorGone:
                # Ray restarts one that died.  Of one that hangs it says now and then, too, that it
                # cannot be reached: no answer yet.
                continue
            else:
                strikes = 0

    def stop(self) -> None:
        """End every process of the platform and give the folder back.  May come twice."""
        stop_ray()
        self._lock.release()
