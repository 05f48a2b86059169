"""Rows of `timers`: what is due later, in slices of the time when it is.

Of two rows of one (due_at, id, attempt) the first counts, and the server says which that is; so a
row more than one of them is there to be passed over, and a page ends behind all of its last key's.
"""

from collections.abc import Sequence
from typing import Final

from cluster.scylla.far_timers import FarTimerVerbs
from cluster.scylla.keys import Kind
from cluster.scylla.spans import SLICE_US, SpanVerbs
from cluster.scylla.verbs import all_of
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import TimerPage
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import MessageId, PartitionKey, TimerRow

_DUE_BYTES: Final = 8
_ATTEMPT_BYTES: Final = 4


class TimerVerbs(SpanVerbs, FarTimerVerbs):
    """Of `IngestStore` and `LaneStore`."""

    async def write_timers(self, lane: LaneId, rows: Sequence[TimerRow]) -> None:
        """Write all rows, those of one slice in one atomic write; one that is there stays.

        A call that failed may have written some slices; a repeat writes the rest.
        """
        now = self._clock.now()
        await self._note_far(Core(lane.node, lane.shard), rows, now=now)
        slices: dict[int, list[TimerRow]] = {}
        for row in rows:
            slices.setdefault(row[0] // SLICE_US, []).append(row)
        await all_of(
            self._write_slice(lane, number, part, now=now) for number, part in slices.items()
        )

    async def _write_slice(
        self, lane: LaneId, number: int, rows: Sequence[TimerRow], *, now: Instant
    ) -> None:
        life_s = self._life_s(Instant((number + 1) * SLICE_US), now)
        key = await self._note_slice(lane, Kind.TIMERS, number, life_s=life_s)
        await self._session.write_batch(
            "insert_timer",
            [
                (key, due_at, id_, attempt, pk, born, group, life_s)
                for due_at, id_, pk, born, attempt, group in rows
            ],
        )

    async def read_timers(
        self,
        lane: LaneId,
        *,
        from_due: Instant,
        through_due: Instant,
        limit: int,
        resume: bytes | None,
    ) -> TimerPage:
        """Return rows with from_due <= due_at < through_due in order of (due_at, id, attempt)."""
        # Smaller than any row of that time.
        after = (from_due, b"", -1) if resume is None else _place_of(resume)
        found: dict[tuple[Instant, bytes, int], TimerRow] = {}
        slices = self._slices(
            lane,
            Kind.TIMERS,
            first=after[0] // SLICE_US,
            last=(through_due - 1) // SLICE_US,
        )
        async for number in slices:
            wanted = limit + 1 - len(found)
            place = after
            while wanted > 0:
                rows = await self._session.read(
                    "select_timers",
                    (self._keys.of_lane(lane, Kind.TIMERS, number), *place, through_due, wanted),
                )
                for due_at, id_, pk, born, attempt, group in rows:
                    place = (due_at, id_, attempt)
                    timer = (due_at, MessageId(id_), PartitionKey(pk), born, attempt, group)
                    found.setdefault(place, timer)
                if len(rows) < wanted:
                    break
                wanted = limit + 1 - len(found)
            if len(found) > limit:
                break
        keys = list(found)
        end = _resume_at(keys[limit - 1]) if len(keys) > limit else None
        return TimerPage([found[key] for key in keys[:limit]], end)

    def _life_s(self, due_at: Instant, now: Instant) -> int:
        """Return how long a timer lives: until it is due, and as long again as a buffer's row.

        What is due later than anybody may ask for lives as if it were asked for.
        """
        wait_ms = min(max(0, due_at - now) // 1_000, SCHEDULE_MS_MAX)
        return (wait_ms + self._windows.buffer_ttl_ms) // 1_000


def _resume_at(key: tuple[Instant, bytes, int]) -> bytes:
    due_at, id_, attempt = key
    return due_at.to_bytes(_DUE_BYTES) + attempt.to_bytes(_ATTEMPT_BYTES) + id_


def _place_of(resume: bytes) -> tuple[Instant, bytes, int]:
    due, rest = resume[:_DUE_BYTES], resume[_DUE_BYTES:]
    attempt, id_ = rest[:_ATTEMPT_BYTES], rest[_ATTEMPT_BYTES:]
    return Instant(int.from_bytes(due)), id_, int.from_bytes(attempt)
