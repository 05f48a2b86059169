"""A scheduler owns the lanes of one core, and says that it lives: a real store, virtual time."""

import asyncio
from pathlib import Path

import pytest

from pipeline.command import CommandBody, CommandKind, Verdict, encode_command
from pipeline.errors import StoreUnavailable
from pipeline.ingest.doorbell import Heard, LaneRows, encode_doorbell
from pipeline.lane.takeover import GONE
from pipeline.lane_id import LaneId
from pipeline.later import CommandEntry
from pipeline.message import PartitionKey
from tests.support.lane_actors import GROUP, WINDOWS, CountingConnector, LaneActors, owner_id
from tests.support.virtual_time import in_virtual_time, loop_now, pass_time

A_SECOND = 1_000
D_MS = WINDOWS.steal_after_ms
F = WINDOWS.claims_open_max


async def beats(world: LaneActors) -> dict[bytes, int]:
    return {beat.owner: beat.value for beat in await world.admin.port.read_owners(world.core)}


async def doorbell(world: LaneActors, count: int, *, lane: LaneId | None = None) -> bytes:
    lane = lane or world.lane
    ids = await world.accept(count, lane=lane)
    keys = [(PartitionKey(id_), id_) for id_ in ids]
    bodies = await world.admin.port.read_bodies(world.core, keys)
    return encode_doorbell(
        [
            LaneRows(
                str(lane),
                list(ids),
                None,
                [world.clock.now()] * count,
                [GROUP] * count,
                [bodies[id_] for id_ in ids],
            )
        ]
    )


# --- lanes ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_it_takes_every_lane_of_its_core(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        lanes = [world.lane_of(f"bulk-{n}") for n in range(3)]
        for lane in lanes:
            await world.accept(2, lane=lane)
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        await pass_time(3 * A_SECOND)
        assert await world.states() == {"sent": 6}
        reports = (await scheduler.check_health())["lanes"]
        assert sorted(report["lane"] for report in reports) == sorted(map(str, lanes))
        assert all(report["is_owned"] for report in reports)


@in_virtual_time
async def test_a_lane_that_appears_later_is_found_at_an_idle_read(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.scheduler(await world.stores.open()).start()
        await pass_time(5 * A_SECOND)
        await world.accept(1)
        await pass_time(WINDOWS.idle_read_ms + 100)
        assert await world.states() == {"sent": 1}


@in_virtual_time
async def test_a_doorbell_of_a_lane_that_it_does_not_know_makes_it_take_it(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        await pass_time(100)
        await scheduler.ring(await doorbell(world, 2))
        await pass_time(100)
        assert await world.epoch() == 1
        assert await world.states() == {"sent": 2}


@in_virtual_time
async def test_a_doorbell_is_worked_on_at_once(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(1)
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        await pass_time(3 * A_SECOND)
        began = loop_now().time()
        assert await scheduler.ring(await doorbell(world, 2)) == Heard([], {})
        await pass_time(1)
        assert loop_now().time() - began < 0.01
        assert sum(world.log.values()) == 3


@in_virtual_time
async def test_it_says_which_lanes_lag(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        slow = CountingConnector(world.log, takes_ms=10 * A_SECOND)
        scheduler = world.scheduler(await world.stores.open(), connector=slow)
        await scheduler.start()
        await world.accept(8 * F)
        await pass_time(5 * A_SECOND)
        assert (await scheduler.ring(await doorbell(world, 1))).lagging == [str(world.lane)]


@in_virtual_time
async def test_messages_of_a_channel_without_a_connector_wait(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        letters = world.lane_of("bulk-1", channel="email")
        await world.accept(1, lane=letters)
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        assert await scheduler.ring(await doorbell(world, 1, lane=letters)) == Heard([], {})
        await pass_time(3 * A_SECOND)
        assert (await scheduler.check_health())["lanes"] == []
        assert await world.epoch(letters) is None


@in_virtual_time
async def test_before_its_start_and_after_its_end_a_doorbell_is_dropped(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        scheduler = world.scheduler(await world.stores.open())
        assert await scheduler.ring(await doorbell(world, 1)) == Heard([], {})
        await scheduler.start()
        await scheduler.drain()
        assert await scheduler.ring(await doorbell(world, 1)) == Heard([], {})
        assert not world.log


# --- heartbeats -----------------------------------------------------------------------------------


@in_virtual_time
async def test_it_beats_every_second_with_another_value(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.scheduler(await world.stores.open()).start()
        seen = []
        for _ in range(5):
            seen.append((await beats(world))[owner_id("me")])
            await pass_time(WINDOWS.heartbeat_ms + 1)
        assert len(set(seen)) == 5
        assert GONE not in seen


@in_virtual_time
async def test_a_beat_that_fails_is_not_the_last(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        scheduler = world.scheduler(store)
        await scheduler.start()
        store.fail_before("beat", times=2)
        store.lose("beat", is_applied=False, times=2)
        await pass_time(5 * A_SECOND)
        before = (await beats(world))[owner_id("me")]
        await pass_time(2 * A_SECOND)
        assert (await beats(world))[owner_id("me")] > before
        await scheduler.check_health()


@pytest.mark.parametrize("verb", ["read_lanes", "sweep"])
@in_virtual_time
async def test_its_other_loops_outlive_a_store_that_is_away(tmp_path: Path, verb: str) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        store.fail_before(verb, times=3)
        scheduler = world.scheduler(store)
        await scheduler.start()
        await pass_time(30 * A_SECOND)
        assert store.count(verb) > 4
        await world.accept(1)
        await pass_time(3 * A_SECOND)
        assert await world.states() == {"sent": 1}
        await scheduler.check_health()


# --- its life -------------------------------------------------------------------------------------


@in_virtual_time
async def test_starting_twice_is_starting_once(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        scheduler = world.scheduler(store)
        await asyncio.gather(scheduler.start(), scheduler.start(), scheduler.check_health())
        await scheduler.start()
        assert world.opened == ["me"]
        store.calls.clear()
        await pass_time(10 * A_SECOND + 1)
        assert store.count("beat") == 10


@in_virtual_time
async def test_a_start_that_failed_is_told_closes_what_it_opened_and_may_be_repeated(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        store.fail_before("beat")
        scheduler = world.scheduler(store)
        with pytest.raises(StoreUnavailable):
            await scheduler.check_health()
        assert world.closed == ["me"]
        await world.accept(1)
        assert (await scheduler.check_health())["lanes"] == []
        await pass_time(3 * A_SECOND)
        assert await world.states() == {"sent": 1}


@in_virtual_time
async def test_an_end_before_the_start_is_the_end(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(1)
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.drain()
        await scheduler.start()
        assert (await scheduler.check_health())["lanes"] == []
        await pass_time(3 * A_SECOND)
        assert world.opened == []
        assert not world.log


@in_virtual_time
async def test_its_end_releases_the_lanes_so_that_another_takes_them_at_once(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        first = world.scheduler(await world.stores.open(), name="first")
        await world.accept(10)
        await first.start()
        await pass_time(3 * A_SECOND)
        second = world.scheduler(await world.stores.open(), name="second")
        await second.start()
        await pass_time(3 * D_MS)
        assert await world.epoch() == 1
        await first.drain()
        assert world.closed == ["first"]
        assert (await beats(world))[owner_id("first")] == GONE
        await world.accept(5)
        await pass_time(A_SECOND)
        assert await world.epoch() == 2
        # Its first read may have come before they were accepted.
        await pass_time(WINDOWS.idle_read_ms + 100)
        assert set(world.log.values()) == {1}
        assert await world.states() == {"sent": 15}


@in_virtual_time
async def test_it_says_that_it_goes_only_when_everything_is_finished(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(3 * F)
        slow = CountingConnector(world.log, takes_ms=2 * A_SECOND)
        scheduler = world.scheduler(await world.stores.open(), connector=slow)
        await scheduler.start()
        await pass_time(100)
        ending = loop_now().create_task(scheduler.drain())
        for _ in range(15):
            await pass_time(100)
            assert not ending.done()
            assert (await beats(world))[owner_id("me")] != GONE
        await ending
        assert (await beats(world))[owner_id("me")] == GONE
        assert await world.states() == {"sent": F, "accepted": 2 * F}


@in_virtual_time
async def test_while_it_ends_it_takes_no_new_lanes_and_still_beats(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(1)
        slow = CountingConnector(world.log, takes_ms=5 * A_SECOND)
        scheduler = world.scheduler(await world.stores.open(), connector=slow)
        await scheduler.start()
        await pass_time(100)
        ending = loop_now().create_task(scheduler.drain())
        late = world.lane_of("bulk-2")
        await world.accept(1, lane=late)
        await pass_time(A_SECOND)
        before = (await beats(world))[owner_id("me")]
        await pass_time(2 * A_SECOND)
        assert (await beats(world))[owner_id("me")] > before
        await ending
        assert await world.epoch(late) is None
        assert await world.states() == {"sent": 1, "accepted": 1}


@in_virtual_time
async def test_ending_twice_is_ending_once_and_nothing_begins_again(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        await asyncio.gather(scheduler.drain(), scheduler.drain(), scheduler.check_health())
        await scheduler.start()
        await pass_time(3 * A_SECOND)
        assert (world.opened, world.closed) == (["me"], ["me"])
        assert (await beats(world))[owner_id("me")] == GONE


@in_virtual_time
async def test_a_lane_that_failed_does_not_keep_the_others_from_ending_well(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        other = world.lane_of("bulk-2")
        store = await world.stores.open()
        slow = CountingConnector(world.log, takes_ms=2 * A_SECOND)
        scheduler = world.scheduler(store, connector=slow)
        await scheduler.start()
        await world.accept(2)
        await pass_time(1_500)
        await world.accept(1, lane=other)
        store.break_down("read_bodies")
        await pass_time(A_SECOND)
        with pytest.raises(RuntimeError, match="read_bodies"):
            await scheduler.check_health()
        await scheduler.drain()
        assert (await beats(world))[owner_id("me")] == GONE
        assert world.closed == ["me"]
        assert await world.states() == {"sent": 2, "accepted": 1}


# --- health ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_health_tells_what_ended_a_lane(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        store.break_down("read_journal")
        scheduler = world.scheduler(store)
        await scheduler.start()
        await world.accept(1)
        await pass_time(2 * A_SECOND)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="read_journal"):
                await scheduler.check_health()


@pytest.mark.parametrize("verb", ["beat", "read_lanes", "sweep"])
@in_virtual_time
async def test_health_tells_what_ended_a_loop(tmp_path: Path, verb: str) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        scheduler = world.scheduler(store)
        await scheduler.start()
        store.break_down(verb)
        await pass_time(10 * A_SECOND)
        with pytest.raises(RuntimeError, match=verb):
            await scheduler.check_health()


# --- the bell of the core -------------------------------------------------------------------------


@in_virtual_time
async def test_who_hears_of_commands_reads_them_at_once(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        [message] = await world.accept(1)
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        # Far from the looks that it takes by itself.
        await pass_time(3 * A_SECOND + 400)
        payload = encode_command(CommandBody(born=world.clock.now(), group=GROUP))
        entry = CommandEntry(
            b"c" * 16, CommandKind.CANCEL, message, PartitionKey(message), "", "ada", payload
        )
        await world.admin.port.write_commands(world.lane, [entry])
        scheduler.hear(["1.n1.0.sms.of-nobody", "no lane", "", str(world.lane)])
        await pass_time(50)
        [result] = await world.admin.port.read_results(world.core, [entry.id])
        assert result.verdict == Verdict.TOO_LATE
        await scheduler.drain()
        assert world.bells == ["hung"]


@in_virtual_time
async def test_what_is_heard_before_a_lane_is_at_work_is_left_to_it(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(1)
        store = await world.stores.open()
        store.pause("newest_segment")
        scheduler = world.scheduler(store)
        await scheduler.start()
        await pass_time(10)
        scheduler.hear([str(world.lane)])
        store.resume()
        await pass_time(3 * A_SECOND)
        assert await world.states() == {"sent": 1}
        await scheduler.drain()


# --- lanes that cannot be read --------------------------------------------------------------------


@in_virtual_time
async def test_a_lane_that_cannot_be_read_is_set_aside_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        good, bad = world.lane_of("bulk-1"), world.lane_of("bulk-2")
        gone = owner_id("gone")
        await world.admin.port.open_segment(bad, 0, epoch=1, owner=gone)
        await world.admin.port.append(bad, 0, epoch=1, seq=0, body=b"\x91\x09")
        await world.beat(gone, GONE)
        await world.accept(2, lane=bad)
        scheduler = world.scheduler(await world.stores.open())
        await scheduler.start()
        await pass_time(3 * A_SECOND)
        await world.accept(3, lane=good)
        await scheduler.ring(await doorbell(world, 1, lane=bad))
        await pass_time(3 * A_SECOND)
        report = await scheduler.check_health()  # raises nothing: the process stays
        assert "an entry of format 9" in report["lanes_set_aside"][str(bad)]
        assert [lane["lane"] for lane in report["lanes"]] == [str(good)]
        assert await world.states() == {"sent": 3, "accepted": 3}
        await scheduler.drain()
