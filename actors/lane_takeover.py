"""Takes a lane over and reads back what its owners journaled (docs/protocol.md, 5.2).

Whether to take it is decided in `pipeline.lane.takeover`, how far back to read in
`pipeline.lane.recovery`.  Here both are asked again and again until the store has answered.
"""

import asyncio
from contextlib import suppress
from typing import Final, assert_never

import structlog

from cluster.topology.generation import Generation
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.ingest.accept import core_of
from pipeline.instant import Instant, earlier
from pipeline.lane.recovery import JournalReadBack, Recovered
from pipeline.lane.takeover import GONE, Mine, Open, OwnerWatch, Steal, Wait, decide_takeover
from pipeline.lane_id import LaneId
from pipeline.limits import JOURNAL_PAGE_ENTRIES_MAX, Windows
from pipeline.ports import Clock, LaneStore

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S: Final = 0.2
# A living owner is left alone, and need not be looked at as often: whom it hands the lane to hears.
_LOOK_AGAIN_S_MAX: Final = 0.5


class LaneTakeover:
    """The way of one process to one lane."""

    def __init__(
        self,
        lane_id: LaneId,
        *,
        windows: Windows,
        me: bytes,
        platform: bytes,
        store: LaneStore,
        clock: Clock,
        watch: OwnerWatch,
        generation: Generation,
    ) -> None:
        self._lane_id = lane_id
        self._core = core_of(lane_id)
        self._windows = windows
        self._me = me
        self._platform = platform
        self._store = store
        self._clock = clock
        self._watch = watch
        self._generation = generation
        self._is_given_up = False
        self._look = asyncio.Event()
        self.owner_seen: bytes | None = None
        """Who owned the lane when it was last looked at."""
        self.is_after_crash = False
        """Whether its owner before crashed, for all that is known: it did not say that it ended."""

    def give_up(self) -> None:
        """Take nothing any more.  What is ours already stays ours."""
        self._is_given_up = True
        self._look.set()

    def look_again(self) -> None:
        """Look at the lane at once: it may be ours, or free."""
        self._look.set()

    async def take(self) -> Mine | None:
        """Return as what the lane is ours, None if it was given up first."""
        held = await self._take()
        if held is not None:
            self.owner_seen = self._me
        return held

    async def _take(self) -> Mine | None:
        store, lane = self._store, self._lane_id
        pause_s = _LOOK_AGAIN_S
        while not self._is_given_up:
            self._look.clear()
            try:
                newest = await store.newest_segment(lane)
                self.owner_seen = None if newest is None else newest.ownership.owner
                boot_us, is_crash = self._clock.reading().boot_us, False
                if newest is not None and newest.ownership.owner != self._me:
                    owner = newest.ownership.owner
                    beats = {beat.owner: beat.value for beat in await store.read_owners(self._core)}
                    is_crash = beats.get(owner) != GONE
                    boot_us = self._clock.reading().boot_us
                    self._watch.observe(owner, beats.get(owner), boot_us=boot_us)
                match decide_takeover(
                    newest,
                    me=self._me,
                    platform=self._platform,
                    watch=self._watch,
                    boot_us=boot_us,
                ):
                    case Mine() as held:
                        return held
                    case Open(segment, epoch):
                        self.is_after_crash = is_crash
                        if await store.open_segment(lane, segment, epoch=epoch, owner=self._me):
                            return Mine(segment, epoch)
                    case Steal(segment, expected):
                        self.is_after_crash = is_crash
                        if await store.take_over(
                            lane, segment, expected_epoch=expected, owner=self._me
                        ):
                            return Mine(segment, expected + 1)
                    case Wait():
                        with suppress(TimeoutError):
                            async with asyncio.timeout(pause_s):
                                await self._look.wait()
                        pause_s = min(2 * pause_s, _LOOK_AGAIN_S_MAX)
                    case other:
                        assert_never(other)
            except (StoreUnavailable, WriteUnknown) as error:
                # Unknown: the next look says whether it applied.
                log.warning("takeover_unanswered", lane=str(lane), error=str(error))
                await asyncio.sleep(_LOOK_AGAIN_S)
        return None

    async def recover(self, held: Mine) -> Recovered:
        """Return what must be known of the lane's past, once the store has given all of it."""
        read_back = JournalReadBack(
            newest_segment=held.segment,
            first_offset=earlier(
                Instant(self._generation.starts_at),
                self._windows.write_deadline_ms + 2 * self._windows.clock_skew_ms_max,
            ),
        )
        while not read_back.is_complete:
            try:
                page = await self._store.read_journal(
                    self._lane_id,
                    read_back.segment,
                    before_seq=read_back.before_seq,
                    limit=JOURNAL_PAGE_ENTRIES_MAX,
                )
            except StoreUnavailable as error:
                log.warning("recovery_waits", lane=str(self._lane_id), error=str(error))
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            read_back.on_entries(page, limit=JOURNAL_PAGE_ENTRIES_MAX)
        while True:
            try:
                return read_back.result(
                    restored_at=await self._store.read_restored_at(),
                    is_after_crash=self.is_after_crash,
                )
            except StoreUnavailable as error:
                log.warning("recovery_waits", lane=str(self._lane_id), error=str(error))
                await asyncio.sleep(_LOOK_AGAIN_S)
