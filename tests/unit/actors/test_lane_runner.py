"""A runner takes a lane, recovers it and works on it: on a real store, in virtual time."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from actors import lane_runner as runner_module
from actors.lane_runner import runner_report
from pipeline.ingest.doorbell import LaneRows
from pipeline.instant import Instant, earlier
from pipeline.lane import actions as act
from pipeline.lane.entry import decode_entry
from pipeline.lane.takeover import GONE
from pipeline.lifecycle import Event
from pipeline.message import AT_ONCE, Body, PartitionKey
from pipeline.outcome import Outcomes
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
LOOK_MS = 200
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
        await pass_time(3 * LOOK_MS)
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


@pytest.mark.parametrize("verb", ["read_ownership", "read_owners", "read_journal", "horizon"])
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
    monkeypatch.setattr(runner_module, "JOURNAL_PAGE_ENTRIES_MAX", page)
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


# --- appends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["unavailable", "unknown, applied", "unknown, not applied"])
@in_virtual_time
async def test_an_append_is_repeated_with_the_same_bytes_until_it_is_definite(
    tmp_path: Path, fault: str
) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        if fault == "unavailable":
            store.fail_before("append", times=5)
        else:
            store.lose("append", is_applied=fault == "unknown, applied", times=5)
        ids = await world.accept(3)
        world.begin(world.runner(store))
        await pass_time(100)
        assert not world.log, "nothing is handed over before the definite answer"
        await pass_time(2 * A_SECOND)
        assert world.log == dict.fromkeys(ids, 1)
        appends = [named for verb, _, named in store.calls if verb == "append"]
        assert len({(named["seq"], named["body"]) for named in appends[:6]}) == 1
        assert len(appends) > 6
        assert await world.states() == {"sent": 3}


@in_virtual_time
async def test_an_owner_that_was_deposed_sends_nothing_more_and_ends(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        task = world.begin(world.runner(await world.stores.open()))
        await pass_time(A_SECOND)
        assert await world.admin.port.take_over(
            world.lane, 0, expected_epoch=1, owner=owner_id("next")
        )
        await world.accept(3)
        await pass_time(5 * A_SECOND)
        assert task.done()
        assert task.exception() is None
        assert not world.log
        assert await world.states() == {"accepted": 3}


@in_virtual_time
async def test_every_entry_bears_the_epoch_of_its_owner(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        gone = owner_id("gone", platform=OTHER_PLATFORM)
        await world.admin.port.open_segment(world.lane, 0, epoch=41, owner=gone)
        store = await world.stores.open()
        await world.accept(3)
        world.begin(world.runner(store))
        await pass_time(2 * A_SECOND)
        assert {named["epoch"] for verb, _, named in store.calls if verb == "append"} == {42}


# --- hand-over ------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_connector_that_breaks_costs_certainty_and_never_a_second_delivery(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = CountingConnector(world.log)
        connector.error = KeyError("it should not")
        world.begin(world.runner(await world.stores.open(), connector=connector))
        ids = await world.accept(3)
        await pass_time(3 * A_SECOND)
        assert world.log == dict.fromkeys(ids, 1)
        assert await world.states() == {"uncertain": 3}


@in_virtual_time
async def test_past_the_send_deadline_the_connector_is_not_asked(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = CountingConnector(world.log)
        runner = world.runner(await world.stores.open(), connector=connector)
        (id_,) = await world.accept(1)
        said: list[tuple[list[int], bytes]] = []

        def note(positions: Sequence[int], outcomes: Outcomes) -> None:
            said.append((list(positions), outcomes.events))

        for late_us, event in ((1, Event.NOT_SENT), (0, Event.TAKE)):
            window = act.HandOverWindow(
                seq=0,
                connector="counting",
                message_ids=[id_],
                attempts=[1],
                bodies=[Body(b"body")],
                send_before=Instant(world.clock.now() - late_us),
            )
            said.clear()
            await runner._hand_over(window, note)
            assert said == [([0], bytes([event]))]
        assert world.log == {id_: 1}


@in_virtual_time
async def test_what_a_connector_is_given_is_what_was_claimed(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = CountingConnector(world.log)
        ids = await world.accept(10)
        world.begin(world.runner(await world.stores.open(), connector=connector))
        await pass_time(2 * A_SECOND)
        claimed = [
            tuple(entry.message_ids)
            for journaled in reversed(
                await world.admin.port.read_journal(world.lane, 0, before_seq=None, limit=100)
            )
            if (entry := decode_entry(journaled.body)).message_ids
            and set(entry.events_before) == {0}
        ]
        handed = [tuple(one.message_ids) for one in connector.hand_overs]
        assert [id_ for window in handed for id_ in window] == ids
        assert set(claimed) <= set(handed)
        assert {one.lane for one in connector.hand_overs} == {world.lane}
        assert all(len(window) <= WINDOWS.claims_open_max for window in handed)


# --- work -----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_doorbell_is_worked_on_at_once(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        runner = world.runner(await world.stores.open())
        world.begin(runner)
        await pass_time(100)
        (id_,) = await world.accept(1)
        bodies = await world.admin.port.read_bodies(world.core, [(PartitionKey(id_), id_)])
        runner.ring(
            LaneRows(str(world.lane), [id_], None, [world.clock.now()], [GROUP], [bodies[id_]])
        )
        await pass_time(1)
        assert world.log == {id_: 1}


@pytest.mark.parametrize(
    "verb",
    ["read_buffer", "read_bodies", "project", "read_books", "write_books"],
)
@pytest.mark.parametrize("fault", ["unavailable", "unknown"])
@in_virtual_time
async def test_whatever_fails_is_done_again(tmp_path: Path, verb: str, fault: str) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        is_write = verb in ("project", "write_books")
        if fault == "unknown" and is_write:
            store.lose(verb, is_applied=True, times=3)
        else:
            store.fail_before(verb, times=3)
        ids = await world.accept(3)
        runner = world.runner(store)
        task = world.begin(runner)
        await pass_time(10 * A_SECOND)
        assert world.log == dict.fromkeys(ids, 1)
        assert await world.states() == {"sent": 3}
        cells = await world.admin.port.read_books(world.lane, [f"group:{GROUP}"])
        assert [cell.counts for cell in cells] == [b'{"sent":3}']
        assert not task.done()


@in_virtual_time
async def test_a_late_row_is_judged_by_its_fold_even_if_that_cannot_be_read_at_once(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        ids = await world.accept(2)
        store = await world.stores.open()
        store.fail_before("read_folds", times=2)
        world.begin(world.runner(store))
        await pass_time(20 * A_SECOND)
        born = earlier(world.clock.now(), 20 * A_SECOND)
        await world.admin.port.write_buffer(
            world.lane, [(id_, PartitionKey(id_), born, 1, AT_ONCE, GROUP) for id_ in ids]
        )
        await pass_time(20 * A_SECOND)
        assert store.count("read_folds") >= 3
        assert world.log == dict.fromkeys(ids, 1)


@in_virtual_time
async def test_what_must_not_happen_ends_the_runner_and_is_told(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        store.break_down("read_bodies")
        await world.accept(1)
        task = world.begin(world.runner(store))
        await pass_time(A_SECOND)
        assert task.done()
        assert isinstance(task.exception(), RuntimeError)


@in_virtual_time
async def test_an_idle_lane_writes_nothing_and_reads_once_a_second(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        await world.accept(5)
        world.begin(world.runner(store))
        await pass_time(60 * A_SECOND)
        store.calls.clear()
        await pass_time(60 * A_SECOND)
        # Timers are looked for once a slice.
        assert {verb for verb, _, _ in store.calls} == {"horizon", "read_buffer", "read_timers"}
        assert store.count("read_timers") == 1
        assert 55 <= store.count("read_buffer") <= 65


@in_virtual_time
async def test_a_store_that_hangs_does_not_keep_the_runner_busy(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        runner = world.runner(store)
        world.begin(runner)
        await pass_time(A_SECOND)
        store.pause("read_buffer")
        await pass_time(A_SECOND)
        lane = runner.lane
        assert lane is not None
        with patch.object(lane, "decide", wraps=lane.decide) as decide:
            await pass_time(60 * A_SECOND)
        assert 0 < decide.call_count <= 300
        store.resume()


# --- drain ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_drain_finishes_what_is_claimed_and_leaves_the_rest(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await world.accept(10)
        connector = CountingConnector(world.log, takes_ms=500)
        runner = world.runner(await world.stores.open(), connector=connector)
        task = world.begin(runner)
        await pass_time(100)
        assert sum(world.log.values()) == 4
        runner.drain()
        runner.drain()
        await pass_time(300)
        assert not task.done()
        await pass_time(2 * A_SECOND)
        assert task.done()
        assert await world.states() == {"sent": 4, "accepted": 6}
        cells = await world.admin.port.read_books(world.lane, [f"group:{GROUP}"])
        assert [cell.counts for cell in cells] == [b'{"sent":4}']


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
