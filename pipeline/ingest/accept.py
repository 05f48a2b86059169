"""How submissions become messages: mint ids, find who accepted them before, place them.

Pure, in steps with the store's answers between them (docs/protocol.md, 5.1): `plan` gives ids
and the rows of `idem`; `settle` compares what stands there with what was asked, adopts the born of
an earlier try, and gives the rows of `messages`, by core, and of `buffer`, by lane, which are the
same at every try of writing them.  Only where a row of a message goes that is due later is decided
at each try anew, by the time of its beginning: near enough into the buffer, else into the timers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat
from typing import cast

from cluster.topology.generation import Core, Generation
from pipeline.ingest.chunk import KeyTaken, SubmitChunk
from pipeline.ingest.ids import batch_ids, chunk_id, keyed_id, minted_id, ordering_pk
from pipeline.ingest.schedule import SendTimes
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane_id import LaneId
from pipeline.message import (
    AT_ONCE,
    Body,
    BufferEntry,
    MessageId,
    MessageRow,
    PartitionKey,
    Submission,
    TimerRow,
    encode_body,
    group_key,
)
from pipeline.ports import IdempotencyRow

_HASH_BYTES = 16
_CHANCE_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneBatch:
    """Accepted messages of one lane, in columns."""

    message_ids: Sequence[MessageId]
    borns: Sequence[Instant]
    groups: Sequence[str]
    bodies: Sequence[Body]
    due_ats: Sequence[Instant] | None = None  # None: all at once
    partition_keys: Sequence[PartitionKey] | None = None  # None: they are the ids

    @property
    def keys(self) -> Sequence[PartitionKey]:
        """The partition key of each message."""
        if self.partition_keys is None:
            return cast(Sequence[PartitionKey], self.message_ids)
        return self.partition_keys

    def rows_at(
        self, begun: Instant, *, near_horizon_ms: DurationMs
    ) -> tuple[list[BufferEntry], list[TimerRow]]:
        """Return the rows of a try of writing them that begins now, by where they go.

        A lane has read its timers no further than the near horizon less W ahead, so that one which
        is acknowledged within W is never written where the lane has been.
        """
        entries = self.buffer_entries()
        if self.due_ats is None:
            return entries, []
        horizon = later(begun, near_horizon_ms)
        return (
            [entry for entry in entries if entry[4] <= horizon],
            [
                (due_at, id_, pk, born, attempt, group)
                for id_, pk, born, attempt, due_at, group in entries
                if due_at > horizon
            ],
        )

    def due_at_once(self) -> "LaneBatch | None":
        """Return those that need not wait, None if there are none."""
        if self.due_ats is None:
            return self
        chosen = [n for n, due_at in enumerate(self.due_ats) if due_at == AT_ONCE]
        if not chosen:
            return None
        return LaneBatch(
            message_ids=[self.message_ids[n] for n in chosen],
            borns=[self.borns[n] for n in chosen],
            groups=[self.groups[n] for n in chosen],
            bodies=[self.bodies[n] for n in chosen],
            partition_keys=(
                None if self.partition_keys is None else [self.partition_keys[n] for n in chosen]
            ),
        )

    def buffer_entries(self) -> list[BufferEntry]:
        """Return the rows to write; each write of them gives them a new `at`."""
        return list(
            zip(
                self.message_ids,
                self.keys,
                self.borns,
                repeat(1),
                repeat(AT_ONCE) if self.due_ats is None else self.due_ats,
                self.groups,
                strict=False,
            )
        )

    def message_rows(self) -> list[MessageRow]:
        """Return the rows of `messages`."""
        return list(
            zip(self.message_ids, self.keys, self.borns, self.groups, self.bodies, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptPlan:
    """Submissions with their ids; `idempotency_rows` is empty if nothing is keyed."""

    chunk: SubmitChunk
    submissions: Sequence[Submission]
    message_ids: Sequence[MessageId]
    idempotency_rows: Sequence[IdempotencyRow]
    now: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Messages with their born, by lane; of `repeated_count` the key had been used before."""

    lanes: Mapping[LaneId, LaneBatch]
    repeated_count: int


def plan_accept(
    chunk: SubmitChunk, submissions: Sequence[Submission], *, now: Instant, chance: bytes
) -> AcceptPlan:
    """Give every submission its id.  `chance`: 10 random bytes for each that has no key."""
    rows: list[IdempotencyRow] = []
    ids: list[MessageId]
    if chunk.batch_key is not None:
        first = chunk.first_index
        ids = batch_ids(
            tenant=chunk.tenant,
            batch_key=chunk.batch_key,
            indexes=[first + position for position in chunk.positions],
        )
        key = chunk_id(tenant=chunk.tenant, batch_key=chunk.batch_key, first_index=first)
        rows.append(IdempotencyRow(key, _chunk_hash(chunk), now))
    elif chunk.keys is not None:
        ids = [keyed_id(tenant=chunk.tenant, key=key) for key in chunk.keys]
        rows.extend(
            IdempotencyRow(id_, blake2b(body, digest_size=_HASH_BYTES).digest(), now)
            for id_, body in zip(ids, chunk.bodies, strict=True)
        )
    else:
        ids = [
            minted_id(born=now, chance=chance[start : start + _CHANCE_BYTES])
            for start in range(0, _CHANCE_BYTES * len(chunk.bodies), _CHANCE_BYTES)
        ]
    return AcceptPlan(
        chunk=chunk, submissions=submissions, message_ids=ids, idempotency_rows=rows, now=now
    )


def settle(
    plan: AcceptPlan,
    standing: Sequence[IdempotencyRow],
    *,
    generation: Generation,
    times: SendTimes,
) -> Settled | KeyTaken:
    """Take the rows that stand in `idem`, in the order of the plan's, and place the messages."""
    taken = [
        position
        for position, (ours, theirs) in enumerate(zip(plan.idempotency_rows, standing, strict=True))
        if ours.body_hash != theirs.body_hash
    ]
    if taken:
        positions = [] if plan.chunk.batch_key is not None else taken
        return KeyTaken(positions, standing[taken[0]].born)
    count = len(plan.message_ids)
    if plan.chunk.batch_key is not None:
        borns = [standing[0].born] * count
    elif standing:
        borns = [row.born for row in standing]
    else:
        borns = [_minted_born(plan.now)] * count
    # A row that stands was made by this call if it bears this call's time.
    repeated_count = sum(born != plan.now for born in borns) if standing else 0
    return Settled(lanes=_by_lane(plan, borns, generation, times), repeated_count=repeated_count)


def core_of(lane: LaneId) -> Core:
    """Return the core that serves a lane."""
    return Core(lane.node, lane.shard)


def _minted_born(now: Instant) -> Instant:
    # The born of a minted id is the time in the id, which holds milliseconds.
    return Instant(now - now % 1_000)


def _by_lane(
    plan: AcceptPlan, borns: Sequence[Instant], generation: Generation, times: SendTimes
) -> dict[LaneId, LaneBatch]:
    positions_of: dict[tuple[int, str, str], list[int]] = {}
    partition_keys = _partition_keys(plan)
    indexes = generation.core_indexes_of(partition_keys or plan.message_ids).tolist()
    for position, (index, submission) in enumerate(zip(indexes, plan.submissions, strict=True)):
        kind = (index, submission.channel, submission.priority)
        positions = positions_of.get(kind)
        if positions is None:
            positions_of[kind] = [position]
        else:
            positions.append(position)
    tenant = plan.chunk.tenant
    groups = [group_key(tenant, submission.group) for submission in plan.submissions]
    ids = plan.message_ids
    bodies, due_at_of = _resolved(plan, borns, times)
    lanes = {}
    for (index, channel, priority), positions in positions_of.items():
        core = generation.cores[index]
        lane = LaneId.for_messages(
            generation.number, core, tenant=tenant, channel=channel, priority=priority
        )
        lanes[lane] = LaneBatch(
            message_ids=[ids[n] for n in positions],
            borns=[borns[n] for n in positions],
            groups=[groups[n] for n in positions],
            bodies=[Body(bodies[n]) for n in positions],
            due_ats=(
                [due_at_of.get(n, AT_ONCE) for n in positions]
                if not due_at_of.keys().isdisjoint(positions)
                else None
            ),
            partition_keys=(
                None
                if partition_keys is None
                or not any(plan.submissions[n].ordering_key for n in positions)
                else [partition_keys[n] for n in positions]
            ),
        )
    return lanes


def _partition_keys(plan: AcceptPlan) -> list[PartitionKey] | None:
    """Return the partition key of each message, None where each is its id.

    It comes from the body, which is the same at every call with the same key.
    """
    if not any(asked.ordering_key for asked in plan.submissions):
        return None
    tenant = plan.chunk.tenant
    known: dict[str, PartitionKey] = {}
    keys: list[PartitionKey] = []
    for id_, asked in zip(plan.message_ids, plan.submissions, strict=True):
        key = PartitionKey(id_)
        if name := asked.ordering_key:
            key = known.get(name) or known.setdefault(
                name, ordering_pk(tenant=tenant, ordering_key=name)
            )
        keys.append(key)
    return keys


def _resolved(
    plan: AcceptPlan, borns: Sequence[Instant], times: SendTimes
) -> tuple[list[bytes], dict[int, Instant]]:
    """Return the bodies to store, and when those are due that are not due at once, by position.

    The bodies are the same at every call with the same key: what is stored does not change.
    """
    bodies, due_at_of = plan.chunk.bodies, {}
    for position, asked in enumerate(plan.submissions):
        if not asked.is_timed and asked.validity_ms is None:
            continue
        if bodies is plan.chunk.bodies:
            bodies = list(bodies)
        resolved = times.resolve(asked, born=borns[position])
        bodies[position] = encode_body(resolved)
        due_at = times.row_due_at(resolved, now=plan.now)
        if due_at != AT_ONCE:
            due_at_of[position] = due_at
    return bodies, due_at_of


def _chunk_hash(chunk: SubmitChunk) -> bytes:
    # A body is msgpack and so says where it ends: joined, no two lists of bodies are alike.
    digest = blake2b(digest_size=_HASH_BYTES)
    digest.update(b"".join(position.to_bytes(2) for position in chunk.positions))
    digest.update(b"".join(chunk.bodies))
    return digest.digest()
