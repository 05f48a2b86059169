"""The questions of `pipeline/later.py`, as `LocalQueries` answers them."""

import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from cluster.local import buffer, commands, listing, receipts, suppressions, timers
from cluster.topology.generation import Core, Generation
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import CommandResult, GroupOrder, MessageOutcome, ReceiptRow, SuppressionRow
from pipeline.message import MessageId, TimerRow

ResultT = TypeVar("ResultT")

# A file of version 1 has none of these tables, and nobody was ever told of a row in them.
_SCHEMA: Final = 2


class LaterQuestions(ABC):
    """For queries that know their files."""

    _generation: Generation
    _restored_at: Instant | None

    async def read_restored_at(self) -> Instant | None:
        """Return when the data folder was restored from a backup, None if it was not."""
        return self._restored_at

    async def timers_of(self, lane: LaneId, message_id: MessageId) -> list[TimerRow]:
        """Return the timers of a message, first due first; also those that were resolved."""
        read = partial(timers.of_message, lane=str(lane), message_id=message_id)
        return await self._read(core_of(lane), read, [], since_schema=_SCHEMA)

    async def count_timers(self, lane: LaneId, *, from_due: Instant) -> Mapping[str, int]:
        """Return the number of timers of first attempts with due_at >= from_due, by group key."""
        read = partial(timers.count_first, lane=str(lane), from_due=from_due)
        return await self._read(core_of(lane), read, {}, since_schema=_SCHEMA)

    async def count_untold_timers(self, lane: LaneId) -> Mapping[str, int]:
        """Return how many messages wait for their first time, by group key: no event names them."""
        read = partial(timers.count_untold, lane=str(lane))
        return await self._read(core_of(lane), read, {}, since_schema=_SCHEMA)

    async def count_accepted(self, lane: LaneId) -> Mapping[str, int]:
        """Return how many messages the buffer and the timers hold together, by group key."""
        read = partial(_count_accepted, lane=str(lane))
        return await self._read(core_of(lane), read, {}, since_schema=_SCHEMA)

    async def read_results(self, core: Core, command_ids: Sequence[bytes]) -> list[CommandResult]:
        """Return the results that lanes of the core wrote, in order of (command, lane)."""
        read = partial(commands.read_results, command_ids=command_ids)
        return await self._read(core, read, [], since_schema=_SCHEMA)

    async def read_group_orders(self, core: Core) -> list[GroupOrder]:
        """Return the orders that hold, in order of (group, family)."""
        return await self._read(core, commands.read_group_orders, [], since_schema=_SCHEMA)

    async def receipts_of(self, message_id: MessageId) -> list[ReceiptRow]:
        """Return the rows of every reference that an owner knows as this message's."""
        read = partial(receipts.of_message, message_id=message_id)
        found: list[ReceiptRow] = []
        for core in self._generation.cores:
            found += await self._read(core, read, [], since_schema=_SCHEMA)
        return found

    async def suppressions(
        self, tenant: str, *, limit: int, after: bytes | None
    ) -> tuple[list[SuppressionRow], bytes | None]:
        """Return a page of a tenant's suppressions, and where the next begins; None: the last.

        Core by core; where a page ended is (number of the core, the last key).
        """
        cores = self._generation.cores
        core_no, last = (0, b"") if after is None else (after[0], after[1:])
        page: list[SuppressionRow] = []
        while core_no < len(cores):
            room = limit - len(page)
            read = partial(suppressions.of_tenant, tenant=tenant, after=last, limit=room + 1)
            none: list[SuppressionRow] = []
            found = await self._read(cores[core_no], read, none, since_schema=_SCHEMA)
            page += found[:room]
            if len(found) > room:
                return page, bytes([core_no]) + (found[room - 1].key if room else last)
            core_no, last = core_no + 1, b""
        return page, None

    async def outcomes_in_group(
        self, group: str, *, limit: int, after: bytes | None
    ) -> tuple[list[MessageOutcome], bytes | None]:
        """Return a page of the messages of a group key, and where the next begins; None: the last.

        Of one core; where it ended is (number of the core, place in its file).
        """
        cores = self._generation.cores
        core_no, place = (0, b"") if after is None else (after[0], after[1:])
        while core_no < len(cores):
            read = partial(listing.outcomes_in_group, group=group, limit=limit, after=place)
            nothing: tuple[list[MessageOutcome], bytes | None] = ([], None)
            page, end = await self._read(cores[core_no], read, nothing)
            if end is not None:
                return page, bytes([core_no]) + end
            core_no, place = core_no + 1, b""
            if page:
                return page, bytes([core_no]) if core_no < len(cores) else None
        return [], None

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


def _count_accepted(connection: sqlite3.Connection, *, lane: str) -> Mapping[str, int]:
    groups = dict(timers.first_ids(connection, lane=lane))
    groups.update(buffer.groups_of(connection, lane=lane, from_at=Instant(0)))
    return Counter(groups.values())


def core_of(lane: LaneId) -> Core:
    """Return the core whose file holds a lane."""
    return Core(lane.node, lane.shard)
