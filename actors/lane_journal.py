"""Appends to the journal of a lane under one epoch, through the segments that it goes on in.

Whether an entry begins a segment is decided by the lane, how a segment is followed by the next in
`pipeline.lane.rolling`.  Here both are asked of the store again and again until it has answered.
"""

import asyncio
from typing import Final, assert_never

import structlog

from cluster.topology.generation import Core
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.lane.actions import Append
from pipeline.lane.rolling import Roll, RollStep
from pipeline.lane.takeover import GONE, Mine
from pipeline.lane_id import LaneId
from pipeline.ports import LaneStore

log = structlog.get_logger(__name__)

_REPEAT_S: Final = 0.05


class LaneJournal:
    """The journal of a lane that is ours.  One append is under way at a time."""

    def __init__(self, lane_id: LaneId, held: Mine, *, owner: bytes, store: LaneStore) -> None:
        self._lane_id = lane_id
        self._segment = held.segment
        self._epoch = held.epoch
        self._owner = owner
        self._store = store

    async def append(self, append: Append) -> bool:
        """Append the entry; return False if another owner has the lane."""
        if append.begins_segment and not await self._roll():
            return False
        while True:
            try:
                return await self._store.append(
                    self._lane_id,
                    self._segment,
                    epoch=self._epoch,
                    seq=append.seq,
                    body=append.body,
                )
            except (StoreUnavailable, WriteUnknown) as error:
                # The same bytes again, until the answer is definite.
                log.warning("append_unanswered", lane=str(self._lane_id), error=str(error))
                await asyncio.sleep(_REPEAT_S)

    async def give(self, heir: bytes, *, core: Core) -> bool:
        """Make another process the owner of a lane that is drained; return whether it is now.

        One conditional write, as when a lane is stolen: afterwards the heir finds itself the owner,
        and nobody waits for anybody's silence.  Not done for an heir that does not live, by its
        heartbeat; if it dies all the same, its lanes are taken as those of everybody who dies.
        """
        store, lane = self._store, self._lane_id
        while True:
            try:
                beats = {beat.owner: beat.value for beat in await store.read_owners(core)}
                if beats.get(heir, GONE) == GONE:
                    return False
                if await store.take_over(
                    lane, self._segment, expected_epoch=self._epoch, owner=heir
                ):
                    return True
                # An attempt whose answer was lost may have applied; or another one stole it.
                ownership = await store.read_ownership(lane, self._segment)
                return ownership is not None and ownership.owner == heir
            except (StoreUnavailable, WriteUnknown) as error:
                # The same write again, until its answer is definite.
                log.warning("gift_unanswered", lane=str(lane), error=str(error))
                await asyncio.sleep(_REPEAT_S)

    async def _roll(self) -> bool:
        """Go on in the next segment; return False if another owner has the lane."""
        roll = Roll(self._segment, epoch=self._epoch, owner=self._owner)
        while not roll.is_over:
            try:
                await self._take_step(roll)
            except (StoreUnavailable, WriteUnknown) as error:
                # The same step again, until the answer is definite.
                log.warning(
                    "roll_unanswered", lane=str(self._lane_id), step=roll.step, error=str(error)
                )
                await asyncio.sleep(_REPEAT_S)
        if roll.step is RollStep.FENCED:
            return False
        self._segment = roll.next_segment
        log.info("segment_begun", lane=str(self._lane_id), segment=self._segment)
        return True

    async def _take_step(self, roll: Roll) -> None:
        store, lane = self._store, self._lane_id
        match roll.step:
            case RollStep.HINT:
                await store.write_segment_hint(lane, roll.next_segment)
                roll.on_hinted()
            case RollStep.CLOSE:
                is_applied = await store.close_segment(lane, roll.segment, epoch=roll.epoch)
                roll.on_written(is_applied=is_applied)
            case RollStep.LOOK_AT_CLOSED:
                roll.on_cells(await store.read_ownership(lane, roll.segment))
            case RollStep.OPEN:
                is_applied = await store.open_segment(
                    lane, roll.next_segment, epoch=roll.epoch, owner=roll.owner
                )
                roll.on_written(is_applied=is_applied)
            case RollStep.LOOK_AT_OPENED:
                roll.on_cells(await store.read_ownership(lane, roll.next_segment))
            case RollStep.ROLLED | RollStep.FENCED:
                raise AssertionError(roll.step)
            case step:
                assert_never(step)
