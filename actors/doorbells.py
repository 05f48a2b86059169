"""Ringing the schedulers' doorbells: hints that rows were accepted, with the rows.

One call is under way to each scheduler; what comes meanwhile goes with the next one, so that the
batches grow by themselves under load.  What does not fit is dropped: the buffer is the truth, the
lane's cursor comes by.  A lane that lags says so, and is left alone for a while.

A core has one scheduler, or several while its lanes are split.  Whoever says last that it serves
the core is rung; if it knows that another one works on the lane, the rows go there once more, and
what comes for the lane goes there at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from cluster.topology.generation import Core
from pipeline.ingest.doorbell import Heard, LaneRows, encode_doorbell
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

    async def ring(self, doorbell: bytes) -> Heard:
        """Deliver; return which lanes lag, and which others work on; raises if it is gone."""
        ...


@dataclass(slots=True)
class _Line:
    """The way to one scheduler."""

    name: str  # of the actor; empty: whoever beats last
    pending: list[tuple[LaneRows, bool]] = field(default_factory=list)  # and: was it sent on
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
        self._lines: dict[tuple[Core, str], _Line] = {}
        self._owners: dict[str, str] = {}  # lane -> actor name, of those that were found elsewhere
        self._quiet_until: dict[str, Instant] = {}
        self.dropped_count = 0

    def ring(self, core: Core, rows: LaneRows) -> None:
        """Leave rows for the scheduler of their lane.  Never waits, never fails."""
        if self._clock.now() < self._quiet_until.get(rows.lane, 0):
            self.dropped_count += len(rows.message_ids)
        else:
            self._leave(core, rows, is_sent_on=False)

    async def close(self) -> None:
        """Stop ringing."""
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, core: Core, rows: LaneRows, *, is_sent_on: bool) -> None:
        name = self._owners.get(rows.lane, "")
        line = self._lines.setdefault((core, name), _Line(name))
        count = len(rows.message_ids)
        size = sum(map(len, rows.bodies))
        if (
            line.pending_count + count > DOORBELL_MESSAGES_MAX
            or line.pending_bytes + size > DOORBELL_BYTES_MAX
        ):
            self.dropped_count += count
            return
        line.pending.append((rows, is_sent_on))
        line.pending_count += count
        line.pending_bytes += size
        if line.task is None:
            line.task = asyncio.get_running_loop().create_task(self._deliver(core, line))

    async def _deliver(self, core: Core, line: _Line) -> None:
        try:
            while line.pending:
                bell = await self._bell_of(core, line)
                rung, line.pending = line.pending, []
                count, line.pending_count, line.pending_bytes = line.pending_count, 0, 0
                if bell is None:
                    self._forget(core, line)
                    self.dropped_count += count
                    continue
                try:
                    heard = await bell.ring(encode_doorbell([rows for rows, _ in rung]))
                except Exception as error:
                    # Any class, as the other process's own errors come over Ray: a hint is lost,
                    # that is all, and the next one looks for the new owner.
                    log.debug("doorbell_lost", actor=line.bell_name, error=str(error))
                    self._forget(core, line)
                    line.look_not_before = later(self._clock.now(), OWNER_LOOK_INTERVAL_MS_MIN)
                    self.dropped_count += count
                    continue
                quiet_until = later(self._clock.now(), DOORBELL_QUIET_MS)
                self._quiet_until.update(dict.fromkeys(heard.lagging, quiet_until))
                if heard.elsewhere:
                    self._send_on(core, rung, heard)
        finally:
            line.task = None

    def _send_on(self, core: Core, rung: Sequence[tuple[LaneRows, bool]], heard: Heard) -> None:
        self._owners.update(heard.elsewhere)
        for rows, was_sent_on in rung:
            if rows.lane in heard.elsewhere:
                # Once: two that each believe in the other would play ball with it.
                if was_sent_on:
                    self.dropped_count += len(rows.message_ids)
                else:
                    self._leave(core, rows, is_sent_on=True)

    def _forget(self, core: Core, line: _Line) -> None:
        """The scheduler is gone: its lanes are looked for where the core's doorbell is."""
        line.bell = None
        if line.name:
            self._lines.pop((core, line.name), None)
            self._owners = {lane: name for lane, name in self._owners.items() if name != line.name}

    async def _bell_of(self, core: Core, line: _Line) -> Bell | None:
        now = self._clock.now()
        if now < line.look_not_before:
            return line.bell
        line.look_not_before = later(now, OWNER_LOOK_INTERVAL_MS_MIN)
        try:
            name = line.name or await self._newest(core)
            if name is None:
                line.bell = None
                return None
            if line.bell is None or name != line.bell_name:
                line.bell, line.bell_name = await self._find_bell(name), name
        except Exception as error:
            # Any class, of the store or of Ray: no row may wait for a hint, and whoever was known
            # may still serve the core.
            log.debug("owner_not_found", core=str(core), error=str(error))
        if line.bell is not None:
            line.look_not_before = later(now, self._owner_refresh_ms)
        return line.bell

    async def _newest(self, core: Core) -> str | None:
        beats = [beat for beat in await self._read_owners(core) if beat.value != GONE]
        # Only a guess at who serves the core now: a wrong one loses hints, no messages.
        return max(beats, key=lambda beat: beat.value).actor_name if beats else None
