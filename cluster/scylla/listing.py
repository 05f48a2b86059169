"""Lists of messages: those of a group, and those that are in some state now.

Where a page ended is told by its last message, so that nobody keeps anything between two pages.
A page may have fewer messages than it has room for.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from cluster.scylla.cells import OPEN_PARTS
from cluster.scylla.group_blocks import BLOCK_BYTES, PARTS, members, part
from cluster.scylla.settings import READ_PAGE_ROWS
from cluster.scylla.stored_messages import StoredMessage, StoredVerbs
from pipeline.instant import Instant
from pipeline.later import MessageOutcome, NewestEvent
from pipeline.lifecycle import EVENT_MASK, OPEN_QUESTIONS, Step
from pipeline.limits import EXPORT_PAGE_BYTES_MAX
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import MessageSummary

# How many bodies are held at once; one may have 256 KB.
_BODIES_AT_ONCE: Final = 50
_BLOCKS_AT_ONCE: Final = 20

_FIRST_TOKEN: Final = -(1 << 63)
_NO_PLACE: Final = b""
# What a list of states goes through, one after the other.
_OPEN, _ALL = 0, 1


class _GroupPlace(NamedTuple):
    """Where a page of a group begins: at a message of a block."""

    core_no: int
    part_no: int
    block: bytes
    position: int

    def packed(self) -> bytes:
        position = self.position.to_bytes(2)
        return self.core_no.to_bytes(2) + bytes([self.part_no]) + position + self.block

    @classmethod
    def of(cls, packed: bytes) -> "_GroupPlace":
        if not packed:
            return cls(0, 0, _NO_PLACE, 0)
        core_no, position = int.from_bytes(packed[:2]), int.from_bytes(packed[3:5])
        return cls(core_no, packed[2], packed[5:], position)


class ListingVerbs(StoredVerbs):
    """Of `QueryStore`."""

    async def messages_in_group(
        self, group: str, *, limit: int, after: bytes | None
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Return a page of the messages of a group key, in no promised order."""
        found, place = await self._of_group(group, limit=limit, after=after)
        newest = await self._newest_of(found)
        return [
            MessageSummary(m.id, m.born, m.body, newest[m.id].step if m.id in newest else None)
            for m in found
        ], place

    async def outcomes_in_group(
        self, group: str, *, limit: int, after: bytes | None
    ) -> tuple[list[MessageOutcome], bytes | None]:
        """Return the same, each with its newest event; a page of long bodies ends early."""
        found, place = await self._of_group(
            group, limit=limit, after=after, bytes_max=EXPORT_PAGE_BYTES_MAX
        )
        newest = await self._newest_of(found)
        return [MessageOutcome(m.id, m.born, m.body, newest.get(m.id)) for m in found], place

    async def _of_group(
        self, group: str, *, limit: int, after: bytes | None, bytes_max: int | None = None
    ) -> tuple[list[StoredMessage], bytes | None]:
        """Return the messages of one partition of the group, or of a part of it."""
        cores = self._generation.cores
        start = _GroupPlace.of(after or _NO_PLACE)
        while start.core_no < len(cores):
            key = self._keys.of_core(cores[start.core_no], "by_group", part(group, start.part_no))
            blocks = await self._session.read("select_blocks", (key, start.block, _BLOCKS_AT_ONCE))
            found: list[StoredMessage] = []
            length = 0
            for block, ids, pks in blocks:
                here = members(ids, pks)
                position = start.position if block == start.block else 0
                while position < len(here):
                    if len(found) == limit or (bytes_max is not None and length >= bytes_max):
                        return found, start._replace(block=block, position=position).packed()
                    end = position + min(_BODIES_AT_ONCE, limit - len(found))
                    if bytes_max is not None:
                        # As many as fit if they are as long as those before.
                        fit = (bytes_max - length) * len(found) // length if length else 1
                        end = min(end, position + max(fit, 1))
                    mine = await self._counted(group, block, here[position:end])
                    found += mine
                    length += sum(len(message.body) for message in mine)
                    position = end
            if len(blocks) == _BLOCKS_AT_ONCE:
                behind = int.from_bytes(blocks[-1][0]) + 1
                if behind < 1 << 8 * BLOCK_BYTES:
                    next_block = behind.to_bytes(BLOCK_BYTES)
                    return found, start._replace(block=next_block, position=0).packed()
            start = _next_part(start)
            if found:
                return found, start.packed() if start.core_no < len(cores) else None
        return [], None

    async def _counted(
        self, group: str, block: bytes, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> list[StoredMessage]:
        """Return those messages of a block that count in it, and have not ended their life."""
        found = await self.stored(keys)
        messages = [found[id_] for _, id_ in keys if id_ in found]
        counted = []
        for message in messages:
            if message.group != group:
                continue
            # One that was sent again among others counts where it was first, if that was written.
            if message.block == block or not await self._is_there(message):
                counted.append(message)
        return counted

    async def _is_there(self, message: StoredMessage) -> bool:
        core = self._generation.core_of(message.pk)
        number = message.block[0] % PARTS
        key = self._keys.of_core(core, "by_group", part(message.group, number))
        return bool(await self._session.read("select_block", (key, message.block)))

    # --- states -----------------------------------------------------------------------------

    async def messages_in_state(
        self, events: Sequence[int], *, limit: int, after: bytes | None
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Return a page of the messages whose largest step has one of these events.

        Those of uncertain, failed and expired messages have a table; for others all events are
        read.
        """
        wanted_open = {event for event in events if event in OPEN_QUESTIONS}
        wanted_others = set(events) - wanted_open
        phase, place = (after[0], after[1:]) if after else (_OPEN, _NO_PLACE)
        if phase == _OPEN and wanted_open:
            found, end = await self._open_questions(wanted_open, limit=limit, after=place)
            if end is not None:
                return found, bytes([_OPEN]) + end
            if found:
                return found, bytes([_ALL]) if wanted_others else None
        if phase == _OPEN:
            place = _NO_PLACE
        if not wanted_others:
            return [], None
        found, end = await self._by_steps(wanted_others, limit=limit, after=place)
        return found, None if end is None else bytes([_ALL]) + end

    async def _open_questions(
        self, events: set[int], *, limit: int, after: bytes
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Return messages of one partition; the place is (core, partition, id)."""
        cores = self._generation.cores
        core_no, number, last = int.from_bytes(after[:2]), after[2] if after else 0, after[3:]
        while core_no < len(cores):
            key = self._keys.of_core(cores[core_no], "open", bytes([number]))
            rows = await self._session.read("select_open_questions", (key, last, limit))
            messages = await self._in_state(
                [(PartitionKey(pk), MessageId(id_)) for id_, pk in rows], events
            )
            if len(rows) == limit:
                return messages, core_no.to_bytes(2) + bytes([number]) + rows[-1][0]
            number, last = number + 1, b""
            if number == OPEN_PARTS:
                core_no, number = core_no + 1, 0
            if messages:
                is_more = core_no < len(cores)
                return messages, core_no.to_bytes(2) + bytes([number]) if is_more else None
        return [], None

    async def _by_steps(
        self, events: set[int], *, limit: int, after: bytes
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Read on in the order of tokens; the place is (token, partition key, id)."""
        token = _FIRST_TOKEN
        rows: list[tuple[Any, ...]] = []
        if after:
            token, pk, id_ = int.from_bytes(after[:8], signed=True), after[8:24], after[24:]
            rows = await self._session.read(
                "select_steps_behind", (UUID(bytes=pk), id_, READ_PAGE_ROWS)
            )
        while True:
            if not rows:
                rows = await self._session.read("select_steps", (token, READ_PAGE_ROWS))
                if not rows:
                    return [], None
            wanted = [row for row in rows if row[3] & EVENT_MASK in events]
            messages = await self._in_state(
                [(PartitionKey(pk.bytes), MessageId(id_)) for _, pk, id_, _ in wanted[:limit]],
                events,
            )
            # Only what was looked at lies behind.
            last = wanted[limit - 1] if len(wanted) > limit else rows[-1]
            if messages:
                return messages, last[0].to_bytes(8, signed=True) + last[1].bytes + last[2]
            token, pk, id_ = last[0], last[1].bytes, last[2]
            rows = await self._session.read(
                "select_steps_behind", (UUID(bytes=pk), id_, READ_PAGE_ROWS)
            )

    async def _in_state(
        self, keys: Sequence[tuple[PartitionKey, MessageId]], events: set[int]
    ) -> list[MessageSummary]:
        """Return those that are in such a state now, and whose bodies live."""
        found: list[MessageSummary] = []
        for start in range(0, len(keys), _BODIES_AT_ONCE):
            stored = await self.stored(keys[start : start + _BODIES_AT_ONCE])
            newest = await self._newest_of(list(stored.values()))
            found += [
                MessageSummary(message.id, message.born, message.body, newest[message.id].step)
                for message in stored.values()
                if message.id in newest and newest[message.id].step & EVENT_MASK in events
            ]
        return found

    async def _newest_of(self, messages: Sequence[StoredMessage]) -> dict[MessageId, NewestEvent]:
        newest: dict[MessageId, NewestEvent] = {}
        for mine in self._by_core([(message.pk, message.id) for message in messages]):
            rows = await self._read_by_message(mine, many="select_newest_of", one="select_newest")
            for id_, at, step, detail in rows:
                newest[id_] = NewestEvent(Instant(at), Step(step), detail)
        return newest


def _next_part(place: _GroupPlace) -> _GroupPlace:
    if place.part_no + 1 < PARTS:
        return _GroupPlace(place.core_no, place.part_no + 1, _NO_PLACE, 0)
    return _GroupPlace(place.core_no + 1, 0, _NO_PLACE, 0)
