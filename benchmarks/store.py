"""What the embedded store costs, beside bare SQLite statements of the same rows in the same run.

Both write one file with the same settings of durability.  Bare SQLite writes the tables that one
would write first: one row for each message in each table, by `executemany`, one transaction for
each batch.  The store is called as an actor calls it: one coroutine, one batch after the other, so
that no batch shares a commit with another.

    python -m benchmarks.store [--messages N] [--ids batch|random]
"""

import argparse
import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.result import Figure, print_result
from cluster.local.data_folder import DataFolder, Shape
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, step_of
from pipeline.limits import Windows
from pipeline.message import (
    AT_ONCE,
    Body,
    BufferEntry,
    MessageId,
    MessageRow,
    PartitionKey,
    TimelineRow,
)

BATCHES: Final = (100, 500, 1_000)
BODY_BYTES: Final = 150
JOURNAL_BYTES_PER_MESSAGE: Final = 30
GROUP: Final = "acme/spring"
OWNER: Final = b"o" * 16
CLAIM: Final = step_of(attempt=1, try_no=1, event=Event.CLAIM)
TAKE: Final = step_of(attempt=1, try_no=1, event=Event.TAKE)

BARE_TABLES: Final = """
CREATE TABLE messages (id BLOB NOT NULL, pk BLOB, born INTEGER, group_key TEXT, body BLOB);
CREATE UNIQUE INDEX message_ids ON messages (id);
CREATE INDEX by_group ON messages (group_key);
CREATE TABLE buffer (
    lane TEXT, at INTEGER, id BLOB, pk BLOB, born INTEGER, attempt INTEGER,
    due_at INTEGER, group_key TEXT, PRIMARY KEY (lane, at, id)
) WITHOUT ROWID;
CREATE TABLE journal (lane TEXT, seq INTEGER, body BLOB, PRIMARY KEY (lane, seq)) WITHOUT ROWID;
CREATE TABLE timeline (
    id BLOB, step INTEGER, at INTEGER, detail TEXT, PRIMARY KEY (id, step)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rows of some messages in every table."""

    number: int
    ids: Sequence[MessageId]
    messages: Sequence[MessageRow]
    buffer: Sequence[BufferEntry]
    claims: Sequence[TimelineRow]
    takes: Sequence[TimelineRow]
    journal: bytes


def make_batches(*, message_count: int, batch_size: int, ids: str) -> list[Batch]:
    """Return batches whose ids lie side by side (`batch`), as a campaign's do, or anywhere."""
    batches = []
    for number in range(message_count // batch_size):
        first = number * batch_size
        own = [
            MessageId(b"a campaign!" + n.to_bytes(5) if ids == "batch" else os.urandom(16))
            for n in range(first, first + batch_size)
        ]
        born = Instant(1_700_000_000_000_000 + number)
        keys = [PartitionKey(message_id) for message_id in own]
        bodies = [Body(os.urandom(BODY_BYTES)) for _ in own]
        batches.append(
            Batch(
                number=number,
                ids=own,
                messages=[
                    (i, pk, born, GROUP, body)
                    for i, pk, body in zip(own, keys, bodies, strict=True)
                ],
                buffer=[(i, pk, born, 1, AT_ONCE, GROUP) for i, pk in zip(own, keys, strict=True)],
                claims=[(i, pk, CLAIM, born, "file") for i, pk in zip(own, keys, strict=True)],
                takes=[(i, pk, TAKE, born, "file") for i, pk in zip(own, keys, strict=True)],
                journal=os.urandom(JOURNAL_BYTES_PER_MESSAGE * batch_size),
            )
        )
    return batches


Verb = Callable[[Batch], Awaitable[None]]


async def measure(batches: Sequence[Batch], verb: Verb) -> tuple[float, float]:
    """Return microseconds of CPU (all threads) and of the wall clock per message."""
    message_count = sum(len(batch.ids) for batch in batches)
    cpu, wall = time.process_time(), time.perf_counter()
    for batch in batches:
        await verb(batch)
    return (
        (time.process_time() - cpu) / message_count * 1e6,
        (time.perf_counter() - wall) / message_count * 1e6,
    )


async def measure_store(folder: Path, batches: Sequence[Batch]) -> dict[str, tuple[float, float]]:
    """Return what each verb of the store costs."""
    clock, windows = SystemClock(), Windows()
    data = DataFolder.create_or_open(
        folder / "data", shape=Shape(node_count=1, shard_count=1), windows=windows, now=clock.now()
    )
    store = LocalStore.open(data.path, cores=None, clock=clock, windows=windows)
    core: Core = data.generation.cores[0]
    lane = LaneId(1, core.node, core.shard, "sms", "bulk-0")
    await store.announce_lane(lane)
    await store.open_segment(lane, 0, epoch=1, owner=OWNER)
    position = Instant(0)

    async def append(batch: Batch) -> None:
        assert await store.append(lane, 0, epoch=1, seq=batch.number, body=batch.journal)

    async def read_buffer(batch: Batch) -> None:
        nonlocal position
        page = await store.read_buffer(
            lane,
            from_at=position,
            through_at=Instant(1 << 62),
            limit=len(batch.ids),
            resume=None,
        )
        assert len(page.rows) == len(batch.ids)
        position = Instant(page.rows[-1][0] + 1)

    async def read_bodies(batch: Batch) -> None:
        keys = [(row[1], row[0]) for row in batch.messages]
        assert len(await store.read_bodies(core, keys)) == len(keys)

    async def read_folds(batch: Batch) -> None:
        keys = [(row[1], row[0]) for row in batch.messages]
        assert len(await store.read_folds(core, keys)) == len(keys)

    verbs: dict[str, Verb] = {
        "write_messages": lambda batch: store.write_messages(core, batch.messages),
        "write_buffer": lambda batch: store.write_buffer(lane, batch.buffer),
        "append": append,
        "project_claims": lambda batch: store.project(core, batch.claims),
        "project_outcomes": lambda batch: store.project(core, batch.takes),
        "read_buffer": read_buffer,
        "read_bodies": read_bodies,
        "read_folds": read_folds,
    }
    costs = {name: await measure(batches, verb) for name, verb in verbs.items()}
    await store.close()
    return costs


async def measure_bare(folder: Path, batches: Sequence[Batch]) -> dict[str, tuple[float, float]]:
    """Return what bare statements cost."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA cache_size = -16384")
    connection.executescript(BARE_TABLES)

    def writing(statement: str, rows_of: Callable[[Batch], Sequence[tuple[object, ...]]]) -> Verb:
        async def write(batch: Batch) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, rows_of(batch))
            connection.execute("COMMIT")

        return write

    async def read_buffer(batch: Batch) -> None:
        rows = connection.execute(
            "SELECT at, id, pk, born, attempt, due_at, group_key FROM buffer"
            " WHERE lane = ? AND at > ? ORDER BY at, id LIMIT ?",
            ("1.n1.0.sms.bulk-0", batch.number * len(batch.ids) - 1, len(batch.ids)),
        ).fetchall()
        assert len(rows) == len(batch.ids)

    async def read_bodies(batch: Batch) -> None:
        statement = "SELECT body FROM messages WHERE id = ?"
        rows = [connection.execute(statement, (i,)).fetchone() for i in batch.ids]
        assert None not in rows

    async def read_folds(batch: Batch) -> None:
        statement = "SELECT max(step) FROM timeline WHERE id = ?"
        rows = [connection.execute(statement, (i,)).fetchone() for i in batch.ids]
        assert (None,) not in rows

    insert_event = "INSERT OR IGNORE INTO timeline VALUES (?1, ?3, ?4, ?5)"
    verbs: dict[str, Verb] = {
        "write_messages": writing(
            "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)", lambda batch: batch.messages
        ),
        "write_buffer": writing(
            "INSERT INTO buffer VALUES ('1.n1.0.sms.bulk-0', ?7, ?1, ?2, ?3, ?4, ?5, ?6)",
            lambda batch: [
                (*row, batch.number * len(batch.ids) + n) for n, row in enumerate(batch.buffer)
            ],
        ),
        "append": writing(
            "INSERT INTO journal VALUES ('1.n1.0.sms.bulk-0', ?, ?)",
            lambda batch: [(batch.number, batch.journal)],
        ),
        "project_claims": writing(insert_event, lambda batch: batch.claims),
        "project_outcomes": writing(insert_event, lambda batch: batch.takes),
        "read_buffer": read_buffer,
        "read_bodies": read_bodies,
        "read_folds": read_folds,
    }
    costs = {name: await measure(batches, verb) for name, verb in verbs.items()}
    connection.close()
    return costs


def main() -> None:
    """Measure every size of batch and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--ids", choices=("batch", "random"), default="batch")
    options = parser.parse_args()
    for batch_size in BATCHES:
        batches = make_batches(
            message_count=options.messages, batch_size=batch_size, ids=options.ids
        )
        folder = Path(tempfile.mkdtemp(prefix="shardpost-bench-"))
        try:
            store = asyncio.run(measure_store(folder, batches))
            bare = asyncio.run(measure_bare(folder, batches))
        finally:
            shutil.rmtree(folder)
        figures: dict[str, Figure] = {
            "batch_messages": batch_size,
            "messages": len(batches) * batch_size,
            "ids": options.ids,
            "body_bytes": BODY_BYTES,
        }
        for name in store:
            for kind, costs in (("store", store), ("bare", bare)):
                figures[f"{name}_{kind}_cpu_us_per_message"] = round(costs[name][0], 2)
                figures[f"{name}_{kind}_wall_us_per_message"] = round(costs[name][1], 2)
        for kind, costs in (("store", store), ("bare", bare)):
            figures[f"all_{kind}_cpu_us_per_message"] = round(sum(c for c, _ in costs.values()), 2)
        print_result("store", figures)


if __name__ == "__main__":
    main()
