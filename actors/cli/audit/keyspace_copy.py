"""A keyspace copied into files, a core each, for whoever checks all of it.

Tables whose partitions are the messages' are read whole, a range of tokens at a time; what belongs
to lanes is asked for by lane.  There is no view of one instant here: the copy says of each lane how
far its journal was when it began, so that whoever copied can see whether anything moved meanwhile.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from cluster.local.core_copy import CoreCopy
from cluster.scylla.inspection import ScyllaInspection
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.limits import COMMANDS_AT_ONCE_MAX, JOURNAL_PAGE_ENTRIES_MAX
from pipeline.message import Body, MessageId, PartitionKey, TimelineRow
from pipeline.ports import BookCell

_TOKEN_MIN: Final = -(1 << 63)
_TOKEN_MAX: Final = (1 << 63) - 1
# Of a range of tokens that nobody knows how much is in; the next ones are wider, or narrower.
_FIRST_WIDTH: Final = 1 << 54
_ROWS_FEW: Final = 2_000
_ROWS_MANY: Final = 20_000
_BEGINNING: Final = Instant(0)
_END: Final = Instant(1 << 62)

# Of each lane its newest segment and the newest entry in it.
Heads = Mapping[LaneId, tuple[int, int]]


def lanes_that_moved(before: Heads, after: Heads) -> list[str]:
    """Return the lanes whose journals went on between two looks, new ones too."""
    return sorted(str(lane) for lane, head in after.items() if before.get(lane) != head)


class KeyspaceCopy:
    """Copies all that an audit reads into one file for each core."""

    def __init__(self, store: ScyllaInspection, copies: Mapping[Core, CoreCopy]) -> None:
        self._store = store
        self._copies = copies

    async def copy(self) -> None:
        """Read everything; raises `StoreUnavailable`."""
        # A row says of what is written before it: bodies before rows, events before offsets.
        for lane in await self._store.list_lanes():
            await self._copy_lane(lane)
        for lane, cell in await self._store.books(""):
            self._of(lane).add_books(str(lane), [BookCell(*cell)])
        async for rows in self._scan("scan_messages"):
            self._add_messages(rows)
        async for rows in self._scan("scan_timeline"):
            self._add_events(rows)

    async def heads(self) -> Heads:
        """Return how far each lane's journal is now."""
        heads = {}
        for lane in await self._store.list_lanes():
            newest = await self._store.newest_segment(lane)
            number = -1 if newest is None else newest.number
            page = (
                await self._store.read_journal(lane, number, before_seq=None, limit=1)
                if newest is not None
                else []
            )
            heads[lane] = number, page[0].seq if page else -1
        return heads

    def _of(self, lane: LaneId) -> CoreCopy:
        return self._copies[Core(lane.node, lane.shard)]

    async def _copy_lane(self, lane: LaneId) -> None:
        copy, name = self._of(lane), str(lane)
        copy.add_lane(lane)
        async for rows in self._store.buffer_pages(lane, _BEGINNING):
            copy.add_rows(name, rows)
        copy.add_timers(name, [row async for row in self._store.timers(lane, _BEGINNING)])
        await self._copy_commands(lane)
        newest = await self._store.newest_segment(lane)
        last = -1 if newest is None else newest.number
        for number in range(last, -1, -1):
            # The newest may have no entries yet; before one that aged out all did.
            if not await self._copy_segment(lane, number) and number < last:
                break

    async def _copy_segment(self, lane: LaneId, number: int) -> bool:
        before_seq: int | None = None
        has_any = False
        while entries := await self._store.read_journal(
            lane, number, before_seq=before_seq, limit=JOURNAL_PAGE_ENTRIES_MAX
        ):
            has_any = True
            self._of(lane).add_entries(str(lane), number, entries)
            before_seq = entries[-1].seq
        return has_any

    async def _copy_commands(self, lane: LaneId) -> None:
        resume: bytes | None = None
        core = Core(lane.node, lane.shard)
        while True:
            page = await self._store.read_commands(
                lane,
                from_at=_BEGINNING,
                through_at=_END,
                limit=COMMANDS_AT_ONCE_MAX,
                resume=resume,
            )
            results = await self._store.read_results(core, [entry.id for _, entry in page.rows])
            self._of(lane).add_commands(str(lane), page.rows, results)
            if (resume := page.resume) is None:
                return

    def _add_messages(self, rows: list[tuple[Any, ...]]) -> None:
        # The first row of an id has the body that counts, and the first with a born the rest.
        bodies: dict[tuple[bytes, bytes], bytes] = {}
        seen: set[tuple[bytes, bytes]] = set()
        by_core: dict[Core, list[tuple[MessageId, PartitionKey, Instant, str, Body]]] = {}
        for pk, id_, born, group, body in rows:
            key = pk.bytes, id_
            bodies.setdefault(key, body)
            if born is None or key in seen:
                continue
            seen.add(key)
            core = self._store.core_of(pk.bytes)
            by_core.setdefault(core, []).append(
                (
                    MessageId(id_),
                    PartitionKey(pk.bytes),
                    Instant(born),
                    group,
                    Body(bodies[key]),
                )
            )
        for core, messages in by_core.items():
            self._copies[core].add_messages(messages)

    def _add_events(self, rows: list[tuple[Any, ...]]) -> None:
        by_core: dict[Core, list[TimelineRow]] = {}
        for pk, id_, step, at, detail in rows:
            by_core.setdefault(self._store.core_of(pk.bytes), []).append(
                (MessageId(id_), PartitionKey(pk.bytes), step, Instant(at), detail)
            )
        for core, events in by_core.items():
            self._copies[core].add_events(events)

    async def _scan(self, name: str) -> AsyncIterator[list[tuple[Any, ...]]]:
        first, width = _TOKEN_MIN, _FIRST_WIDTH
        while first <= _TOKEN_MAX:
            last = min(first + width - 1, _TOKEN_MAX)
            rows = await self._store.scan(name, first=first, last=last)
            yield rows
            first = last + 1
            if len(rows) < _ROWS_FEW:
                width *= 2
            elif len(rows) > _ROWS_MANY:
                width = max(width // 2, 1)
