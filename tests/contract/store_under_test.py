"""What a store's test file gives to the contracts, and the rows that they write."""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from cluster.topology.generation import Core, Generation
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.message import (
    AT_ONCE,
    Body,
    BufferEntry,
    BufferRow,
    MessageId,
    MessageRow,
    PartitionKey,
    Submission,
    encode_body,
    group_key,
)
from pipeline.ports import (
    IngestStore,
    JournalEntry,
    LaneStore,
    QueryStore,
    TopologySource,
)

RowT = TypeVar("RowT")

BORN = Instant(1_700_000_000_000_000)
OWNER_A, OWNER_B = b"owner-a-owner-a-", b"owner-b-owner-b-"
NEVER, EVER = Instant(0), Instant(1 << 62)  # before and after every `at`


class Store(IngestStore, LaneStore, TopologySource, Protocol):
    """All that actors ask of a store."""


class StoreUnderTest(Protocol):
    """Data that is fresh for one test, and ways into it."""

    @property
    def generation(self) -> Generation:
        """Return the only generation of the data."""
        ...

    async def open(self) -> Store:
        """Return the store as one more process sees it; closed after the test."""
        ...

    async def open_queries(self) -> QueryStore:
        """Return the queries on the same data; closed after the test."""
        ...

    def losing_the_answer(self, store: Store) -> AbstractContextManager[None]:
        """Apply what the store writes meanwhile, and lose the answers."""
        ...

    def refusing_writes(self, store: Store) -> AbstractContextManager[None]:
        """Let the database certainly apply nothing of what the store writes meanwhile."""
        ...


@dataclass
class Rows:
    """Makes ids of one core that were never made before, and rows with harmless values."""

    generation: Generation
    core: Core
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def ids(self, count: int) -> list[MessageId]:
        return [
            MessageId(self.generation.forged_key(self.core, next(self._numbers)))
            for _ in range(count)
        ]

    def lane(self, *, channel: str = "sms", band: str = "bulk-0") -> LaneId:
        return LaneId(self.generation.number, self.core.node, self.core.shard, channel, band)


def key_of(message_id: MessageId) -> tuple[PartitionKey, MessageId]:
    return PartitionKey(message_id), message_id


def keys_of(ids: Sequence[MessageId]) -> list[tuple[PartitionKey, MessageId]]:
    return [key_of(message_id) for message_id in ids]


def make_body(
    content: str = "hello",
    *,
    tenant: str = "acme",
    group: str = "spring",
    channel: str = "sms",
    priority: str = "urgent",
) -> Body:
    return Body(
        encode_body(
            Submission(
                tenant=tenant,
                channel=channel,
                recipient="+10000000000",
                content=content,
                group=group,
                priority=priority,
            )
        )
    )


def message_row(
    message_id: MessageId,
    *,
    pk: PartitionKey | None = None,
    born: Instant = BORN,
    group: str = group_key("acme", "spring"),
    body: Body | None = None,
) -> MessageRow:
    return (
        message_id,
        pk or PartitionKey(message_id),
        born,
        group,
        body or make_body(message_id.hex()),
    )


def buffer_entry(
    message_id: MessageId,
    *,
    pk: PartitionKey | None = None,
    born: Instant = BORN,
    attempt: int = 1,
    due_at: Instant = AT_ONCE,
    group: str = group_key("acme", "spring"),
) -> BufferEntry:
    return (message_id, pk or PartitionKey(message_id), born, attempt, due_at, group)


async def all_pages(
    read: Callable[[bytes | None], Awaitable[tuple[Sequence[RowT], bytes | None]]], *, limit: int
) -> list[RowT]:
    """Return the rows of all pages; `read` is told where the page before ended."""
    rows: list[RowT] = []
    resume: bytes | None = None
    while True:
        page, resume = await read(resume)
        assert len(page) <= limit
        rows += page
        if resume is None:
            return rows


async def read_all(
    store: Store,
    lane: LaneId,
    *,
    from_at: Instant = NEVER,
    through_at: Instant = EVER,
    limit: int = 1_000,
) -> list[BufferRow]:
    """Return every row of the lane in a span, page by page."""
    return await all_pages(
        lambda resume: store.read_buffer(
            lane, from_at=from_at, through_at=through_at, limit=limit, resume=resume
        ),
        limit=limit,
    )


async def journal_of(store: Store, lane: LaneId, segment: int = 0) -> list[JournalEntry]:
    return await store.read_journal(lane, segment, before_seq=None, limit=10_000)
