"""The embedded store as the command line sees it: `QueryStore`, read-only.

Nothing else need be running, and nothing in the folder changes.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from cluster.local import buffer, cells, journal, listing
from cluster.local.data_folder import DataFolder, is_core_file_made
from cluster.local.later_questions import LaterQuestions, core_of
from cluster.local.read_only import connect_read_only
from cluster.local.reader import Reader
from cluster.local.schema import schema_version
from cluster.topology.generation import Core, CoreUnknown, Generation
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.message import BufferRow, MessageId
from pipeline.ports import (
    Beat,
    BookCell,
    JournalEntry,
    MessageSummary,
    MessageTrace,
    Ownership,
    Segment,
)

ResultT = TypeVar("ResultT")


class LocalQueries(LaterQuestions):
    """Reads a data folder, for one event loop."""

    def __init__(self, folder: DataFolder) -> None:
        self._generation = folder.generation
        self._restored_at = folder.restored_at
        self._paths = {core: folder.core_path(core) for core in folder.generation.cores}
        self._readers = {
            core: Reader(path, connect_read_only) for core, path in self._paths.items()
        }

    @classmethod
    def open(cls, folder: Path) -> "LocalQueries":
        """Return the queries of a folder that is there; raises `DataFolderUnusable`."""
        return cls(DataFolder.open(folder))

    async def close(self) -> None:
        """End the threads.  May come twice."""
        await asyncio.gather(*(reader.close() for reader in self._readers.values()))

    async def read_generations(self) -> list[Generation]:
        """Return the one generation that this folder was made with."""
        return [self._generation]

    async def list_lanes(self) -> list[LaneId]:
        """Return every lane that was announced."""
        lanes: list[LaneId] = []
        for core in self._generation.cores:
            lanes += await self._read(core, cells.all_lanes, [])
        return lanes

    async def read_ownership(self, lane: LaneId, segment: int) -> Ownership | None:
        """Return the segment's static cells, None where it was never opened."""
        read = partial(journal.read_ownership, lane=str(lane), segment=segment)
        return await self._read(core_of(lane), read, None)

    async def newest_segment(self, lane: LaneId) -> Segment | None:
        """Return the newest segment that was opened, None where none was."""
        read = partial(journal.newest_segment, lane=str(lane))
        return await self._read(core_of(lane), read, None)

    async def read_owners(self, core: Core) -> list[Beat]:
        """Return the heartbeat rows of the processes that serve the core."""
        return await self._read(core, cells.owners, [])

    async def read_journal(
        self, lane: LaneId, segment: int, *, before_seq: int | None, limit: int
    ) -> list[JournalEntry]:
        """Return up to `limit` entries with seq < before_seq (None: the newest), newest first."""
        read = partial(
            journal.read_entries,
            lane=str(lane),
            segment=segment,
            before_seq=before_seq,
            limit=limit,
        )
        return await self._read(core_of(lane), read, [])

    async def count_buffer(self, lane: LaneId, *, from_at: Instant) -> Mapping[str, int]:
        """Return the number of distinct ids in rows with at >= from_at, by group key."""
        read = partial(buffer.count_ids, lane=str(lane), from_at=from_at)
        return await self._read(core_of(lane), read, {})

    async def unprojected(self, lane: LaneId, *, from_at: Instant, limit: int) -> list[BufferRow]:
        """Return up to `limit` rows with at >= from_at whose id has no timeline row."""
        read = partial(listing.unprojected, lane=str(lane), from_at=from_at, limit=limit)
        return await self._read(core_of(lane), read, [])

    async def books(self, prefix: str) -> list[tuple[LaneId, BookCell]]:
        """Return the cells of every lane whose book starts with the prefix."""
        found: list[tuple[LaneId, BookCell]] = []
        for core in self._generation.cores:
            found += await self._read(core, partial(cells.books_with, prefix=prefix), [])
        return found

    async def trace(self, message_id: MessageId) -> MessageTrace | None:
        """Return all that is known of a message, None if no such id was accepted.

        A message whose rows are past their time to live is not known any more.
        """
        for core in self._generation.cores:
            read = partial(
                listing.trace,
                message_id=message_id,
                generation=self._generation.number,
                core=core,
            )
            if (trace := await self._read(core, read, None)) is not None:
                return trace
        return None

    async def messages_in_state(
        self, events: Sequence[int], *, limit: int, after: bytes | None
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Return a page of the messages whose largest step has one of these events.

        Those of uncertain, failed and expired messages are found by an index; for others all
        events are read.
        """
        return await self._page(partial(listing.in_state, events=events), limit, after)

    async def messages_in_group(
        self, group: str, *, limit: int, after: bytes | None
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Return a page of the messages of a group key, in no promised order."""
        return await self._page(partial(listing.in_group, group=group), limit, after)

    async def _page(
        self, read: listing.ReadPart, limit: int, after: bytes | None
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Read core by core; where the page ended is (number of the core, place in its file)."""
        cores = self._generation.cores
        core_no, place = (0, b"") if after is None else (after[0], after[1:])
        page: list[MessageSummary] = []
        while core_no < len(cores):
            part = await self._read(
                cores[core_no],
                partial(read, limit=limit - len(page), after=place),
                listing.Part([], None),
            )
            page += part.messages
            if part.place is not None:
                return page, bytes([core_no]) + part.place
            # A page that is full looks on all the same, for whether anything follows it.
            core_no, place = core_no + 1, b""
        return page, None

    def _is_untouched(self, core: Core) -> bool:
        """Return whether nothing was ever written to the core's file."""
        path = self._paths[core]
        return not path.exists() and not is_core_file_made(path)

    async def _read(
        self,
        core: Core,
        operation: Callable[[sqlite3.Connection], ResultT],
        nothing: ResultT,
        *,
        since_schema: int = 1,
    ) -> ResultT:
        if core not in self._paths:
            raise CoreUnknown(f"{core} is not in this data folder")
        if self._is_untouched(core):
            return nothing

        def read(connection: sqlite3.Connection) -> ResultT:
            # Who made the file may have died before it had tables, or had no table of this kind.
            has_tables = schema_version(connection) >= since_schema
            return operation(connection) if has_tables else nothing

        return await self._readers[core].read(read)
