"""The embedded store as the actors see it: `IngestStore`, `LaneStore` and `TopologySource`.

Each verb goes to the file of one core, whose writer or reader thread does it; no verb spans files
but `put_idempotency`, whose rows are independent of each other.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cluster.local import bodies, buffer, idempotency, journal, timeline
from cluster.local import cells as small_cells
from cluster.local.core_file import CoreFile
from cluster.local.data_folder import DataFolder
from cluster.local.disk_room import DiskRoom
from cluster.local.later_verbs import LaterVerbs
from cluster.local.sweep import RetiredThrough, Sweep, retired_through_of
from cluster.topology.generation import Core, CoreUnknown, Generation
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Step
from pipeline.limits import Windows
from pipeline.message import (
    Body,
    BufferEntry,
    MessageId,
    MessageRow,
    PartitionKey,
    TimelineRow,
)
from pipeline.ports import (
    Beat,
    BookCell,
    BufferPage,
    Clock,
    IdempotencyRow,
    JournalEntry,
    Ownership,
    Segment,
    TimelineEvent,
)


class LocalStore(LaterVerbs):
    """The store of one process, for one event loop.  Any number of processes may have one."""

    def __init__(
        self,
        folder: DataFolder,
        *,
        cores: Sequence[Core],
        clock: Clock,
        windows: Windows,
        retired_through: RetiredThrough,
    ) -> None:
        self._generation = folder.generation
        self._disk = DiskRoom(folder.path, clock=clock)
        # A file is opened, and its threads start, when something is first asked of it.
        # The clock may have been set back since the folder was made; lanes begin to read then.
        self._restored_at = folder.restored_at
        self._files = {
            core: CoreFile(folder.core_path(core), clock=clock, at_min=folder.at_min)
            for core in cores
        }
        self._sweeps = {
            core: Sweep(file, clock=clock, windows=windows, retired_through=retired_through)
            for core, file in self._files.items()
        }

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        cores: Sequence[Core] | None,
        clock: Clock,
        windows: Windows,
        retired_through: RetiredThrough = retired_through_of,
    ) -> "LocalStore":
        """Return the store of a folder that is there; touches no core's file yet.

        `cores`: those that this process serves, None for all; a verb for another raises
        `CoreUnknown`.  `retired_through` reads a journal entry for `sweep`.  Raises
        `DataFolderUnusable`.
        """
        found = DataFolder.open(folder, windows=windows)
        return cls(
            found,
            cores=found.generation.cores if cores is None else cores,
            clock=clock,
            windows=windows,
            retired_through=retired_through,
        )

    async def close(self) -> None:
        """End the threads; what waits is written first.  May come twice.

        Verbs that are called afterwards raise `StoreUnavailable`.
        """
        await asyncio.gather(*(file.close() for file in self._files.values()))

    # --- TopologySource ---------------------------------------------------------------------

    async def read_generations(self) -> list[Generation]:
        """Return the one generation that this folder was made with."""
        return [self._generation]

    # --- IngestStore ------------------------------------------------------------------------

    async def put_idempotency(self, rows: Sequence[IdempotencyRow]) -> list[IdempotencyRow]:
        """Insert each row if its id is absent; return, in order, the rows that now stand.

        Raises `StoreUnavailable` where the disk is nearly full; so do `write_messages` and
        `write_commands`, without which nothing is accepted.
        """
        if rows:
            self._disk.refuse_if_low()
        positions: dict[Core, list[int]] = {}
        for position, row in enumerate(rows):
            positions.setdefault(self._generation.core_of(row.id), []).append(position)
        answers = await asyncio.gather(
            *(
                self._file(core).writer.write(
                    partial(idempotency.put, rows=[rows[position] for position in mine]),
                    row_count=len(mine),
                )
                for core, mine in positions.items()
            )
        )
        standing = list(rows)
        for mine, answer in zip(positions.values(), answers, strict=True):
            for position, row in zip(mine, answer, strict=True):
                standing[position] = row
        return standing

    async def write_messages(self, core: Core, rows: Sequence[MessageRow]) -> None:
        """Store bodies, all or none; an id that is there already keeps its first row."""
        if rows:
            self._disk.refuse_if_low()
            await self._file(core).writer.write(
                partial(bodies.write, rows=rows), row_count=len(rows)
            )

    async def announce_lane(self, lane: LaneId) -> None:
        """Note that the lane exists."""
        await self._of(lane).writer.write(partial(small_cells.announce_lane, lane=lane))

    async def write_buffer(self, lane: LaneId, rows: Sequence[BufferEntry]) -> None:
        """Append all rows to the lane's buffer in one atomic write, in their order."""
        if rows:
            await self._of(lane).writer.write(
                partial(buffer.write, lane=str(lane), rows=rows), row_count=len(rows)
            )

    async def read_owners(self, core: Core) -> list[Beat]:
        """Return the heartbeat rows of the processes that serve the core."""
        return await self._file(core).reader.read(small_cells.owners)

    # --- LaneStore --------------------------------------------------------------------------

    async def read_lanes(self, core: Core, generation: int) -> list[LaneId]:
        """Return every lane of the core that was announced."""
        return await self._file(core).reader.read(
            partial(small_cells.lanes_of, generation=generation)
        )

    async def read_ownership(self, lane: LaneId, segment: int) -> Ownership | None:
        """Return the segment's static cells, None where it was never opened."""
        return await self._of(lane).reader.read(
            partial(journal.read_ownership, lane=str(lane), segment=segment)
        )

    async def open_segment(self, lane: LaneId, segment: int, *, epoch: int, owner: bytes) -> bool:
        """Write the static cells if there are none; return whether there were none."""
        return await self._of(lane).writer.write(
            partial(journal.open_segment, lane=str(lane), segment=segment, epoch=epoch, owner=owner)
        )

    async def take_over(
        self, lane: LaneId, segment: int, *, expected_epoch: int, owner: bytes
    ) -> bool:
        """Raise the epoch and name the owner if it is the expected one; return whether it was."""
        return await self._of(lane).writer.write(
            partial(
                journal.take_over,
                lane=str(lane),
                segment=segment,
                expected_epoch=expected_epoch,
                owner=owner,
            )
        )

    async def close_segment(self, lane: LaneId, segment: int, *, epoch: int) -> bool:
        """Close the segment for good if its epoch is this one; return whether it was."""
        return await self._of(lane).writer.write(
            partial(journal.close_segment, lane=str(lane), segment=segment, epoch=epoch)
        )

    async def write_segment_hint(self, lane: LaneId, segment: int) -> None:
        """Note that the segment is about to be opened; of two numbers the higher stays."""
        await self._of(lane).writer.write(
            partial(journal.write_hint, lane=str(lane), segment=segment)
        )

    async def read_segment_hint(self, lane: LaneId) -> int:
        """Return the highest number that was noted, 0 if none was."""
        return await self._of(lane).reader.read(partial(journal.read_hint, lane=str(lane)))

    async def newest_segment(self, lane: LaneId) -> Segment | None:
        """Return the newest segment that was opened, None where none was."""
        return await self._of(lane).reader.read(partial(journal.newest_segment, lane=str(lane)))

    async def append(
        self, lane: LaneId, segment: int, *, epoch: int, seq: int, body: bytes
    ) -> bool:
        """Write the entry if the segment's epoch is this one; return whether it was."""
        return await self._of(lane).writer.write(
            partial(
                journal.append, lane=str(lane), segment=segment, epoch=epoch, seq=seq, body=body
            )
        )

    async def read_journal(
        self, lane: LaneId, segment: int, *, before_seq: int | None, limit: int
    ) -> list[JournalEntry]:
        """Return up to `limit` entries with seq < before_seq (None: the newest), newest first."""
        return await self._of(lane).reader.read(
            partial(
                journal.read_entries,
                lane=str(lane),
                segment=segment,
                before_seq=before_seq,
                limit=limit,
            )
        )

    async def horizon(self, lane: LaneId) -> Instant:
        """Return the newest `at` that this lane's file gave, 0 if it gave none."""
        return await self._of(lane).reader.read(buffer.newest_at)

    async def read_buffer(
        self,
        lane: LaneId,
        *,
        from_at: Instant,
        through_at: Instant,
        limit: int,
        resume: bytes | None,
    ) -> BufferPage:
        """Return rows with from_at <= at <= through_at in order."""
        return await self._of(lane).reader.read(
            partial(
                buffer.read_page,
                lane=str(lane),
                from_at=from_at,
                through_at=through_at,
                limit=limit,
                resume=resume,
            )
        )

    async def read_bodies(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, Body]:
        """Return the bodies that exist, by id."""
        file = self._file(core)
        return await file.reader.read(
            partial(file.messages.read_bodies, ids=[message_id for _pk, message_id in keys])
        )

    async def read_folds(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, Step]:
        """Return the largest step of each message that has one."""
        return await self._file(core).reader.read(
            partial(timeline.folds, ids=[message_id for _pk, message_id in keys])
        )

    async def read_timelines(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, list[TimelineEvent]]:
        """Return all events of each message, by step."""

        def read(connection: sqlite3.Connection) -> dict[MessageId, list[TimelineEvent]]:
            return {id_: timeline.events_of(connection, id_) for _pk, id_ in keys}

        return await self._file(core).reader.read(read)

    async def project(self, core: Core, rows: Sequence[TimelineRow]) -> None:
        """Write timeline rows, all or none; one that is there stays as it is."""
        if rows:
            await self._file(core).writer.write(
                partial(timeline.project, rows=rows), row_count=len(rows)
            )

    async def write_books(self, lane: LaneId, cells: Sequence[BookCell]) -> None:
        """Write cells; of two with the same (book, lane) the higher as_of stays."""
        if cells:
            await self._of(lane).writer.write(
                partial(small_cells.write_books, lane=str(lane), cells=cells), row_count=len(cells)
            )

    async def read_books(self, lane: LaneId, books: Sequence[str]) -> list[BookCell]:
        """Return the cells that exist."""
        return await self._of(lane).reader.read(
            partial(small_cells.read_books, lane=str(lane), books=books)
        )

    async def beat(self, core: Core, beat: Beat) -> None:
        """Write the heartbeat row of a process that serves the core."""
        await self._file(core).writer.write(partial(small_cells.beat, row=beat))

    async def sweep(self, core: Core) -> None:
        """Remove some of what is past its time to live, and tidy the file."""
        self._file(core)
        await self._sweeps[core].round()

    def _of(self, lane: LaneId) -> CoreFile:
        return self._file(Core(lane.node, lane.shard))

    def _file(self, core: Core) -> CoreFile:
        try:
            return self._files[core]
        except KeyError:
            raise CoreUnknown(f"this process does not serve {core}") from None
