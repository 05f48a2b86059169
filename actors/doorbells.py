"""Ringing the schedulers' doorbells: hints that rows were accepted, with the rows.

One call is under way to each core; what comes meanwhile goes with the next one, so that the batches
grow by themselves under load.  What does not fit is dropped: the buffer is the truth, the lane's
cursor comes by.  A lane that lags says so, and is left alone for a while.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from cluster.topology.generation import Core
from pipeline.ingest.doorbell import LaneRows, encode_doorbell
from pipeline.instant import Instant, later
from pipeline.lane.takeover import GONE
from pipeline.limits import (
    DOORBELL_BYTES_MAX,
    DOORBELL_MESSAGES_MAX,
    DOORBELL_QUIET_MS,
    OWNER_LOOK_INTERVAL_MS_MIN,
)
from pipeline.ports import Beat, Clock

log = structlog.get_logger(__name__)

_LONG_AGO: Final = Instant(0)


class Bell(Protocol):
    """The scheduler's end of a doorbell."""

    async def ring(self, doorbell: bytes) -> list[str]:
        """Deliver; return the names of the lanes that lag."""
        ...


@dataclass(slots=True)
class _CoreBell:
    pending: list[LaneRows] = field(default_factory=list)
    pending_count: int = 0
    pending_bytes: int = 0
    task: asyncio.Task[None] | None = None
    bell: Bell | None = None
    bell_name: str = ""
    look_not_before: Instant = _LONG_AGO


class Doorbells:
    """For one ingester."""

    def __init__(
        self,
        *,
        clock: Clock,
        read_owners: Callable[[Core], Awaitable[list[Beat]]],
        find_bell: Callable[[str], Awaitable[Bell | None]],
        owner_refresh_ms: int,
    ) -> None:
        self._clock = clock
        self._read_owners = read_owners
        self._find_bell = find_bell
        self._owner_refresh_ms = owner_refresh_ms
        self._cores: dict[Core, _CoreBell] = {}
        self._quiet_until: dict[str, Instant] = {}
        self.dropped_count = 0

    def ring(self, core: Core, rows: LaneRows) -> None:
        """Leave rows for the core's scheduler.  Never waits, never fails."""
        at = self._cores.setdefault(core, _CoreBell())
        count = len(rows.message_ids)
        size = sum(map(len, rows.bodies))
        if (
            self._clock.now() < self._quiet_until.get(rows.lane, 0)
            or at.pending_count + count > DOORBELL_MESSAGES_MAX
            or at.pending_bytes + size > DOORBELL_BYTES_MAX
        ):
            self.dropped_count += count
            return
        at.pending.append(rows)
        at.pending_count += count
        at.pending_bytes += size
        if at.task is None:
            at.task = asyncio.get_running_loop().create_task(self._deliver(core, at))

    async def close(self) -> None:
        """Stop ringing."""
        tasks = [at.task for at in self._cores.values() if at.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, core: Core, at: _CoreBell) -> None:
        try:
            while at.pending:
                bell = await self._bell_of(core, at)
                rows, at.pending = at.pending, []
                count, at.pending_count, at.pending_bytes = at.pending_count, 0, 0
                if bell is None:
                    self.dropped_count += count
                    continue
                try:
                    lagging = await bell.ring(encode_doorbell(rows))
                except Exception as error:
                    # Any class, as the other process's own errors come over Ray: a hint is lost,
                    # that is all, and the next one looks for the new owner.
                    log.debug("doorbell_lost", actor=at.bell_name, error=str(error))
                    at.bell = None
                    at.look_not_before = later(self._clock.now(), OWNER_LOOK_INTERVAL_MS_MIN)
                    self.dropped_count += count
                    continue
                quiet_until = later(self._clock.now(), DOORBELL_QUIET_MS)
                self._quiet_until.update(dict.fromkeys(lagging, quiet_until))
        finally:
            at.task = None

    async def _bell_of(self, core: Core, at: _CoreBell) -> Bell | None:
        now = self._clock.now()
        if now < at.look_not_before:
            return at.bell
        at.look_not_before = later(now, OWNER_LOOK_INTERVAL_MS_MIN)
        try:
            beats = [beat for beat in await self._read_owners(core) if beat.value != GONE]
            if not beats:
                at.bell = None
                return None
            # Only a guess at who serves the core now: a wrong one loses hints, no messages.
            newest = max(beats, key=lambda beat: beat.value)
            if at.bell is None or newest.actor_name != at.bell_name:
                at.bell, at.bell_name = await self._find_bell(newest.actor_name), newest.actor_name
        except Exception as error:
            # Any class, of the store or of Ray: no row may wait for a hint, and whoever was known
            # may still serve the core.
            log.debug("owner_not_found", core=str(core), error=str(error))
        if at.bell is not None:
            at.look_not_before = later(now, self._owner_refresh_ms)
        return at.bell
