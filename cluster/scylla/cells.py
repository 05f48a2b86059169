"""Rows of one small cell each: lanes, heartbeats, books, events."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from cluster.scylla.far_timers import FarTimerVerbs
from cluster.scylla.keys import Kind
from cluster.scylla.verbs import all_of
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import TimelineEvent
from pipeline.lifecycle import EVENT_MASK, OPEN_QUESTIONS, Step
from pipeline.limits import OWNER_TTL_MS
from pipeline.message import MessageId, PartitionKey, TimelineRow
from pipeline.ports import Beat, BookCell

# Partitions of what is open at a core; a list reads all of them.
OPEN_PARTS: Final = 16

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack_book: Final = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


class CellVerbs(FarTimerVerbs):
    """Of `IngestStore` and `LaneStore`."""

    async def announce_lane(self, lane: LaneId) -> None:
        """Note that the lane exists."""
        place = self._keys.of_core(Core(lane.node, lane.shard), "lanes")
        await self._session.write("insert_lane", (place, lane.generation, str(lane)))

    async def read_lanes(self, core: Core, generation: int) -> list[LaneId]:
        """Return every lane of the core that was announced."""
        place = self._keys.of_core(core, "lanes")
        rows = await self._session.read("select_lanes", (place, generation))
        return [LaneId.parse(name) for (name,) in rows]

    async def beat(self, core: Core, beat: Beat) -> None:
        """Write the heartbeat row of a process that serves the core."""
        place = self._keys.of_core(core, "owners")
        await self._session.write("insert_beat", (place, *beat, OWNER_TTL_MS // 1_000))

    async def read_owners(self, core: Core) -> list[Beat]:
        """Return the heartbeat rows of the processes that serve the core."""
        rows = await self._session.read("select_owners", (self._keys.of_core(core, "owners"),))
        return [Beat(*row) for row in rows]

    async def write_books(self, lane: LaneId, cells: Sequence[BookCell]) -> None:
        """Write cells; of two with the same (book, lane) the higher as_of stays."""
        key = self._keys.of_lane(lane, Kind.BOOKS)
        # Nothing of a group moves any more when no event of its messages is left.
        life_s = self._windows.idem_life_ms // 1_000
        await self._write_rows(
            "insert_book",
            # One cell and its timestamp: nothing of two writes is ever mixed.
            [
                (key, cell.book, _pack((cell.as_of, cell.counts)), life_s, cell.as_of + 1)
                for cell in cells
            ],
        )

    async def read_books(self, lane: LaneId, books: Sequence[str]) -> list[BookCell]:
        """Return the cells that exist."""
        key = self._keys.of_lane(lane, Kind.BOOKS)
        found = await all_of(self._session.read("select_book", (key, book)) for book in books)
        return [book_cell(book, cell) for rows in found for book, cell in rows]

    async def read_folds(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, Step]:
        """Return the largest step of each message that has one, at QUORUM."""
        self._known(core)
        rows = await self._read_by_message(keys, many="select_folds", one="select_fold")
        return dict(rows)

    async def read_timelines(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, list[TimelineEvent]]:
        """Return all events of each message, by step, at QUORUM."""
        self._known(core)
        found = await all_of(
            self._session.read("select_events", (UUID(bytes=pk), id_)) for pk, id_ in keys
        )
        return {
            id_: [TimelineEvent(Instant(at), Step(step), detail) for at, step, detail in rows]
            for (_pk, id_), rows in zip(keys, found, strict=True)
        }

    async def project(self, core: Core, rows: Sequence[TimelineRow]) -> None:
        """Write timeline rows.  Writing one twice is harmless."""
        self._known(core)
        long_s = await self._far_lives_s(core, rows, now=self._clock.now())
        await all_of(
            [
                self._write_rows(
                    "insert_event",
                    [
                        (pk, id_, step, at, detail)
                        for id_, pk, step, at, detail in rows
                        if id_ not in long_s
                    ],
                ),
                self._write_rows(
                    "insert_long_event",
                    [
                        (pk, id_, step, at, detail, long_s[id_])
                        for id_, pk, step, at, detail in rows
                        if id_ in long_s
                    ],
                ),
                self._write_rows(
                    "insert_open_question",
                    [
                        (self._keys.of_id(core, "open", id_, parts=OPEN_PARTS), id_, pk)
                        for id_, pk, step, *_ in rows
                        if step & EVENT_MASK in OPEN_QUESTIONS
                    ],
                ),
            ]
        )


def book_cell(book: str, packed: bytes) -> BookCell:
    """Return the cell of a row of `books`."""
    as_of, counts = _unpack_book(packed)
    return BookCell(book, as_of, counts)
