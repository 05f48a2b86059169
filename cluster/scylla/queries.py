"""What people ask of lanes: counted from the lanes' own rows, as nobody keeps a counter.

A question reads all of a lane's rows from an instant on, page by page; it is for people, and for
audits.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from cluster.scylla.cells import book_cell
from cluster.scylla.keys import Kind
from cluster.scylla.listing import ListingVerbs
from cluster.scylla.settings import READ_PAGE_ROWS
from cluster.scylla.shared_verbs import SharedVerbs
from cluster.scylla.stored_messages import StoredMessage
from cluster.scylla.verbs import all_of
from cluster.topology.generation import Core
from pipeline.instant import Instant, earlier
from pipeline.lane_id import LaneId
from pipeline.later import SuppressionRow
from pipeline.message import BufferRow, MessageId, TimerRow, decode_body
from pipeline.ports import BookCell, MessageTrace

# A row of the buffer is never much older than its message's born; clocks differ.
_BORN_LEAD_MS: Final = 3_600_000
_BEGINNING: Final = Instant(0)
_END: Final = Instant(1 << 62)
# Behind every book whose name begins with what stands before it.
_LAST_CHARACTER: Final = "\U0010ffff"


class ScyllaQueries(SharedVerbs, ListingVerbs):
    """`QueryStore`: for one event loop."""

    async def list_lanes(self) -> list[LaneId]:
        """Return every lane that was announced."""
        number = self._generation.number
        found = await all_of(self.read_lanes(core, number) for core in self._generation.cores)
        return [lane for lanes in found for lane in lanes]

    async def books(self, prefix: str) -> list[tuple[LaneId, BookCell]]:
        """Return the cells of every lane whose book starts with the prefix."""
        found: list[tuple[LaneId, BookCell]] = []
        for lane in await self.list_lanes():
            key = self._keys.of_lane(lane, Kind.BOOKS)
            rows = await self._session.read("select_books", (key, prefix, prefix + _LAST_CHARACTER))
            found += [(lane, book_cell(book, cell)) for book, cell in rows]
        return found

    async def trace(self, message_id: MessageId) -> MessageTrace | None:
        """Return all that is known of a message, None if no such id was accepted.

        A message whose body is past its time to live is not known any more.
        """
        message = await self.find(message_id)
        if message is None:
            return None
        core = self._generation.core_of(message.pk)
        submission = decode_body(message.body)
        lane = LaneId.for_messages(
            self._generation.number,
            core,
            tenant=submission.tenant,
            channel=submission.channel,
            priority=submission.priority,
        )
        timelines = await self.read_timelines(core, [(message.pk, message_id)])
        events = timelines[message_id]
        # What has events was in its lane, even if its row there is gone since.
        is_in_lane = bool(events) or await self._is_waiting(lane, message)
        return MessageTrace(
            id=message_id,
            born=message.born,
            lane=lane if is_in_lane else None,
            body=message.body,
            events=events,
        )

    async def _is_waiting(self, lane: LaneId, message: StoredMessage) -> bool:
        async for rows in self.buffer_pages(lane, earlier(message.born, _BORN_LEAD_MS)):
            if any(row[1] == message.id for row in rows):
                return True
        return bool(await self.timers_of(lane, message.id))

    # --- the buffer -------------------------------------------------------------------------

    async def count_buffer(self, lane: LaneId, *, from_at: Instant) -> Mapping[str, int]:
        """Return the number of distinct ids in rows with at >= from_at, by group key."""
        return Counter((await self._groups_of_buffer(lane, from_at)).values())

    async def unprojected(self, lane: LaneId, *, from_at: Instant, limit: int) -> list[BufferRow]:
        """Return up to `limit` rows with at >= from_at whose id has no timeline row."""
        core = Core(lane.node, lane.shard)
        missed: list[BufferRow] = []
        async for rows in self.buffer_pages(lane, from_at):
            folds = await self.read_folds(core, [(row[2], row[1]) for row in rows])
            missed += [row for row in rows if row[1] not in folds]
            if len(missed) >= limit:
                break
        return missed[:limit]

    async def _groups_of_buffer(self, lane: LaneId, from_at: Instant) -> dict[MessageId, str]:
        return {row[1]: row[6] async for rows in self.buffer_pages(lane, from_at) for row in rows}

    async def buffer_pages(
        self, lane: LaneId, from_at: Instant
    ) -> AsyncIterator[Sequence[BufferRow]]:
        """Yield the rows with at >= from_at, in order."""
        resume: bytes | None = None
        while True:
            page = await self.read_buffer(
                lane, from_at=from_at, through_at=_END, limit=READ_PAGE_ROWS, resume=resume
            )
            yield page.rows
            if (resume := page.resume) is None:
                return

    # --- timers -----------------------------------------------------------------------------

    async def timers_of(self, lane: LaneId, message_id: MessageId) -> list[TimerRow]:
        """Return the timers of a message, first due first; also those that were resolved."""
        return [row async for row in self.timers(lane, _BEGINNING) if row[1] == message_id]

    async def count_timers(self, lane: LaneId, *, from_due: Instant) -> Mapping[str, int]:
        """Return the number of timers of first attempts with due_at >= from_due, by group key."""
        return Counter([row[5] async for row in self.timers(lane, from_due) if row[4] == 1])

    async def count_untold_timers(self, lane: LaneId) -> Mapping[str, int]:
        """Return how many messages wait for their first time, by group key: no event names them."""
        first = {row[1]: row async for row in self.timers(lane, _BEGINNING) if row[4] == 1}
        told = await self.read_folds(
            Core(lane.node, lane.shard), [(row[2], row[1]) for row in first.values()]
        )
        return Counter(row[5] for row in first.values() if row[1] not in told)

    async def count_accepted(self, lane: LaneId) -> Mapping[str, int]:
        """Return how many messages the buffer and the timers hold together, by group key."""
        groups = {row[1]: row[5] async for row in self.timers(lane, _BEGINNING) if row[4] == 1}
        groups.update(await self._groups_of_buffer(lane, _BEGINNING))
        return Counter(groups.values())

    async def timers(self, lane: LaneId, from_due: Instant) -> AsyncIterator[TimerRow]:
        """Yield the timers with due_at >= from_due, in order."""
        resume: bytes | None = None
        while True:
            page = await self.read_timers(
                lane, from_due=from_due, through_due=_END, limit=READ_PAGE_ROWS, resume=resume
            )
            for row in page.rows:
                yield row
            if (resume := page.resume) is None:
                return

    # --- suppressions -----------------------------------------------------------------------

    async def suppressions(
        self, tenant: str, *, limit: int, after: bytes | None
    ) -> tuple[list[SuppressionRow], bytes | None]:
        """Return a page of a tenant's suppressions, and where the next begins; None: the last.

        Core by core; where a page ended is (number of the core, the last key).
        """
        cores = self._generation.cores
        core_no, last = (0, b"") if after is None else (after[0] << 8 | after[1], after[2:])
        found: list[SuppressionRow] = []
        while core_no < len(cores):
            place = self._keys.of_core(cores[core_no], "suppressions")
            room = limit - len(found)
            rows = await self._session.read("select_listed", (place, tenant, last, room + 1))
            listed = [key for key, is_removed in rows[:room] if not is_removed]
            stand = await self.read_suppressions(cores[core_no], listed)
            # The list may name a key of another tenant since, or one that was removed.
            found += [stand[key] for key in listed if key in stand and stand[key].tenant == tenant]
            if len(rows) > room:
                end = rows[room - 1][0] if room else last
                return found, core_no.to_bytes(2) + end
            core_no, last = core_no + 1, b""
        return found, None
