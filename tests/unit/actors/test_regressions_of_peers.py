"""Ways in which other queues have sent twice or stood still; each must not happen here.

Some have tests where their subject is: a message that ends the process that touches it
(`tests/simulation/test_poison.py`, `tests/integration/test_poison_on_ray.py`); a write that takes
effect after its author was deposed (`test_crash_table.py`, a zombie that wakes before its append);
rows that appear below what was read (the simulation's late writes, `test_missed_rows.py`); two
actors of one name (`tests/integration/test_registry_on_ray.py`); a conditional write that says no
to its own repeat (`tests/cassandra/test_kill.py`); a disk that is full or lies
(`tests/integration/test_local_disk_fails.py`, `test_local_writer_traced.py`).
"""

from pathlib import Path

import pytest

from pipeline.ingest.chunk import Accepted
from pipeline.instant import DurationMs, later
from pipeline.limits import Windows
from pipeline.message import PartitionKey
from tests.support.ingester_world import World
from tests.support.lane_actors import GROUP, WINDOWS, CountingConnector, LaneActors, owner_id
from tests.support.submissions import make_chunk, some_bodies
from tests.support.virtual_time import in_virtual_time, loop_now, pass_time

A_SECOND = 1_000
AN_HOUR = 3_600 * A_SECOND
D_MS = WINDOWS.steal_after_ms


@in_virtual_time
async def test_what_is_due_in_a_day_is_sent_once_though_owners_come_and_go(tmp_path: Path) -> None:
    """Redis and SQS as brokers hand a message out anew when its time lies behind their time-out."""
    windows = Windows(
        claims_open_max=4,
        idle_read_ms=DurationMs(60 * A_SECOND),
        checkpoint_ms=DurationMs(10 * A_SECOND),
        timer_slice_ms=DurationMs(AN_HOUR),
        near_horizon_ms=DurationMs(AN_HOUR + 70 * A_SECOND),
    )
    loop_now().ends_after_s = 40 * AN_HOUR / A_SECOND
    async with LaneActors.on(tmp_path) as world:
        [id_] = await world.accept(1, is_in_buffer=False)
        due_at = later(world.clock.now(), 25 * AN_HOUR)
        timer = (due_at, id_, PartitionKey(id_), world.clock.now(), 1, GROUP)
        await world.admin.port.write_timers(world.lane, [timer])
        for number in range(3):
            runner = world.runner(
                await world.stores.open(), name=f"owner-{number}", windows=windows
            )
            world.begin(runner)
            await pass_time(8 * AN_HOUR)
            assert not world.log
            runner.drain()
            await pass_time(60 * A_SECOND)
        world.begin(world.runner(await world.stores.open(), name="last", windows=windows))
        await pass_time(3 * AN_HOUR)
        assert world.log == {id_: 1}


@in_virtual_time
async def test_an_owner_that_stands_still_while_it_sends_is_not_repeated(tmp_path: Path) -> None:
    """Where a lock is held by a timer, a blocked event loop makes another worker do it again."""
    async with LaneActors.on(tmp_path) as world:
        ids = await world.accept(4)
        blocked = await world.stores.open()
        slow = CountingConnector(world.log, takes_ms=3 * D_MS)
        world.begin(world.runner(blocked, connector=slow))
        await pass_time(A_SECOND)
        assert len(slow.hand_overs) == 1
        blocked.pause()
        world.begin(world.runner(await world.stores.open(), name="second"))
        await pass_time(3 * D_MS)
        blocked.resume()
        await pass_time(3 * D_MS)
        assert world.log == dict.fromkeys(ids, 1)


@in_virtual_time
async def test_a_provider_that_is_slower_than_the_lease_is_no_reason_to_send_again(
    tmp_path: Path,
) -> None:
    """Kafka takes the partition from a consumer that works longer than its poll interval."""
    async with LaneActors.on(tmp_path) as world:
        ids = await world.accept(3 * WINDOWS.claims_open_max)
        slow = CountingConnector(world.log, takes_ms=3 * D_MS)
        world.keep_beating(owner_id("first"))
        first = world.runner(await world.stores.open(), name="first", connector=slow)
        world.begin(first)
        await pass_time(A_SECOND)
        world.begin(world.runner(await world.stores.open(), name="second"))
        await pass_time(12 * D_MS)
        assert world.log == dict.fromkeys(ids, 1)
        assert await world.epoch() == 1
        assert await world.states() == {"sent": len(ids)}


@in_virtual_time
async def test_a_name_that_is_used_again_adopts_nothing_and_orphans_nothing(tmp_path: Path) -> None:
    """Oban knows producers by the name of their node: one that comes back hides what it left."""
    async with LaneActors.on(tmp_path) as world:
        await world.accept(4)
        dying = world.begin(
            world.runner(
                await world.stores.open(),
                name="first",
                connector=CountingConnector(world.log, takes_ms=3 * D_MS),
            )
        )
        # Both beat under one actor's name (`LaneActors.beat`), each as an owner of its own.
        beating = world.keep_beating(owner_id("first"))
        await pass_time(A_SECOND)
        dying.cancel()
        beating.cancel()
        world.keep_beating(owner_id("again"))
        world.begin(world.runner(await world.stores.open(), name="again"))
        more = await world.accept(4)
        await pass_time(D_MS // 2)
        assert await world.epoch() == 1, "a name is no ownership"
        await pass_time(2 * D_MS)
        assert await world.epoch() == 2
        assert await world.states() == {"uncertain": 4, "sent": 4}
        assert all(world.log[id_] == 1 for id_ in more)


@pytest.mark.parametrize("rounds", [3])
@in_virtual_time
async def test_without_any_doorbell_the_lane_goes_on(tmp_path: Path, rounds: int) -> None:
    """Oban's notifier restarted and nobody listened to it again: a silent stall."""
    async with LaneActors.on(tmp_path) as world:
        world.begin(world.runner(await world.stores.open()))
        for number in range(1, rounds + 1):
            await pass_time(60 * A_SECOND)
            await world.accept(1)
            await pass_time(WINDOWS.idle_read_ms + 10)
            assert len(world.log) == number


@in_virtual_time
async def test_what_was_worked_off_is_never_read_again(tmp_path: Path) -> None:
    """A queue on Cassandra reads over the tombstones of all that it ever held."""
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        runner = world.runner(store)
        world.begin(runner)
        for _ in range(20):
            await world.accept(50)
            await pass_time(2 * A_SECOND)
        lane = runner.lane
        assert lane is not None
        assert len(world.log) == 1_000
        assert lane.rows_read_count <= 1_050
        reads = [named for verb, _, named in store.calls if verb == "read_buffer"]
        begins = [named["from_at"] for named in reads]
        assert begins == sorted(begins)
        assert begins[-1] >= later(world.clock.now(), -3 * A_SECOND)


@in_virtual_time
async def test_a_client_that_asks_again_after_a_day_gets_the_same_messages(tmp_path: Path) -> None:
    """A queue that deduplicates for five minutes, or a day, takes what comes after for new."""
    loop_now().ends_after_s = 40 * AN_HOUR / A_SECOND
    async with World.on(tmp_path) as world:
        chunk = make_chunk(some_bodies(20))
        first = await world.ingester().submit(chunk)
        assert isinstance(first, Accepted)
        for wait_ms in (300 * A_SECOND, 23 * AN_HOUR, 2 * AN_HOUR):
            await pass_time(wait_ms)
            again = await world.ingester().submit(chunk)
            assert again == Accepted(20, first.first_id, repeated_count=20)
        rows = await world.buffer_rows()
        assert len({row[1] for _, row in rows}) == 20
        assert len({row[3] for _, row in rows}) == 1, "who is born once is judged by its fold later"
