"""Who owns a lane, and what its owners appended.

The static `epoch` of a segment is the ownership: every write here is conditional on it, in the
partition that it protects.  A presence fences, never an absence: a missing partition, or one whose
cells have gone, refuses.  A value of null is never bound to a condition, as it would ask for just
that absence; opening a segment is the one statement that does, in its text.
"""

from typing import Final
from uuid import UUID

from cluster.scylla.keys import Kind
from cluster.scylla.verbs import Verbs
from pipeline.lane_id import LaneId
from pipeline.ports import JournalEntry, Ownership, Segment

_SEQ_END: Final = (1 << 63) - 1


class JournalVerbs(Verbs):
    """Of `LaneStore` and `QueryStore`."""

    async def read_ownership(self, lane: LaneId, segment: int) -> Ownership | None:
        """Return the segment's static cells, None where it was never opened.  Linearizable."""
        rows = await self._session.read("select_ownership", (self._segment(lane, segment),))
        if not rows or rows[0][0] is None:
            return None
        [(epoch, owner)] = rows
        return Ownership(epoch, owner)

    async def open_segment(self, lane: LaneId, segment: int, *, epoch: int, owner: bytes) -> bool:
        """Write the static cells if there are none; return whether it applied."""
        newest = await self.newest_segment(lane)
        # Of an old segment the cells may have gone; it is not opened again.
        if newest is not None and newest.number > segment:
            return False
        key = self._segment(lane, segment)
        return (await self._session.write_if("open_segment", (epoch, owner, key))).is_applied

    async def take_over(
        self, lane: LaneId, segment: int, *, expected_epoch: int, owner: bytes
    ) -> bool:
        """Set epoch to expected_epoch + 1 and owner if it is expected; return whether it was."""
        if expected_epoch <= 0:  # a closed segment is taken by nobody
            return False
        parameters = (expected_epoch + 1, owner, self._segment(lane, segment), expected_epoch)
        return (await self._session.write_if("take_over", parameters)).is_applied

    async def close_segment(self, lane: LaneId, segment: int, *, epoch: int) -> bool:
        """Set epoch to its negative if it is this one; return whether it was.

        From then on the cells age as the entries do.  Both are written for that, so the owner is
        read first; it cannot be another one while the epoch is this.
        """
        stands = await self.read_ownership(lane, segment)
        if stands is None or stands.epoch != epoch or epoch <= 0:
            return False
        key = self._segment(lane, segment)
        parameters = (self._entry_ttl_s, -epoch, stands.owner, key, epoch)
        return (await self._session.write_if("close_segment", parameters)).is_applied

    async def append(
        self, lane: LaneId, segment: int, *, epoch: int, seq: int, body: bytes
    ) -> bool:
        """Write the entry if the segment's epoch is this one; return whether it was."""
        if epoch <= 0:
            return False
        key = self._segment(lane, segment)
        done = await self._session.write_if(
            "append_entry", (self._entry_ttl_s, body, key, seq, epoch)
        )
        # Not applied though nobody else came: these bytes, or others, are there already.
        return done.is_applied or (
            done.stood.get("epoch") == epoch and done.stood.get("body") == body
        )

    async def read_journal(
        self, lane: LaneId, segment: int, *, before_seq: int | None, limit: int
    ) -> list[JournalEntry]:
        """Return up to `limit` entries with seq < before_seq (None: the newest), newest first."""
        end = _SEQ_END if before_seq is None else before_seq
        key = self._segment(lane, segment)
        rows = await self._session.read("select_entries", (key, end, limit))
        # A segment without entries is told as one row of its static cells.
        return [JournalEntry(seq, body) for seq, body in rows if seq is not None]

    async def newest_segment(self, lane: LaneId) -> Segment | None:
        """Return the newest segment that was opened, None where none was."""
        hint = await self.read_segment_hint(lane)
        number = max(hint - 1, 0)
        newest: Segment | None = None
        while True:
            stands = await self.read_ownership(lane, number)
            if stands is not None:
                newest = Segment(number, stands)
                if stands.epoch > 0:
                    return newest
            elif number >= hint:
                return newest
            number += 1

    async def write_segment_hint(self, lane: LaneId, segment: int) -> None:
        """Note that the segment is about to be opened; of two numbers the higher stays."""
        key = self._keys.of_lane(lane, Kind.HINT)
        await self._session.write("insert_hint", (key, segment, segment + 1))

    async def read_segment_hint(self, lane: LaneId) -> int:
        """Return the highest number that was noted, 0 if none was."""
        rows = await self._session.read("select_hint", (self._keys.of_lane(lane, Kind.HINT),))
        return rows[0][0] if rows else 0

    @property
    def _entry_ttl_s(self) -> int:
        return self._windows.journal_ttl_ms // 1_000

    def _segment(self, lane: LaneId, segment: int) -> UUID:
        return self._keys.of_lane(lane, Kind.SEGMENT, segment)
