"""The verbs of `pipeline/later.py`, as `LocalStore` has them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

from cluster.local import commands, editions, receipts, suppressions, timers
from cluster.local.core_file import CoreFile
from cluster.local.disk_room import DiskRoom
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import (
    CommandEntry,
    CommandPage,
    CommandResult,
    EditionKey,
    EditionRow,
    GroupOrder,
    ReceiptRow,
    SuppressionRow,
    TimerPage,
)
from pipeline.message import TimerRow


class LaterVerbs(ABC):
    """For a store that knows its files."""

    _disk: DiskRoom
    _restored_at: Instant | None

    async def read_restored_at(self) -> Instant | None:
        """Return when the data folder was restored from a backup, None if it was not."""
        return self._restored_at

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

    async def write_commands(self, lane: LaneId, entries: Sequence[CommandEntry]) -> None:
        """Append all entries to the lane's commands in one atomic write, in their order."""
        if entries:
            self._disk.refuse_if_low()
            await self._of(lane).writer.write(
                partial(commands.write, lane=str(lane), entries=entries), row_count=len(entries)
            )

    async def read_commands(
        self,
        lane: LaneId,
        *,
        from_at: Instant,
        through_at: Instant,
        limit: int,
        resume: bytes | None,
    ) -> CommandPage:
        """Return rows with from_at <= at <= through_at in order."""
        return await self._of(lane).reader.read(
            partial(
                commands.read_page,
                lane=str(lane),
                from_at=from_at,
                through_at=through_at,
                limit=limit,
                resume=resume,
            )
        )

    async def write_editions(self, core: Core, rows: Sequence[EditionRow]) -> None:
        """Note what messages would hold if they were edited; it counts once it is confirmed."""
        if rows:
            await self._file(core).writer.write(
                partial(editions.write, rows=rows), row_count=len(rows)
            )

    async def confirm_editions(self, core: Core, keys: Sequence[EditionKey]) -> None:
        """Let these editions count; of two of one message the later stays."""
        if keys:
            await self._file(core).writer.write(
                partial(editions.confirm, keys=keys), row_count=len(keys)
            )

    async def write_results(self, core: Core, rows: Sequence[CommandResult]) -> None:
        """Write what became of commands; of two of one (command, lane) the later stays."""
        if rows:
            await self._file(core).writer.write(
                partial(commands.write_results, rows=rows), row_count=len(rows)
            )

    async def read_results(self, core: Core, command_ids: Sequence[bytes]) -> list[CommandResult]:
        """Return the results that lanes of the core wrote, in order of (command, lane)."""
        return await self._file(core).reader.read(
            partial(commands.read_results, command_ids=command_ids)
        )

    async def put_group_order(self, core: Core, order: GroupOrder) -> None:
        """Note what holds for a group, for lanes of this core."""
        await self._file(core).writer.write(partial(commands.put_group_order, order=order))

    async def read_group_orders(self, core: Core) -> list[GroupOrder]:
        """Return the orders that hold, in order of (group, family)."""
        return await self._file(core).reader.read(commands.read_group_orders)

    async def write_receipts(self, core: Core, rows: Sequence[ReceiptRow]) -> None:
        """Write rows; one whose (ref, side, key) is there stays as it is."""
        if rows:
            await self._file(core).writer.write(
                partial(receipts.write, rows=rows), row_count=len(rows)
            )

    async def read_receipts(self, core: Core, refs: Sequence[bytes]) -> list[ReceiptRow]:
        """Return the rows of these references, in order of (ref, side, key)."""
        return await self._file(core).reader.read(partial(receipts.read, refs=refs))

    async def put_suppressions(self, core: Core, rows: Sequence[SuppressionRow]) -> None:
        """Note suppressions; of what is told of one key the latest stays."""
        if rows:
            await self._file(core).writer.write(
                partial(suppressions.put, rows=rows), row_count=len(rows)
            )

    async def remove_suppressions(self, core: Core, keys: Sequence[bytes], *, at: Instant) -> None:
        """Let these keys be suppressed no longer, unless they are since a later instant."""
        if keys:
            await self._file(core).writer.write(
                partial(suppressions.remove, keys=keys, at=at), row_count=len(keys)
            )

    async def read_suppressions(
        self, core: Core, keys: Sequence[bytes]
    ) -> dict[bytes, SuppressionRow]:
        """Return those of the keys that are suppressed."""
        return await self._file(core).reader.read(partial(suppressions.read, keys=keys))

    async def read_listing_tenants(self, core: Core, *, limit: int) -> list[str]:
        """Return up to `limit` tenants that have a suppression at this core, in order."""
        return await self._file(core).reader.read(
            partial(suppressions.listing_tenants, limit=limit)
        )

    @abstractmethod
    def _file(self, core: Core) -> CoreFile:
        """Return the file of a core."""

    @abstractmethod
    def _of(self, lane: LaneId) -> CoreFile:
        """Return the file that holds a lane."""
