"""The ingester: makes chunks of submissions durable, then says so, then rings the doorbells.

The order is the promise (docs/protocol.md, 5.1): the key's row, the bodies, the buffer rows (or
timers, of what is due later), the answer, the doorbell.  A write of rows counts only if its
acknowledgement came within W of its start, by the wall's clock and by one that runs while the
machine sleeps; else they are written again, and the lane drops the copy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from actors.doorbells import Doorbells
from cluster.runtime.processor import ProcessorUse
from cluster.topology.generation import Core, Generation
from pipeline.errors import StoreUnavailable, SubmissionInvalid, WriteUnknown
from pipeline.ingest.accept import LaneBatch, Settled, core_of, plan_accept, settle
from pipeline.ingest.chunk import (
    Accepted,
    KeyTaken,
    Leaving,
    Overloaded,
    Refused,
    SubmitChunk,
    SubmitReply,
    Unanswered,
    decode_chunk,
    encode,
)
from pipeline.ingest.doorbell import LaneRows, once_if_alike
from pipeline.ingest.schedule import SendTimes
from pipeline.ingest.submission import validate_body
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.limits import (
    BATCH_MESSAGES_MAX,
    CHUNK_MESSAGES_MAX,
    DOORBELL_BODY_BYTES_MAX,
    INGEST_BYTES_IN_FLIGHT_MAX,
    INGEST_MESSAGES_IN_FLIGHT_MAX,
    OVERLOADED_RETRY_AFTER_MS,
    WRITE_TRIES_MAX,
    Windows,
)
from pipeline.message import Submission, is_ordered
from pipeline.ports import Clock, IngestStore

log = structlog.get_logger(__name__)

_US_PER_MS = 1_000
_MEASURE_US = 900_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IngesterPorts:
    """What an ingester holds of the world."""

    store: IngestStore
    generations: Sequence[Generation]
    channels: frozenset[str]  # those that a connector serves
    clock: Clock
    chance: Callable[[int], bytes]
    doorbells: Doorbells
    measure: Callable[[], ProcessorUse]  # since it was called last
    close: Callable[[], Awaitable[None]]
    refusal: Callable[[], str | None] = lambda: None  # why nothing may be accepted now
    warnings: Callable[[], Sequence[str]] = tuple  # what somebody should look at
    # Statements that the owning core served, and those that others did.
    served: Callable[[], tuple[int, Mapping[str, int]]] = lambda: (0, {})


class Ingester:
    """Admits as much as fits in its limits; says "overloaded" at once to the rest."""

    def __init__(
        self, windows: Windows, open_ports: Callable[[], Awaitable[IngesterPorts]]
    ) -> None:
        self._windows = windows
        self._open_ports = open_ports
        self._times = SendTimes(validity_ms_max=windows.validity_ms_max)
        self._lifecycle = asyncio.Lock()
        self._ports: IngesterPorts | None = None
        self._messages_in_flight = 0
        self._bytes_in_flight = 0
        self._announced: set[LaneId] = set()
        self._accepted_count = 0
        self._is_over = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._use = ProcessorUse(0, 0)
        self._measured_at = Instant(0)
        self._overloaded_count = 0
        self._overloaded_lately = 0
        self._overloaded_before = 0

    async def start(self) -> None:
        """Open the ports.  A second start does nothing, nor does one after the end."""
        async with self._lifecycle:
            if self._ports is None and not self._is_over:
                self._ports = await self._open_ports()

    async def drain(self) -> None:
        """Take no chunk any more, answer those under way, close the ports.  May come twice.

        From its first moment on who asks is sent to another ingester.
        """
        self._is_over = True
        await self._is_idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """Close the ports, whatever is under way.  May come before start, and twice."""
        async with self._lifecycle:
            ports, self._ports = self._ports, None
            if ports is not None:
                await ports.doorbells.close()
                await ports.close()

    async def check_health(self) -> Mapping[str, Any]:
        """Return what a supervisor may want to see."""
        await self.start()
        self._measure()
        return {
            "is_ending": self._is_over,
            "accepted": self._accepted_count,
            "messages_in_flight": self._messages_in_flight,
            "bytes_in_flight": self._bytes_in_flight,
            "busy": self._use.busy,
            "idle": self._use.idle,
            "overloaded_lately": self._overloaded_lately,
            "warnings": [] if self._ports is None else list(self._ports.warnings()),
            "served": (0, {}) if self._ports is None else self._ports.served(),
        }

    def _measure(self) -> None:
        ports = self._ports
        # Whoever asks more often is told the same: a moment says little of a load.
        if ports is None or abs(ports.clock.now() - self._measured_at) < _MEASURE_US:
            return
        self._measured_at = ports.clock.now()
        self._use = ports.measure()
        self._overloaded_lately = self._overloaded_count - self._overloaded_before
        self._overloaded_before = self._overloaded_count

    async def submit(self, data: bytes) -> bytes:
        """Accept an encoded `SubmitChunk`, all or none; return an encoded `SubmitReply`."""
        try:
            chunk = decode_chunk(data)
        except msgspec.MsgspecError as error:
            return encode(Refused([(0, "chunk", f"cannot be read: {error}")]))
        await self.start()
        ports = self._ports
        if self._is_over:
            return encode(Leaving())
        if ports is None:
            return encode(Overloaded(OVERLOADED_RETRY_AFTER_MS))
        if (refusal := ports.refusal()) is not None:
            return encode(Unanswered(refusal))
        count = len(chunk.bodies)
        if (
            self._messages_in_flight + count > INGEST_MESSAGES_IN_FLIGHT_MAX
            or self._bytes_in_flight + len(data) > INGEST_BYTES_IN_FLIGHT_MAX
        ) and self._messages_in_flight:
            self._overloaded_count += 1
            return encode(Overloaded(OVERLOADED_RETRY_AFTER_MS))
        self._messages_in_flight += count
        self._bytes_in_flight += len(data)
        self._is_idle.clear()
        try:
            return encode(await self._accept(ports, chunk))
        finally:
            self._messages_in_flight -= count
            self._bytes_in_flight -= len(data)
            if not self._messages_in_flight:
                self._is_idle.set()

    async def _accept(self, ports: IngesterPorts, chunk: SubmitChunk) -> SubmitReply:
        now = ports.clock.now()
        submissions, refused = _validated(chunk, channels=ports.channels, now=now)
        if refused:
            return Refused(refused)
        plan = plan_accept(
            chunk,
            submissions,
            now=now,
            chance=b"" if _is_keyed(chunk) else ports.chance(10 * len(chunk.bodies)),
        )
        try:
            standing = (
                await ports.store.put_idempotency(plan.idempotency_rows)
                if plan.idempotency_rows
                else []
            )
            settled = settle(plan, standing, generation=ports.generations[-1], times=self._times)
            if isinstance(settled, KeyTaken):
                return settled
            await self._store(ports, settled)
        except (StoreUnavailable, WriteUnknown) as error:
            log.warning("chunk_unanswered", error=str(error), first_index=chunk.first_index)
            return Unanswered(str(error))
        self._accepted_count += len(chunk.bodies)
        for lane, batch in settled.lanes.items():
            if (due := batch.due_at_once()) is not None:
                ports.doorbells.ring(core_of(lane), _lane_rows(lane, due))
        return Accepted(len(chunk.bodies), plan.message_ids[0], settled.repeated_count)

    async def _store(self, ports: IngesterPorts, settled: Settled) -> None:
        by_core: dict[Core, list[LaneBatch]] = {}
        for lane, batch in settled.lanes.items():
            by_core.setdefault(core_of(lane), []).append(batch)
        await asyncio.gather(
            *(
                ports.store.write_messages(
                    core, [row for batch in batches for row in batch.message_rows()]
                )
                for core, batches in by_core.items()
            )
        )
        await asyncio.gather(
            *(self._write_rows(ports, lane, batch) for lane, batch in settled.lanes.items())
        )

    async def _write_rows(self, ports: IngesterPorts, lane: LaneId, batch: LaneBatch) -> None:
        if lane not in self._announced:
            await ports.store.announce_lane(lane)
            self._announced.add(lane)
        deadline_us = self._windows.write_deadline_ms * _US_PER_MS
        for _ in range(WRITE_TRIES_MAX):
            begun = ports.clock.reading()
            entries, timers = batch.rows_at(
                begun.wall, near_horizon_ms=self._windows.near_horizon_ms
            )
            try:
                if timers:
                    await ports.store.write_timers(lane, timers)
                if entries:
                    await ports.store.write_buffer(lane, entries)
            except WriteUnknown:
                # The copy that may have landed is dropped by the lane, as a repeat has the same id.
                continue
            ended = ports.clock.reading()
            if (
                ended.wall - begun.wall <= deadline_us
                and ended.boot_us - begun.boot_us <= deadline_us
            ):
                return
            log.warning("buffer_write_late", lane=str(lane))
        raise WriteUnknown(
            f"the buffer did not answer within {self._windows.write_deadline_ms} ms,"
            f" {WRITE_TRIES_MAX} times: repeat the same call"
        )


def _is_keyed(chunk: SubmitChunk) -> bool:
    return chunk.batch_key is not None or chunk.keys is not None


def _validated(
    chunk: SubmitChunk, *, channels: frozenset[str], now: Instant
) -> tuple[list[Submission], list[tuple[int, str, str]]]:
    """Return the submissions, or why some cannot be accepted."""
    count = len(chunk.bodies)
    if not 1 <= count <= CHUNK_MESSAGES_MAX:
        return [], [(0, "bodies", f"a chunk holds 1 to {CHUNK_MESSAGES_MAX} messages")]
    if chunk.keys is not None and (len(chunk.keys) != count or len(set(chunk.keys)) != count):
        return [], [(0, "keys", "each message of a chunk has a key of its own")]
    if chunk.batch_key is not None:
        positions = chunk.positions
        if (
            len(positions) != count
            or positions != sorted(set(positions))
            or not 0 <= positions[0] <= positions[-1] < CHUNK_MESSAGES_MAX
        ):
            return [], [(0, "positions", "one for each message, growing, below 1,000")]
        first = chunk.first_index
        if first % CHUNK_MESSAGES_MAX or not 0 <= first < BATCH_MESSAGES_MAX:
            return [], [(0, "first_index", f"a multiple of {CHUNK_MESSAGES_MAX}, below 2^40")]
    submissions: list[Submission] = []
    refused: list[tuple[int, str, str]] = []
    for position, body in enumerate(chunk.bodies):
        try:
            submission = validate_body(body, now=now)
        except SubmissionInvalid as error:
            refused.append((position, error.field, error.reason))
            continue
        if submission.tenant != chunk.tenant:
            refused.append((position, "tenant", "is not the tenant of the chunk"))
        if submission.channel not in channels:
            known = ", ".join(sorted(channels))
            refused.append(
                (position, "channel", f"no connector serves {submission.channel!r}, but: {known}")
            )
        submissions.append(submission)
    return submissions, refused


def _lane_rows(lane: LaneId, batch: LaneBatch) -> LaneRows:
    bodies = [body if len(body) <= DOORBELL_BODY_BYTES_MAX else b"" for body in batch.bodies]
    if batch.partition_keys is not None:
        # What is ordered the lane reads itself, with all that came before.
        keys = zip(batch.partition_keys, batch.message_ids, strict=True)
        bodies = [
            b"" if is_ordered(pk, id_) else body
            for body, (pk, id_) in zip(bodies, keys, strict=True)
        ]
    return LaneRows(
        str(lane),
        list(batch.message_ids),
        None if batch.partition_keys is None else list(batch.partition_keys),
        once_if_alike(batch.borns),
        once_if_alike(batch.groups),
        bodies,
    )
