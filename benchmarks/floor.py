"""The floor: the same work in a straight line, in one process, without anything that could fail.

    python -m benchmarks.floor [--messages N]

Reads the same file, checks, places, writes ids, bodies and buffer rows, journals a claim, writes
and syncs the outbox, journals the outcome and projects both: the same bytes to the same tables with
the same syncs, chunk by chunk.  What it leaves out is what the platform is for: other processes,
take-over, doorbells, reading back, books.  The distance to `end_to_end` is the price of those.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from actors.cli.chunks import batch_key_of, read_chunks
from actors.cli.input_file import open_input
from actors.cli.mapping import FieldOptions, resolve_mapping
from benchmarks.end_to_end import GROUP, write_messages
from benchmarks.result import print_result
from cluster.egress.file_outbox import FileOutbox
from cluster.local.data_folder import DataFolder
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from pipeline.connectors.file.codec import encode_lines
from pipeline.ingest.accept import LaneBatch, Settled, core_of, plan_accept, settle
from pipeline.ingest.chunk import SubmitChunk, decode_chunk, encode
from pipeline.ingest.schedule import SendTimes
from pipeline.ingest.submission import validate_body
from pipeline.instant import Instant
from pipeline.lane.entry import Checkpoint, EntryBuilder, encode_entry
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, step_of
from pipeline.limits import Windows
from pipeline.message import PartitionKey
from pipeline.outcome import HandOver

MESSAGES: Final = 200_000
_OWNER: Final = b"one process only"
_CLAIM: Final = step_of(attempt=1, try_no=1, event=Event.CLAIM)
_TAKE: Final = step_of(attempt=1, try_no=1, event=Event.TAKE)


class Line:
    """One lane of the straight line."""

    def __init__(self, lane: LaneId, store: LocalStore, outbox: FileOutbox) -> None:
        self._lane = lane
        self._store = store
        self._outbox = outbox
        self._clock = SystemClock()
        self._seq = 0

    async def open(self) -> None:
        """Announce the lane and own it."""
        await self._store.announce_lane(self._lane)
        assert await self._store.open_segment(self._lane, 0, epoch=1, owner=_OWNER)

    async def carry(self, batch: LaneBatch) -> None:
        """Buffer, claim, hand over, record."""
        await self._store.write_buffer(self._lane, batch.buffer_entries())
        await self._append(batch, step=_CLAIM, before=0)
        lines = encode_lines(
            HandOver(
                lane=self._lane,
                message_ids=batch.message_ids,
                attempts=[1] * len(batch.message_ids),
                bodies=batch.bodies,
                send_before=Instant(2**62),
            )
        )
        assert (await self._outbox.append(self._lane, b"".join(lines))).is_durable
        await self._append(batch, step=_TAKE, before=Event.CLAIM)

    async def _append(self, batch: LaneBatch, *, step: int, before: int) -> None:
        builder = EntryBuilder()
        count = len(batch.message_ids)
        builder.add_lines(
            message_ids=batch.message_ids,
            partition_keys=[PartitionKey(id_) for id_ in batch.message_ids],
            steps=[step] * count,
            events_before=[before] * count,
            borns=batch.borns,
            groups=batch.groups,
            details={},
        )
        now = self._clock.now()
        entry = builder.build(
            at=now, connector="file", checkpoint=Checkpoint(offset=now, retired_through=-1)
        )
        assert await self._store.append(
            self._lane, 0, epoch=1, seq=self._seq, body=encode_entry(entry)
        )
        self._seq += 1
        await self._store.project(core_of(self._lane), entry.timeline_rows())


async def run(file: Path, data: Path) -> int:
    """Carry every message of a file; return how many there were."""
    clock = SystemClock()
    times = SendTimes(validity_ms_max=Windows().validity_ms_max)
    DataFolder.create_or_open(data, shape=None, windows=Windows(), now=clock.now())
    store = LocalStore.open(data, cores=None, clock=clock, windows=Windows())
    (generation,) = await store.read_generations()
    outbox = FileOutbox(data / "outbox")
    opened = open_input(str(file), standard_input=open(os.devnull, "rb"))  # noqa: SIM115, ASYNC230
    mapping = resolve_mapping(
        opened.columns, FieldOptions(group=GROUP, channel="sms"), has_rows=opened.has_rows
    )
    batch_key = batch_key_of(file)
    lines: dict[LaneId, Line] = {}
    count = 0
    for read in read_chunks(opened, mapping):
        chunk = decode_chunk(
            encode(
                SubmitChunk(
                    tenant=mapping.tenant,
                    batch_key=batch_key,
                    first_index=read.first_index,
                    positions=list(read.positions),
                    keys=None,
                    bodies=list(read.bodies),
                )
            )
        )
        submissions = [validate_body(body) for body in chunk.bodies]
        plan = plan_accept(chunk, submissions, now=clock.now(), chance=b"")
        standing = await store.put_idempotency(plan.idempotency_rows)
        settled = settle(plan, standing, generation=generation, times=times)
        assert isinstance(settled, Settled)
        for lane in settled.lanes.keys() - lines.keys():
            lines[lane] = Line(lane, store, outbox)
            await lines[lane].open()
        await asyncio.gather(
            *(
                store.write_messages(core_of(lane), batch.message_rows())
                for lane, batch in settled.lanes.items()
            )
        )
        await asyncio.gather(*(lines[lane].carry(batch) for lane, batch in settled.lanes.items()))
        count += len(chunk.bodies)
    outbox.close()
    await store.close()
    opened.close()
    return count


def main() -> None:
    """Measure and print one result."""
    parser = argparse.ArgumentParser(description="the same work in a straight line")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        file = Path(folder) / "messages.csv"
        write_messages(file, arguments.messages)
        cpu_before, begun = time.process_time(), time.perf_counter()
        count = asyncio.run(run(file, Path(folder) / "data"))
        seconds = time.perf_counter() - begun
        cpu_s = time.process_time() - cpu_before
    print_result(
        "floor",
        {
            "messages": count,
            "messages_per_second": round(count / seconds),
            "cpu_us_per_message": round(cpu_s / count * 1e6, 1),
        },
    )


if __name__ == "__main__":
    main()
