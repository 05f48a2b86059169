"""The questions of `pipeline/later.py`, as `LocalQueries` answers them."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from cluster.local import commands, timers
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import CommandResult, GroupOrder
from pipeline.message import MessageId, TimerRow

ResultT = TypeVar("ResultT")

# A file of version 1 has none of these tables, and nobody was ever told of a row in them.
_SCHEMA: Final = 2


class LaterQuestions(ABC):
    """For queries that know their files."""

    async def timers_of(self, lane: LaneId, message_id: MessageId) -> list[TimerRow]:
        """Return the timers of a message, first due first; also those that were resolved."""
        read = partial(timers.of_message, lane=str(lane), message_id=message_id)
        return await self._read(core_of(lane), read, [], since_schema=_SCHEMA)

    async def count_timers(self, lane: LaneId, *, from_due: Instant) -> Mapping[str, int]:
        """Return the number of timers of first attempts with due_at >= from_due, by group key."""
        read = partial(timers.count_first, lane=str(lane), from_due=from_due)
        return await self._read(core_of(lane), read, {}, since_schema=_SCHEMA)

    async def read_results(self, core: Core, command_ids: Sequence[bytes]) -> list[CommandResult]:
        """Return the results that lanes of the core wrote, in order of (command, lane)."""
        read = partial(commands.read_results, command_ids=command_ids)
        return await self._read(core, read, [], since_schema=_SCHEMA)

    async def read_group_orders(self, core: Core) -> list[GroupOrder]:
        """Return the orders that hold, in order of (group, family)."""
        return await self._read(core, commands.read_group_orders, [], since_schema=_SCHEMA)

    @abstractmethod
    async def _read(
        self,
        core: Core,
        operation: Callable[[sqlite3.Connection], ResultT],
        nothing: ResultT,
        *,
        since_schema: int = 1,
    ) -> ResultT:
        """Read a core's file; return `nothing` if it has no tables of that version."""


def core_of(lane: LaneId) -> Core:
    """Return the core whose file holds a lane."""
    return Core(lane.node, lane.shard)
