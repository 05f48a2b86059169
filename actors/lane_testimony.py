"""A deposed owner waits for the answers to what it handed over, and tells the lane of them.

A hint, and bounded: what cannot be told in a while stays uncertain, as it would have been.
"""

import asyncio
from collections.abc import Collection
from typing import Final

import structlog

from actors.receipt_desk import ReceiptDesk
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.lane.lane import Lane
from pipeline.lane_id import LaneId
from pipeline.later import CommandWriter
from pipeline.limits import TESTIMONY_TRIES_MAX, TESTIMONY_WAIT_MS_MAX

log = structlog.get_logger(__name__)

_MS_PER_S: Final = 1_000
_REPEAT_S: Final = 1.0


class LaneTestimony:
    """Of one lane."""

    def __init__(self, lane_id: LaneId, *, store: CommandWriter, desk: ReceiptDesk) -> None:
        self._lane_id = lane_id
        self._store = store
        self._desk = desk

    async def give(self, lane: Lane, hand_overs: Collection[asyncio.Task[None]]) -> None:
        """Tell what the owner knows, and once these have ended, or too late, what it heard."""
        await self._tell(lane)
        if hand_overs:
            await asyncio.wait(hand_overs, timeout=TESTIMONY_WAIT_MS_MAX / _MS_PER_S)
            await self._tell(lane)

    async def _tell(self, lane: Lane) -> None:
        commands, references = lane.take_testimony()
        if not commands:
            return
        for _ in range(TESTIMONY_TRIES_MAX):
            try:
                if references:
                    await self._desk.note(references)
                await self._store.write_commands(self._lane_id, commands)
            except (StoreUnavailable, WriteUnknown) as error:
                log.warning("testimony_unanswered", lane=str(self._lane_id), error=str(error))
                await asyncio.sleep(_REPEAT_S)
            else:
                log.info("testimony_given", lane=str(self._lane_id), messages=len(commands))
                return
        log.warning("testimony_lost", lane=str(self._lane_id), messages=len(commands))
