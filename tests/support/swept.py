"""A core's file with rows in every table, and the clock that they age by."""

from collections.abc import Sequence

from cluster.local.store import LocalStore
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane.entry import Checkpoint, Entry, encode_entry
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, step_of
from pipeline.message import AT_ONCE, Body, MessageId, PartitionKey, TimerRow
from pipeline.ports import IdempotencyRow
from tests.support.local_data import LocalData

OWNER = b"o" * 16
TABLES = ("messages", "buffer", "timeline", "idem")
TAKE = step_of(attempt=1, try_no=1, event=Event.TAKE)


class Swept:
    """A store of one core with rows in every table, and the clock that they age by."""

    def __init__(self, data: LocalData, store: LocalStore) -> None:
        self.data = data
        self.clock = data.clock
        self.store = store
        self.core: Core = data.generation.cores[0]
        self.path = data.folder.core_path(self.core)
        self.lane = LaneId(1, self.core.node, self.core.shard, "sms", "bulk-0")

    async def write(self, ids: Sequence[MessageId], *, body: Body = Body(b"body")) -> None:  # noqa: B008
        now = self.clock.now()
        await self.store.announce_lane(self.lane)
        await self.store.write_messages(
            self.core, [(i, PartitionKey(i), now, "acme/spring", body) for i in ids]
        )
        await self.store.write_buffer(
            self.lane, [(i, PartitionKey(i), now, 1, AT_ONCE, "acme/spring") for i in ids]
        )
        await self.store.project(self.core, [(i, PartitionKey(i), TAKE, now, "file") for i in ids])
        await self.store.put_idempotency([IdempotencyRow(i, i, now) for i in ids])

    async def append(self, seq: int, *, retired_through: int | None, segment: int = 0) -> None:
        now = self.clock.now()
        checkpoint = (
            None
            if retired_through is None
            else Checkpoint(offset=now, retired_through=retired_through)
        )
        entry = Entry(
            at=now,
            connector="file",
            message_ids=[],
            steps=[],
            events_before=[],
            borns=[],
            groups=[],
            partition_keys={},
            details={},
            checkpoint=checkpoint,
        )
        assert await self.store.append(
            self.lane, segment, epoch=1, seq=seq, body=encode_entry(entry)
        )

    async def seqs(self) -> list[int]:
        entries = await self.store.read_journal(self.lane, 0, before_seq=None, limit=1_000)
        return [entry.seq for entry in reversed(entries)]

    async def timers(self) -> list[TimerRow]:
        page = await self.store.read_timers(
            self.lane, from_due=Instant(0), through_due=Instant(1 << 62), limit=100, resume=None
        )
        return list(page.rows)

    async def left(self, ids: Sequence[MessageId]) -> dict[str, set[MessageId]]:
        keys = [(PartitionKey(message_id), message_id) for message_id in ids]
        page = await self.store.read_buffer(
            self.lane, from_at=Instant(0), through_at=Instant(1 << 62), limit=10_000, resume=None
        )
        changed = [IdempotencyRow(i, b"another hash....", Instant(0)) for i in ids]
        return {
            "messages": set(await self.store.read_bodies(self.core, keys)),
            "buffer": {row[1] for row in page.rows},
            "timeline": set(await self.store.read_folds(self.core, keys)),
            "idem": {
                MessageId(row.id)
                for row in await self.store.put_idempotency(changed)
                if row.body_hash == row.id
            },
        }


def ids_of_core(swept: Swept, count: int, *, kind: int = 0) -> list[MessageId]:
    # Keys of clients lie on cores of their own, so ids are taken that lie on this one.
    generation = swept.store._generation
    return [
        MessageId(generation.forged_key(swept.core, kind << 32 | number)) for number in range(count)
    ]
