"""A process that writes through the store, and says on its standard output what was acknowledged.

    python -m tests.support.acknowledging_writer FOLDER [--synchronous MODE] [--rows N]

Each line is one acknowledgement: a verb and the ids that it wrote, in hexadecimal; no id is ever
written by two calls.  The store is swept meanwhile, and its log moved early, so that the process
can die in there as well.  It goes on until it is killed.

For each seed on its standard input a writer is started, one after the other, as a process of its
own that needs not load everything again: `began PID`, its acknowledgements, `ended`.
"""

import argparse
import asyncio
import itertools
import os
import random
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from unittest.mock import patch

from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from cluster.topology.generation import Core
from pipeline.lane_id import LaneId
from pipeline.limits import Windows
from pipeline.message import AT_ONCE, Body, MessageId, PartitionKey
from pipeline.ports import IdempotencyRow
from tests.support.acknowledged import BEGAN, ENDED, EPOCH, OWNER, STEP, lane_on

WRITERS_PER_CORE = 4
WAL_CHECKPOINT_BYTES = 64 * 1024


class AcknowledgingWriter:
    def __init__(self, store: LocalStore, *, chance: random.Random, rows_max: int) -> None:
        self._store = store
        self._chance = chance
        self._rows_max = rows_max
        self._clock = SystemClock()

    async def write_for_ever(self, core: Core, seqs: "itertools.count[int]") -> None:
        lane = lane_on(core)
        verbs: list[Callable[..., Coroutine[None, None, None]]] = [
            self._messages, self._buffer, self._append, self._project, self._idempotency
        ]  # fmt: skip
        while True:
            count = self._chance.randint(1, self._rows_max)
            ids = [MessageId(self._chance.randbytes(16)) for _ in range(count)]
            verb = self._chance.choice(verbs)
            if verb == self._append:
                ids = ids[:1]
                await self._append(core, lane, ids, next(seqs))
            else:
                await verb(core, lane, ids)
            name = verb.__name__.lstrip("_")
            line = " ".join([name, str(lane), *(message_id.hex() for message_id in ids)])
            os.write(1, f"{line}\n".encode())

    async def sweep_for_ever(self, core: Core) -> None:
        while True:
            await self._store.sweep(core)
            await asyncio.sleep(0.01)

    async def _messages(self, core: Core, _lane: LaneId, ids: Sequence[MessageId]) -> None:
        born = self._clock.now()
        await self._store.write_messages(
            core, [(i, PartitionKey(i), born, "acme/spring", Body(b"body of " + i)) for i in ids]
        )

    async def _buffer(self, _core: Core, lane: LaneId, ids: Sequence[MessageId]) -> None:
        born = self._clock.now()
        await self._store.write_buffer(
            lane, [(i, PartitionKey(i), born, 1, AT_ONCE, "acme/spring") for i in ids]
        )

    async def _append(self, _core: Core, lane: LaneId, ids: Sequence[MessageId], seq: int) -> None:
        assert await self._store.append(lane, 0, epoch=EPOCH, seq=seq, body=ids[0])

    async def _project(self, core: Core, _lane: LaneId, ids: Sequence[MessageId]) -> None:
        at = self._clock.now()
        await self._store.project(core, [(i, PartitionKey(i), STEP, at, "file") for i in ids])

    async def _idempotency(self, _core: Core, _lane: LaneId, ids: Sequence[MessageId]) -> None:
        born = self._clock.now()
        await self._store.put_idempotency([IdempotencyRow(i, i, born) for i in ids])


async def write(folder: Path, *, chance: random.Random, rows_max: int) -> None:
    store = LocalStore.open(folder, cores=None, clock=SystemClock(), windows=Windows())
    writer = AcknowledgingWriter(store, chance=chance, rows_max=rows_max)
    [generation] = await store.read_generations()
    async with asyncio.TaskGroup() as tasks:
        for core in generation.cores:
            lane = lane_on(core)
            await store.announce_lane(lane)
            await store.open_segment(lane, 0, epoch=EPOCH, owner=OWNER)
            newest = await store.read_journal(lane, 0, before_seq=None, limit=1)
            seqs = itertools.count(newest[0].seq + 1 if newest else 0)
            for _ in range(WRITERS_PER_CORE):
                tasks.create_task(writer.write_for_ever(core, seqs))
            tasks.create_task(writer.sweep_for_ever(core))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL", "OFF"), default="FULL")
    options = parser.parse_args()
    patch("cluster.local.schema.SYNCHRONOUS", options.synchronous).start()
    patch("cluster.local.sweep.WAL_CHECKPOINT_BYTES_MIN", WAL_CHECKPOINT_BYTES).start()
    for seed in sys.stdin:
        # Nothing runs here yet but this thread, so a fork is a whole process.
        writer = os.fork()
        if writer == 0:
            os.close(0)
            chance = random.Random(int(seed))
            asyncio.run(write(options.folder, chance=chance, rows_max=options.rows))
        os.write(1, f"{BEGAN} {writer}\n".encode())
        os.waitpid(writer, 0)
        os.write(1, f"{ENDED}\n".encode())


if __name__ == "__main__":
    main()
