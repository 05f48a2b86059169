"""Rows of `buffer` and `commands`: what was submitted to a lane, in the order of the server's time.

`at` is the coordinator's `now()`.  The partition is forged for the lane's core and the session
sends to its owner alone, so that all of a lane comes from one clock.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cluster.scylla.instants import instant_of
from cluster.scylla.keys import Kind
from cluster.scylla.spans import SLICE_US, SpanVerbs
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import CommandEntry, CommandPage
from pipeline.message import BufferEntry
from pipeline.ports import BufferPage

_MS: Final = 1_000


class BufferVerbs(SpanVerbs):
    """Of `IngestStore` and `LaneStore`."""

    async def write_buffer(self, lane: LaneId, rows: Sequence[BufferEntry]) -> None:
        """Append all rows in one atomic write; never retried by the store itself."""
        if rows:
            key = await self._slice_of_now(lane, Kind.BUFFER)
            await self._session.write_batch(
                "insert_buffer",
                [
                    (key, id_, pk, born, attempt, due_at, group)
                    for id_, pk, born, attempt, due_at, group in rows
                ],
            )

    async def write_commands(self, lane: LaneId, entries: Sequence[CommandEntry]) -> None:
        """Append all entries in one atomic write, in their order."""
        if entries:
            key = await self._slice_of_now(lane, Kind.COMMANDS)
            await self._session.write_batch("insert_command", [(key, *entry) for entry in entries])

    async def read_buffer(
        self,
        lane: LaneId,
        *,
        from_at: Instant,
        through_at: Instant,
        limit: int,
        resume: bytes | None,
    ) -> BufferPage:
        """Return rows with from_at <= at <= through_at in order; pages may be short or empty."""
        rows, place = await self._read_span(
            "select_buffer",
            lane,
            Kind.BUFFER,
            from_at=from_at,
            through_at=through_at,
            limit=limit,
            resume=resume,
        )
        return BufferPage([(instant_of(at), *row) for at, *row in rows], place)

    async def read_commands(
        self,
        lane: LaneId,
        *,
        from_at: Instant,
        through_at: Instant,
        limit: int,
        resume: bytes | None,
    ) -> CommandPage:
        """Return rows with from_at <= at <= through_at in order; pages may be short or empty."""
        rows, place = await self._read_span(
            "select_commands",
            lane,
            Kind.COMMANDS,
            from_at=from_at,
            through_at=through_at,
            limit=limit,
            resume=resume,
        )
        return CommandPage([(instant_of(at), CommandEntry(*row)) for at, *row in rows], place)

    async def horizon(self, lane: LaneId) -> Instant:
        """Return the time of the server that owns the lane, less W + epsilon."""
        host = self._session.metadata.get_host_by_host_id(UUID(lane.node))
        # Where the owner is down another one's clock is as good, to within epsilon.
        asked = host if host is not None and host.is_up else None
        [(at,)] = await self._session.read("select_now", (), host=asked)
        windows = self._windows
        margin_ms = windows.write_deadline_ms + windows.clock_skew_ms_max
        return Instant(instant_of(at) - margin_ms * _MS)

    async def _slice_of_now(self, lane: LaneId, kind: Kind) -> UUID:
        number = self._clock.now() // SLICE_US
        life_s = self._windows.buffer_ttl_ms // _MS
        return await self._note_slice(lane, kind, number, life_s=life_s)
