"""The verbs of `pipeline/later.py`, as `LocalStore` has them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

from cluster.local import timers
from cluster.local.core_file import CoreFile
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import TimerPage
from pipeline.message import TimerRow


class LaterVerbs(ABC):
    """For a store that knows its files."""

    async def write_timers(self, lane: LaneId, rows: Sequence[TimerRow]) -> None:
        """Write all rows in one atomic write; one that is there already changes nothing."""
        if rows:
            await self._of(lane).writer.write(
                partial(timers.write, lane=str(lane), rows=rows), row_count=len(rows)
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
        return await self._of(lane).reader.read(
            partial(
                timers.read_page,
                lane=str(lane),
                from_due=from_due,
                through_due=through_due,
                limit=limit,
                resume=resume,
            )
        )

    @abstractmethod
    def _of(self, lane: LaneId) -> CoreFile:
        """Return the file that holds a lane."""
