"""Rows that a lane has missed are found, counted and taken up: a real store, virtual time."""

from collections import Counter
from pathlib import Path

from actors.scheduler import Scheduler
from cluster.local.blocks import pack_buffer
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.message import AT_ONCE, MessageId, PartitionKey
from tests.support.lane_actors import GROUP, LaneActors
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000


async def plant(world: LaneActors, ids: list[MessageId], *, at: Instant) -> None:
    """Put rows where the lane's cursor has been."""
    rows = [(id_, PartitionKey(id_), at, 1, AT_ONCE, GROUP) for id_ in ids]

    def insert(transaction: Transaction) -> None:
        transaction.connection.execute(
            "INSERT INTO buffer (lane, last_at, first_at, packed) VALUES (?, ?, ?, ?)",
            (str(world.lane), at + len(rows) - 1, at, pack_buffer(rows)),
        )

    await world.stores._stores[0]._files[world.core].writer.write(insert)


async def missed_of(scheduler: Scheduler) -> int:
    (lane,) = (await scheduler.check_health())["lanes"]
    return int(lane["rows_missed"])


@in_virtual_time
async def test_a_row_behind_the_offset_is_counted_and_handed_over_once(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        began = world.clock.now()
        resolved = await world.accept(3)
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        await pass_time(100 * A_SECOND)
        later_on = await world.accept(3)
        await pass_time(2 * A_SECOND)
        missed = await world.accept(2, is_in_buffer=False)
        await plant(world, [*missed, *resolved], at=Instant(began + 30_000_000))
        assert await missed_of(scheduler) == 0
        await pass_time(20 * A_SECOND)
        assert world.log == dict.fromkeys([*resolved, *later_on, *missed], 1)
        assert await missed_of(scheduler) == 2
        await pass_time(10 * A_SECOND)
        assert await missed_of(scheduler) == 2
        assert await world.states() == {"sent": 8}

        # Whoever comes next knows of it, and finds nothing more.
        await scheduler.drain()
        successor = world.scheduler(await world.stores.open(), name="successor")
        await successor.start()
        await pass_time(70 * A_SECOND)
        assert await missed_of(successor) == 2
        assert Counter(world.log.values()) == {1: 8}


@in_virtual_time
async def test_where_nothing_was_missed_nothing_is_written(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        for _ in range(10):
            await world.accept(20)
            await pass_time(10 * A_SECOND)
        rows = await world.admin.port.read_buffer(
            world.lane,
            from_at=Instant(0),
            through_at=world.clock.now(),
            limit=1_000,
            resume=None,
        )
        assert len(rows.rows) == 200
        assert await missed_of(scheduler) == 0
