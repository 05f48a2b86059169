"""Spans of a lane's time, over the partitions that hold it.

The rows of a lane lie in slices, one partition for each span of time.  Which slice a writer takes
is told by its own clock, before it writes; the time of a row is given by the server that takes it.
So a row may lie in the slice before that of its time, and near a border the rows of two slices are
mixed: reading goes from slice to slice and holds back what the next one may still come before.
"""

from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple
from uuid import UUID

from cluster.scylla.instants import instant_of, last_before, last_of, order_of
from cluster.scylla.keys import Kind
from cluster.scylla.verbs import Verbs
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.lane_id import LaneId

SLICE_US: Final = 60_000_000

# What a row's time may be behind its slice.  Its writer has given up before that.
_LATE_US: Final = SLICE_US
_LISTED_AT_ONCE: Final = 256
_NUMBER_MAX: Final = (1 << 63) - 1
# How many slices a process remembers that it has noted; one for each lane that it writes to.
_NOTED_MAX: Final = 65_536


class _Noted(NamedTuple):
    lane: LaneId
    kind: Kind
    number: int


class SpanVerbs(Verbs):
    """Notes slices, and reads over them."""

    _noted: dict[_Noted, None] | None = None

    async def _note_slice(self, lane: LaneId, kind: Kind, number: int, *, life_s: int) -> UUID:
        """Return the key of a slice that is known to whoever reads the lane.

        Raises `StoreUnavailable` if it may not be.
        """
        noted = self._noted if self._noted is not None else {}
        self._noted = noted
        mark = _Noted(lane, kind, number)
        if mark not in noted:
            key = self._keys.of_lane(lane, Kind.SLICES)
            # As long as the rows, and longer than any that is written while it is remembered.
            life_s += 2 * SLICE_US // 1_000_000
            try:
                await self._session.write("insert_slice", (key, int(kind), number, life_s))
            except WriteUnknown as error:
                # Whether it is noted is unknown; but of the rows certainly none was written.
                raise StoreUnavailable(str(error)) from error
            if len(noted) >= _NOTED_MAX:
                del noted[next(iter(noted))]
            noted[mark] = None
        return self._keys.of_lane(lane, kind, number)

    async def _slices(
        self, lane: LaneId, kind: Kind, *, first: int, last: int
    ) -> AsyncIterator[int]:
        """Yield the numbers of the slices that were noted, in order."""
        key = self._keys.of_lane(lane, Kind.SLICES)
        while True:
            rows = await self._session.read(
                "select_slices", (key, int(kind), first, min(last, _NUMBER_MAX), _LISTED_AT_ONCE)
            )
            for (number,) in rows:
                yield number
            if len(rows) < _LISTED_AT_ONCE:
                return
            first = rows[-1][0] + 1

    async def _read_span(
        self,
        statement: str,
        lane: LaneId,
        kind: Kind,
        *,
        from_at: Instant,
        through_at: Instant,
        limit: int,
        resume: bytes | None,
    ) -> tuple[list[tuple[Any, ...]], bytes | None]:
        """Return rows, which begin with their `at`, in order, and where the next page begins."""
        after = last_before(from_at) if resume is None else UUID(bytes=resume)
        through = last_of(through_at)
        start = instant_of(after) if resume is not None else from_at
        skew_us = self._windows.clock_skew_ms_max * 1_000
        rows: list[tuple[Any, ...]] = []
        slices = self._slices(
            lane,
            kind,
            first=max(0, (start - _LATE_US - skew_us) // SLICE_US),
            last=(through_at + skew_us) // SLICE_US,
        )
        async for number in slices:
            # Nothing of this slice, or of later ones, can come before what is read of the page.
            if len(rows) > limit and instant_of(rows[limit][0]) < number * SLICE_US - skew_us:
                break
            part = await self._session.read(
                statement, (self._keys.of_lane(lane, kind, number), after, through, limit + 1)
            )
            if part:
                rows += part
                rows.sort(key=lambda row: order_of(row[0]))
                del rows[limit + 1 :]
        place = rows[limit - 1][0].bytes if len(rows) > limit else None
        return rows[:limit], place
