"""Looks, in the background, for rows that lanes have missed (docs/protocol.md, 5.8).

Every row below a lane's offset is looked at once in the life of a process, when it is old enough
that its slice is closed.  What it costs: a page of 2,048 rows and their folds, some milliseconds of
the store's reading thread, at most `MISSED_PAGES_PER_LOOK` times a look.
"""

from collections.abc import Mapping
from typing import Final

import structlog

from actors.lane_runner import LaneRunner
from pipeline.ingest.accept import core_of
from pipeline.instant import DurationMs, Instant, earlier
from pipeline.lane.missed import missed_rows
from pipeline.limits import MISSED_PAGES_PER_LOOK, READ_PAGE_ROWS_MAX, Windows
from pipeline.ports import Clock, LaneStore

log = structlog.get_logger(__name__)

_IDS_TOLD: Final = 5


class MissedRows:
    """One look after the other at the lanes of one scheduler."""

    def __init__(self, *, store: LaneStore, clock: Clock, windows: Windows) -> None:
        self._store = store
        self._clock = clock
        # A slice of the buffer is as long as one of the timers.
        self._closed_ms = DurationMs(windows.timer_slice_ms + windows.prompt_ms)
        self._looked_through: dict[str, Instant] = {}

    async def look(self, runners: Mapping[str, LaneRunner]) -> None:
        """Look at the next rows of each lane.  Raises `StoreUnavailable` and `WriteUnknown`."""
        pages_left = MISSED_PAGES_PER_LOOK
        for name in self._looked_through.keys() - runners.keys():
            del self._looked_through[name]
        # Who was looked at least comes first.
        order = sorted(runners, key=lambda name: self._looked_through.get(name, Instant(0)))
        for name in order:
            is_through = False
            while pages_left > 0 and not is_through:
                pages_left -= 1
                is_through = await self._look_at_page(name, runners[name])

    async def _look_at_page(self, name: str, runner: LaneRunner) -> bool:
        lane = runner.lane
        if lane is None or lane.is_fenced:
            return True
        closed = earlier(self._clock.now(), self._closed_ms)
        through = Instant(min(lane.resolved_through, closed) - 1)
        from_at = self._looked_through.get(name, Instant(0))
        if through < from_at:
            return True
        page = await self._store.read_buffer(
            runner.lane_id,
            from_at=from_at,
            through_at=through,
            limit=READ_PAGE_ROWS_MAX,
            resume=None,
        )
        if page.rows:
            known = lane.known_steps([row[1] for row in page.rows])
            keys = [(row[2], row[1]) for row in page.rows if row[1] not in known]
            folds = await self._store.read_folds(core_of(runner.lane_id), keys) if keys else {}
            missed = missed_rows(page.rows, known, folds)
            if missed:
                log.error(
                    "rows_missed",
                    lane=name,
                    count=len(missed),
                    messages=[row[0].hex() for row in missed[:_IDS_TOLD]],
                    what_is_done="they are written again, and looked up before anything is sent",
                )
                await self._store.write_buffer(runner.lane_id, missed)
                lane.note_missed(len(missed))
                runner.wake()
        # Of a full page the last rows are looked at again, as others may have the same `at`.
        is_whole = page.resume is None
        reached = through if is_whole or not page.rows else page.rows[-1][0]
        self._looked_through[name] = reached if reached > from_at else Instant(from_at + 1)
        return is_whole
