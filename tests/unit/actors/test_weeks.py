"""Weeks of a lane's life on a real store, in virtual time: the audit is clean and little is left.

Every few days somebody runs the platform for a while, so that each stretch also ends in a drain and
begins with a take-over.
"""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from msgspec.structs import replace as replace_fields

from actors.cli.audit.core_audit import CoreAudit
from actors.cli.audit.findings import Findings
from cluster.local.core_snapshot import open_snapshot
from pipeline.command import CommandBody, CommandKind, encode_command
from pipeline.instant import later
from pipeline.lane.takeover import GONE
from pipeline.later import CommandEntry
from pipeline.message import Body, MessageId, PartitionKey, decode_body, encode_body
from tests.contract.store_under_test import make_body
from tests.support.lane_actors import GROUP, WINDOWS, CountingConnector, LaneActors, owner_id
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000
A_DAY = 86_400_000
SEED_OF_SCHEDULED = 1_000_000
STRETCHES = 54
PERIOD = 12  # in stretches; providers defer in every third
DAYS_BETWEEN = 4  # so that bodies age out, too: 90 days
WEEKS_WINDOWS = replace(WINDOWS, segment_entries_max=8)


async def cancel(world: LaneActors, id_: MessageId) -> None:
    payload = encode_command(CommandBody(born=world.clock.now(), group=GROUP))
    entry = CommandEntry(id_[::-1], CommandKind.CANCEL, id_, PartitionKey(id_), "", "ada", payload)
    await world.admin.port.write_commands(world.lane, [entry])


async def schedule(world: LaneActors, *, days: int) -> MessageId:
    id_ = MessageId(
        world.generation.forged_key(world.core, SEED_OF_SCHEDULED + len(world.accepted))
    )
    world.accepted.append(id_)
    now = world.clock.now()
    due = later(now, days * A_DAY)
    asked = replace_fields(
        decode_body(make_body(id_.hex())), due_at=due, expires_at=later(due, 6 * A_DAY)
    )
    pk = PartitionKey(id_)
    await world.admin.port.write_messages(
        world.core, [(id_, pk, now, GROUP, Body(encode_body(asked)))]
    )
    await world.admin.port.announce_lane(world.lane)
    await world.admin.port.write_timers(world.lane, [(due, id_, pk, now, 1, GROUP)])
    return id_


def rows_of(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in (
                *("buffer", "timers", "journal", "segments", "bodies", "timeline"),
                *("commands", "results", "books", "lanes"),
            )
        }


def usual(rows: list[dict[str, int]]) -> dict[str, float]:
    return {table: fmean(row[table] for row in rows) for table in rows[0]}


def findings_of(world: LaneActors) -> list[str]:
    findings = Findings()
    with open_snapshot(world.stores.data.folder.core_path(world.core)) as view:
        CoreAudit(
            world.core,
            view,
            generation=world.generation,
            windows=WEEKS_WINDOWS,
            now=world.clock.now(),
            unasked={"counting"},
            findings=findings,
        ).run()
    return [f"{one.kind}: {one.where}: {one.detail}" for one in findings.kept]


@in_virtual_time
async def test_over_weeks_the_books_close_the_audit_is_clean_and_little_is_left(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        path = world.stores.data.folder.core_path(world.core)
        cancelled: list[MessageId] = []
        scheduled: list[MessageId] = []
        rows: list[dict[str, int]] = []
        for stretch in range(STRETCHES):
            connector = CountingConnector(world.log)
            name = f"owner {stretch}"
            runner = world.runner(store, name=name, connector=connector, windows=WEEKS_WINDOWS)
            task = world.begin(runner)
            await world.accept(3)
            scheduled.append(await schedule(world, days=7))
            cancelled.append(await schedule(world, days=110))
            await cancel(world, cancelled[-1])
            connector.defers = stretch % 3 == 0
            await pass_time(A_SECOND)
            connector.defers = False
            await pass_time(20 * A_SECOND)
            runner.drain()
            await task
            await world.beat(owner_id(name), GONE)
            for _ in range(3):
                await store.port.sweep(world.core)
            assert findings_of(world) == [], f"after {stretch * DAYS_BETWEEN} days"
            rows.append(rows_of(path))
            world.clock.advance(DAYS_BETWEEN * A_DAY)
        assert not set(cancelled) & set(world.log)
        assert set((await world.states()).keys()) <= {"sent", "cancelled", "accepted"}
        due = scheduled[: STRETCHES - 3]
        assert set(due) <= set(world.log)
        # What comes goes: after 120 days the folder grows no more.
        # A single stretch may leave a segment or two more than its neighbours.
        earlier, last = usual(rows[-2 * PERIOD : -PERIOD]), usual(rows[-PERIOD:])
        grown = {
            table: (earlier[table], count)
            for table, count in last.items()
            if table != "books" and count > earlier[table] * 1.2 + 4
        }
        assert not grown
        # A tenant's day is asked for long after; each stretch has one.
        assert last["books"] <= earlier["books"] + PERIOD
        assert last["segments"] <= 12
