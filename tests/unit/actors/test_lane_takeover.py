"""A runner takes a lane over and recovers it: on a real store, in virtual time."""

from pathlib import Path

import pytest

from actors import lane_takeover as takeover_module
from actors.lane_runner import runner_report
from pipeline.ingest.doorbell import LaneRows
from pipeline.instant import Instant, earlier
from pipeline.lane.takeover import GONE
from tests.support.lane_actors import (
    GROUP,
    OTHER_PLATFORM,
    WINDOWS,
    CountingConnector,
    LaneActors,
    owner_id,
)
from tests.support.virtual_time import in_virtual_time, pass_time

D_MS = WINDOWS.steal_after_ms
LOOK_MS = 500  # at the longest
A_SECOND = 1_000

# --- take-over ------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_lane_that_nobody_had_is_taken_at_once_and_worked_on(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        ids = await world.accept(10)
        world.begin(world.runner(await world.stores.open()))
        await pass_time(A_SECOND)
        assert await world.epoch() == 1
        assert world.log == dict.fromkeys(ids, 1)
        assert await world.states() == {"sent": 10}


@in_virtual_time
async def test_a_living_owner_is_left_alone_and_a_silent_one_is_not(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        other = owner_id("other")
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=other)
        life = world.keep_beating(other)
        world.begin(world.runner(await world.stores.open()))
        await pass_time(5 * D_MS)
        assert await world.epoch() == 1
        life.cancel()
        await pass_time(D_MS - WINDOWS.heartbeat_ms - LOOK_MS)
        assert await world.epoch() == 1
        await pass_time(WINDOWS.heartbeat_ms + 3 * LOOK_MS)
        assert await world.epoch() == 2


@in_virtual_time
async def test_an_owner_without_a_heartbeat_has_d_to_show_one(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=owner_id("other"))
        world.begin(world.runner(await world.stores.open()))
        await pass_time(D_MS - LOOK_MS)
        assert await world.epoch() == 1
        await pass_time(2 * LOOK_MS)
        assert await world.epoch() == 2


@in_virtual_time
async def test_a_lane_that_was_released_is_taken_at_the_next_look(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        other = owner_id("other")
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=other)
        life = world.keep_beating(other)
        world.begin(world.runner(await world.stores.open()))
        await pass_time(A_SECOND)
        life.cancel()
        await world.beat(other, GONE)
        await pass_time(2 * LOOK_MS)
        assert await world.epoch() == 2


@pytest.mark.parametrize(
    ("platform", "is_taken"),
    [
        pytest.param(owner_id("")[:6], True, id="who holds the folder is the only platform"),
        pytest.param(b"", False, id="on a shared store all wait"),
    ],
)
@in_virtual_time
async def test_another_platforms_owner_is_not_waited_for_where_there_can_be_one_platform(
    tmp_path: Path, platform: bytes, is_taken: bool
) -> None:
    async with LaneActors.on(tmp_path) as world:
        other = owner_id("other", platform=OTHER_PLATFORM)
        await world.admin.port.open_segment(world.lane, 0, epoch=7, owner=other)
        world.keep_beating(other)
        world.begin(world.runner(await world.stores.open(), platform=platform))
        await pass_time(A_SECOND)
        assert await world.epoch() == (8 if is_taken else 7)


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize("verb", ["open_segment", "take_over"])
@in_virtual_time
async def test_a_take_over_whose_answer_is_lost_takes_one_epoch(
    tmp_path: Path, verb: str, is_applied: bool
) -> None:
    async with LaneActors.on(tmp_path) as world:
        if verb == "take_over":
            gone = owner_id("gone", platform=OTHER_PLATFORM)
            await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=gone)
        store = await world.stores.open()
        store.lose(verb, is_applied=is_applied)
        await world.accept(3)
        world.begin(world.runner(store))
        await pass_time(2 * A_SECOND)
        assert await world.epoch() == (2 if verb == "take_over" else 1)
        assert await world.states() == {"sent": 3}


@in_virtual_time
async def test_of_two_who_take_at_once_one_has_it(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(20)
        gone = owner_id("gone", platform=OTHER_PLATFORM)
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=gone)
        for name in ("one", "two"):
            store = await world.stores.open()
            world.keep_beating(owner_id(name))
            world.begin(world.runner(store, name=name))
        await pass_time(3 * D_MS)
        assert await world.epoch() == 2
        assert set(world.log.values()) == {1}
        assert await world.states() == {"sent": 20}


@pytest.mark.parametrize("verb", ["newest_segment", "read_owners", "read_journal", "horizon"])
@in_virtual_time
async def test_a_store_that_is_away_for_a_while_delays_and_harms_nothing(
    tmp_path: Path, verb: str
) -> None:
    async with LaneActors.on(tmp_path) as world:
        gone = owner_id("gone", platform=OTHER_PLATFORM)
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=gone)
        await world.accept(3)
        store = await world.stores.open()
        store.fail_before(verb, times=3)
        world.begin(world.runner(store))
        await pass_time(5 * A_SECOND)
        assert await world.states() == {"sent": 3}


@in_virtual_time
async def test_whoever_is_told_to_end_before_it_has_the_lane_takes_nothing(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        other = owner_id("other")
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=other)
        world.keep_beating(other)
        runner = world.runner(await world.stores.open())
        task = world.begin(runner)
        await pass_time(A_SECOND)
        runner.drain()
        await pass_time(2 * LOOK_MS)
        assert task.done()
        await pass_time(2 * D_MS)
        assert await world.epoch() == 1
        assert runner_report(runner) == {"lane": str(world.lane), "is_owned": False}


# --- recovery -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 2, 256])
@in_virtual_time
async def test_a_successor_answers_for_open_claims_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(takeover_module, "JOURNAL_PAGE_ENTRIES_MAX", page)
    async with LaneActors.on(tmp_path) as world:
        await world.accept(10)
        slow = CountingConnector(world.log, takes_ms=10_000_000)
        first = world.begin(world.runner(await world.stores.open(), connector=slow))
        await pass_time(A_SECOND)
        first.cancel()  # it dies with F messages handed over
        await world.beat(owner_id("me"), GONE)
        world.begin(world.runner(await world.stores.open(), name="next"))
        await pass_time(2 * A_SECOND)
        assert set(world.log.values()) == {1}
        assert await world.states() == {"uncertain": 4, "sent": 6}


@in_virtual_time
async def test_doorbells_before_the_recovery_ended_are_dropped_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        (id_,) = await world.accept(1)
        store = await world.stores.open()
        store.pause("read_journal")
        runner = world.runner(store)
        world.begin(runner)
        await pass_time(A_SECOND)
        runner.ring(LaneRows(str(world.lane), [id_], None, [world.clock.now()], [GROUP], [b"x"]))
        assert runner.lane is None
        store.resume()
        await pass_time(A_SECOND)
        assert await world.states() == {"sent": 1}


@in_virtual_time
async def test_a_first_offset_lies_before_the_generation_began(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        runner = world.runner(await world.stores.open())
        world.begin(runner)
        await pass_time(10)
        assert runner.lane is not None
        starts_at = Instant(world.generation.starts_at)
        assert runner.lane.offset == earlier(starts_at, WINDOWS.prompt_ms)


@in_virtual_time
async def test_a_drain_during_the_recovery_answers_for_what_is_open(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(10)
        slow = CountingConnector(world.log, takes_ms=10_000_000)
        first = world.begin(world.runner(await world.stores.open(), connector=slow))
        await pass_time(A_SECOND)
        first.cancel()
        await world.beat(owner_id("me"), GONE)
        store = await world.stores.open()
        store.pause("read_journal")
        runner = world.runner(store, name="next")
        task = world.begin(runner)
        await pass_time(A_SECOND)
        runner.drain()
        store.resume()
        await pass_time(2 * A_SECOND)
        assert task.done()
        assert await world.states() == {"uncertain": 4, "accepted": 6}


# --- after a crash --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says_goodbye", "is_cautious"),
    [
        pytest.param(True, False, id="who released its lanes did not crash"),
        pytest.param(False, True, id="who fell silent may have"),
    ],
)
@in_virtual_time
async def test_a_lane_is_cautious_after_a_crash_and_for_a_while(
    tmp_path: Path, says_goodbye: bool, is_cautious: bool
) -> None:
    async with LaneActors.on(tmp_path) as world:
        other = owner_id("other")
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=other)
        await world.beat(other, GONE if says_goodbye else 7)
        await world.accept(3)
        runner = world.runner(await world.stores.open())
        world.begin(runner)
        while not runner_report(runner)["is_owned"]:
            await pass_time(10)
        assert runner_report(runner)["is_cautious"] == is_cautious
        await pass_time(10 * A_SECOND)
        assert not runner_report(runner)["is_cautious"]
        assert await world.states() == {"sent": 3}


@in_virtual_time
async def test_a_lane_that_was_waited_for_and_given_is_not_cautious(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        other, me = owner_id("other"), owner_id("me")
        await world.admin.port.open_segment(world.lane, 0, epoch=1, owner=other)
        life = world.keep_beating(other)
        runner = world.runner(await world.stores.open())
        world.begin(runner)
        await pass_time(A_SECOND)
        await world.admin.port.take_over(world.lane, 0, expected_epoch=1, owner=me)
        while not runner_report(runner)["is_owned"]:
            await pass_time(10)
        assert not runner_report(runner)["is_cautious"]
        life.cancel()
