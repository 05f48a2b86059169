"""A data folder as a platform leaves it, made step by step by the store's own verbs.

No lane decides here: a test says what is appended, projected, counted and written out, and so can
leave out any of it, as a crash does.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster.local.data_folder import DataFolder, Shape
from cluster.local.store import LocalStore
from cluster.topology.generation import Core
from pipeline.connectors.file.codec import encode_lines
from pipeline.ingest.accept import Settled, core_of, plan_accept, settle
from pipeline.ingest.chunk import SubmitChunk
from pipeline.ingest.schedule import SendTimes
from pipeline.instant import Instant
from pipeline.lane.books import LaneBooks, tally_of
from pipeline.lane.entry import Checkpoint, Entry, EntryBuilder, encode_entry
from pipeline.lane_id import LaneId
from pipeline.lifecycle import EVENT_MASK, Event, IllegalTransition, Step, next_claim, step_after
from pipeline.limits import Windows
from pipeline.message import (
    Body,
    MessageId,
    PartitionKey,
    Submission,
    encode_body,
    group_key,
)
from pipeline.outcome import HandOver
from pipeline.ports import Beat
from tests.support.fake_clock import FakeClock

WINDOWS = Windows()
SMALL = Shape(node_count=1, shard_count=2)
PLATFORM_ID = b"platfm"


def owner_of(core_index: int) -> bytes:
    return PLATFORM_ID + bytes([core_index]) * 10


@dataclass
class _Lane:
    """What an owner keeps of a lane."""

    next_seq: int = 0
    segment: int = 0
    books: LaneBooks = field(default_factory=LaneBooks)
    unprojected: list[Entry] = field(default_factory=list)


@dataclass
class _Message:
    lane: LaneId
    born: Instant
    group: str
    body: Body
    fold: Step | None = None


class FilledFolder:
    """The folder, and what was done in it so far."""

    def __init__(self, path: Path, *, shape: Shape = SMALL) -> None:
        self.path = path
        self.clock = FakeClock()
        self.folder = DataFolder.create_or_open(
            path, shape=shape, windows=WINDOWS, now=self.clock.now()
        )
        self.generation = self.folder.generation
        self.lanes: dict[LaneId, _Lane] = {}
        self.messages: dict[MessageId, _Message] = {}
        self._batches = 0
        self._store: LocalStore | None = None

    async def store(self) -> LocalStore:
        if self._store is None:
            self._store = LocalStore.open(self.path, cores=None, clock=self.clock, windows=WINDOWS)
        return self._store

    async def close(self) -> None:
        if self._store is not None:
            store, self._store = self._store, None
            await store.close()

    # --- what an ingester does ----------------------------------------------------------------

    async def accept(
        self,
        count: int,
        *,
        group: str = "g",
        tenant: str = "default",
        channel: str = "sms",
        recipient: str = "+447700900{n:03}",
        content: str = "number {n}",
        is_buffered: bool = True,
        is_announced: bool = True,
        ordering_key: str = "",
    ) -> list[MessageId]:
        """Accept messages; `is_buffered` False leaves off before the buffer is written."""
        store = await self.store()
        submissions = [
            Submission(
                tenant=tenant,
                channel=channel,
                recipient=recipient.format(n=n),
                content=content.format(n=n),
                group=group,
                priority="bulk",
                ordering_key=ordering_key,
            )
            for n in range(count)
        ]
        self._batches += 1
        chunk = SubmitChunk(
            tenant=tenant,
            batch_key=b"batch %d" % self._batches,
            first_index=0,
            positions=list(range(count)),
            keys=None,
            bodies=[encode_body(submission) for submission in submissions],
        )
        plan = plan_accept(chunk, submissions, now=self.clock.now(), chance=b"")
        settled = settle(
            plan,
            plan.idempotency_rows,
            generation=self.generation,
            times=SendTimes(validity_ms_max=WINDOWS.validity_ms_max),
        )
        assert isinstance(settled, Settled)
        self.clock.advance(3)
        for lane, batch in settled.lanes.items():
            await store.write_messages(core_of(lane), batch.message_rows())
            if is_announced:
                await store.announce_lane(lane)
            if is_buffered:
                await store.write_buffer(lane, batch.buffer_entries())
            for id_, born, body in zip(batch.message_ids, batch.borns, batch.bodies, strict=True):
                self.messages[id_] = _Message(lane, born, group_key(tenant, group), Body(body))
        return list(plan.message_ids)

    # --- what a scheduler does ----------------------------------------------------------------

    async def own(self, lane: LaneId) -> _Lane:
        if lane not in self.lanes:
            store = await self.store()
            core = core_of(lane)
            owner = owner_of(self.generation.index_of(core))
            assert await store.open_segment(lane, 0, epoch=1, owner=owner)
            self.lanes[lane] = _Lane()
        return self.lanes[lane]

    async def append(
        self,
        ids: Sequence[MessageId],
        event: Event,
        *,
        checkpoint: Checkpoint | None = None,
        detail: str = "",
    ) -> None:
        """Journal the same event of messages, lane by lane."""
        for lane in {self.messages[id_].lane for id_ in ids}:
            mine = [id_ for id_ in ids if self.messages[id_].lane == lane]
            builder = EntryBuilder()
            folds = [self.messages[id_].fold for id_ in mine]
            steps = [_step_after(fold, event) for fold in folds]
            builder.add_lines(
                message_ids=mine,
                partition_keys=[PartitionKey(id_) for id_ in mine],
                steps=steps,
                events_before=[(fold or 0) & EVENT_MASK for fold in folds],
                borns=[self.messages[id_].born for id_ in mine],
                groups=[self.messages[id_].group for id_ in mine],
                details=dict.fromkeys(range(len(mine)), detail) if detail else {},
            )
            await self._append(lane, builder, checkpoint)
            for id_, step in zip(mine, steps, strict=True):
                self.messages[id_].fold = step

    async def checkpoint(self, lane: LaneId, *, offset: Instant, retired_through: int) -> None:
        """Journal a checkpoint alone."""
        await self._append(
            lane, EntryBuilder(), Checkpoint(offset=offset, retired_through=retired_through)
        )

    async def _append(
        self, lane: LaneId, builder: EntryBuilder, checkpoint: Checkpoint | None
    ) -> None:
        owned = await self.own(lane)
        entry = builder.build(at=self.clock.now(), connector="file", checkpoint=checkpoint)
        store = await self.store()
        assert await store.append(
            lane, owned.segment, epoch=1, seq=owned.next_seq, body=encode_entry(entry)
        )
        owned.books.apply(owned.next_seq, tally_of(entry))
        owned.unprojected.append(entry)
        owned.next_seq += 1

    async def roll(self, lane: LaneId, *, steps: int = 3) -> None:
        """Let the journal of a lane go on in another segment, or stop on the way there."""
        owned, store = await self.own(lane), await self.store()
        owner = owner_of(self.generation.index_of(core_of(lane)))
        await store.write_segment_hint(lane, owned.segment + 1)
        if steps > 1:
            assert await store.close_segment(lane, owned.segment, epoch=1)
        if steps > 2:
            owned.segment += 1
            assert await store.open_segment(lane, owned.segment, epoch=1, owner=owner)

    async def project(self) -> None:
        """Write the timeline of all that is journaled."""
        store = await self.store()
        for lane, owned in self.lanes.items():
            rows = [row for entry in owned.unprojected for row in entry.timeline_rows()]
            await store.project(core_of(lane), rows)
            owned.unprojected.clear()

    async def write_books(self) -> None:
        """Write the cells of all that is journaled."""
        store = await self.store()
        for lane, owned in self.lanes.items():
            if unread := owned.books.take_unread():
                owned.books.on_read(await store.read_books(lane, unread))
            if cells := owned.books.take_cells():
                await store.write_books(lane, cells)
                owned.books.on_written()

    def write_lines(self, ids: Sequence[MessageId]) -> None:
        """Write lines into the outbox, as the file connector does."""
        for id_ in ids:
            message = self.messages[id_]
            hand_over = HandOver(
                lane=message.lane,
                message_ids=[id_],
                attempts=[1],
                bodies=[message.body],
                send_before=Instant(2**62),
            )
            with self.outbox_file(message.lane).open("ab") as file:
                file.write(b"".join(encode_lines(hand_over)))

    def outbox_file(self, lane: LaneId) -> Path:
        folder = self.path / "outbox" / lane.channel
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{lane}.jsonl"

    async def beat(self) -> None:
        """Say of every core that its scheduler lives."""
        store = await self.store()
        for index, core in enumerate(self.generation.cores):
            await store.beat(core, Beat(owner_of(index), f"scheduler {index}", self.clock.now()))

    async def send(self, ids: Sequence[MessageId]) -> None:
        """Claim messages, hand them over, record and project it, count it, write a checkpoint."""
        self.clock.advance(20)
        await self.append(ids, Event.CLAIM)
        self.clock.advance(12)
        self.write_lines(ids)
        await self.append(ids, Event.TAKE)
        await self.project()
        await self.write_books()
        await self.finish()

    async def finish(self) -> None:
        """Project and count everything, and put each lane's offset behind all its rows."""
        await self.project()
        await self.write_books()
        self.clock.advance(100)
        for lane, owned in self.lanes.items():
            await self.checkpoint(lane, offset=self.clock.now(), retired_through=owned.next_seq - 1)
        await self.write_books()

    # --- what damages do ----------------------------------------------------------------------

    def core_of(self, id_: MessageId) -> Core:
        return core_of(self.messages[id_].lane)

    def damage(self, core: Core, statement: str, *parameters: object) -> int:
        """Change a core's file behind the store's back; return how many rows changed."""
        return self.damage_file(self.folder.core_path(core), statement, *parameters)

    @staticmethod
    def damage_file(path: Path, statement: str, *parameters: object) -> int:
        """Do the same to a file of which only the path is known."""
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement, parameters).rowcount


def _step_after(fold: Step | None, event: Event) -> Step:
    with suppress(IllegalTransition):
        return step_after(fold, event)
    # Broken on purpose.
    if fold is not None and fold & EVENT_MASK not in (Event.NOT_SENT, Event.DEFER):
        return Step(fold - (fold & EVENT_MASK) + event)
    return Step(next_claim(fold) - Event.CLAIM + event)
