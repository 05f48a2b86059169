"""What a person asks of one core's file: a message's trace, lists of messages, what was missed."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import Final, NamedTuple, Protocol, TypeVar

from cluster.local import bodies, buffer, editions, timeline, timers
from cluster.local.blocks import unpack_bodies
from cluster.local.schema import OPEN_QUESTIONS_SQL, schema_version
from cluster.topology.generation import Core
from pipeline.instant import Instant, earlier
from pipeline.lane_id import LaneId
from pipeline.later import MessageOutcome
from pipeline.lifecycle import OPEN_QUESTIONS, Step
from pipeline.limits import EXPORT_PAGE_BYTES_MAX, QUERY_PAGE_ROWS_MAX
from pipeline.message import Body, BufferRow, MessageId, decode_body
from pipeline.ports import MessageSummary, MessageTrace

_MessageT = TypeVar("_MessageT", bodies.StoredMessage, MessageSummary)

# A row of the buffer is never much older than its message's born; a wall clock may be set back.
_BORN_LEAD_MS: Final = 3_600_000

# A file that an older release made, and that is only looked at, lacks the table.
_EDITIONS_SINCE: Final = 3

_BLOCK_BYTES: Final = 8
_POSITION_BYTES: Final = 4

_LARGEST: Final = """
NOT EXISTS (
    SELECT 1 FROM timeline AS later WHERE later.id = timeline.id AND later.step > timeline.step
)
"""
# The index is used only by a question that repeats its condition.
_IN_STATE_INDEXED: Final = f"""
SELECT id, step FROM timeline
WHERE step & 255 IN ({OPEN_QUESTIONS_SQL}) AND step & 255 = ?1 AND id > ?2 AND {_LARGEST}
ORDER BY id LIMIT ?3
"""
_IN_STATE: Final = f"""
SELECT id, step FROM timeline WHERE step & 255 = ?1 AND id > ?2 AND {_LARGEST}
ORDER BY id LIMIT ?3
"""
_IN_GROUP: Final = """
SELECT block, packed FROM by_group JOIN bodies USING (block)
WHERE group_key = ? AND block >= ? ORDER BY block
"""


class Part(NamedTuple):
    """Messages of one file.  `place` is None after the last, else where to go on."""

    messages: list[MessageSummary]
    place: bytes | None


class ReadPart(Protocol):
    """Reads up to `limit` messages of one file, from a place on; b"" is the beginning."""

    def __call__(self, connection: sqlite3.Connection, *, limit: int, after: bytes) -> Part:
        """Return the messages, and where to go on."""
        ...


def trace(
    connection: sqlite3.Connection, *, message_id: MessageId, generation: int, core: Core
) -> MessageTrace | None:
    """Return all that this file knows of a message, None if that is nothing."""
    message = bodies.MessageReader().find(connection, message_id)
    if message is None:
        return None
    [message] = _as_edited(connection, [message])
    submission = decode_body(message.body)
    lane = LaneId.for_messages(
        generation,
        core,
        tenant=submission.tenant,
        channel=submission.channel,
        priority=submission.priority,
    )
    events = timeline.events_of(connection, message_id)
    # What has events was in its lane, even if its row there is gone since.
    is_in_lane = bool(events) or _is_waiting(connection, lane, message)
    return MessageTrace(
        id=message_id,
        born=message.born,
        lane=lane if is_in_lane else None,
        body=message.body,
        events=events,
    )


def _as_edited(connection: sqlite3.Connection, messages: Sequence[_MessageT]) -> list[_MessageT]:
    """Return the messages with the words that they hold now."""
    edited: dict[MessageId, Body] = {}
    if schema_version(connection) >= _EDITIONS_SINCE:
        edited = editions.of(connection, [message.id for message in messages])
    return [
        message._replace(body=edited[message.id]) if message.id in edited else message
        for message in messages
    ]


def _is_waiting(
    connection: sqlite3.Connection, lane: LaneId, message: bodies.StoredMessage
) -> bool:
    is_buffered = buffer.holds(
        connection,
        lane=str(lane),
        from_at=earlier(message.born, _BORN_LEAD_MS),
        message_id=message.id,
    )
    if is_buffered or schema_version(connection) < 2:
        return is_buffered
    return bool(timers.of_message(connection, lane=str(lane), message_id=message.id))


def unprojected(
    connection: sqlite3.Connection, *, lane: str, from_at: Instant, limit: int
) -> list[BufferRow]:
    """Return up to `limit` rows with at >= from_at whose id has no timeline row."""
    found: list[BufferRow] = []
    with closing(buffer.rows_from(connection, lane=lane, from_at=from_at)) as rows:
        while len(found) < limit and (page := list(islice(rows, QUERY_PAGE_ROWS_MAX))):
            folds = timeline.folds(connection, [row[1] for row in page])
            found += [row for row in page if row[1] not in folds]
    return found[:limit]


def in_state(
    connection: sqlite3.Connection, *, events: Sequence[int], limit: int, after: bytes
) -> Part:
    """Return messages whose largest step has one of the events: event by event, in order of id.

    The place is (position of the event, id).
    """
    ordered = sorted(set(events))
    number, start = (0, b"") if not after else (after[0], after[1:])
    reader = bodies.MessageReader()
    messages: list[MessageSummary] = []
    for position in range(number, len(ordered)):
        statement = _IN_STATE_INDEXED if ordered[position] in OPEN_QUESTIONS else _IN_STATE
        rows = connection.execute(
            statement, (ordered[position], start, limit + 1 - len(messages))
        ).fetchall()
        for message_id, step in rows:
            if len(messages) == limit:
                return Part(_as_edited(connection, messages), bytes([position]) + start)
            start = message_id
            message = reader.find(connection, message_id)
            if message is not None:  # else its body is past its time to live
                messages.append(MessageSummary(message.id, message.born, message.body, Step(step)))
        start = b""
    return Part(_as_edited(connection, messages), None)


def in_group(connection: sqlite3.Connection, *, group: str, limit: int, after: bytes) -> Part:
    """Return messages of a group key in the order of their coming.

    The place is (block, position in it).
    """
    messages, place = _stored_in_group(connection, group=group, limit=limit, after=after)
    folds = timeline.folds(connection, [message.id for message in messages])
    return Part([MessageSummary(m.id, m.born, m.body, folds.get(m.id)) for m in messages], place)


def outcomes_in_group(
    connection: sqlite3.Connection, *, group: str, limit: int, after: bytes
) -> tuple[list[MessageOutcome], bytes | None]:
    """Return the same messages, each with its newest event; a page of long bodies ends early."""
    messages, place = _stored_in_group(
        connection, group=group, limit=limit, after=after, bytes_max=EXPORT_PAGE_BYTES_MAX
    )
    newest = timeline.newest_events(connection, [message.id for message in messages])
    return [MessageOutcome(m.id, m.born, m.body, newest.get(m.id)) for m in messages], place


def _stored_in_group(
    connection: sqlite3.Connection,
    *,
    group: str,
    limit: int,
    after: bytes,
    bytes_max: int | None = None,
) -> tuple[list[bodies.StoredMessage], bytes | None]:
    """Return up to `limit` messages, and where to go on; one at least, however long it is."""
    first_block = int.from_bytes(after[:_BLOCK_BYTES])
    first_position = int.from_bytes(after[_BLOCK_BYTES:])
    messages: list[bodies.StoredMessage] = []
    length = 0
    with closing(connection.execute(_IN_GROUP, (group, first_block))) as blocks:
        for block_no, packed in blocks:
            block = unpack_bodies(packed)
            start = first_position if block_no == first_block else 0
            of_group = (n for n in range(start, len(block.ids)) if block.groups[n] == group)
            positions = list(islice(of_group, limit - len(messages) + 1))
            stored = _as_edited(connection, [bodies.stored_at(block, n) for n in positions])
            for position, message in zip(positions, stored, strict=True):
                is_long = bytes_max is not None and length >= bytes_max
                if len(messages) == limit or is_long:
                    return messages, _place(block_no, position)
                messages.append(message)
                length += len(message.body)
    return messages, None


def _place(block: int, position: int) -> bytes:
    return block.to_bytes(_BLOCK_BYTES) + position.to_bytes(_POSITION_BYTES)
