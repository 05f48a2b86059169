"""A runner works on a lane that it has: on a real store, in virtual time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline.ingest.doorbell import LaneRows
from pipeline.instant import Instant, earlier
from pipeline.lane import actions as act
from pipeline.lane.entry import decode_entry
from pipeline.lifecycle import Event
from pipeline.message import AT_ONCE, Body, MessageId, PartitionKey
from pipeline.outcome import Outcomes, ProviderClass
from tests.support.gates import gate_of
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


# --- asking ---------------------------------------------------------------------------------------


class AskedConnector(CountingConnector):
    """Its answers are lost; it knows what it has, when it can be asked."""

    provider_class = ProviderClass.QUERYABLE

    def __init__(self, log: Counter[MessageId]) -> None:
        super().__init__(log)
        self.error = TimeoutError("no answer")
        self.asked: list[MessageId] = []
        self.fails = 0

    async def find(self, message_ids: Sequence[MessageId]) -> Mapping[MessageId, bool]:
        self.asked += message_ids
        if self.fails:
            self.fails -= 1
            raise OSError("no way there")
        # Of the last one it says nothing.
        return {id_: self.log[id_] > 0 for id_ in message_ids if id_ != max(self.log)}


@in_virtual_time
async def test_a_provider_that_can_be_asked_settles_what_got_lost(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = AskedConnector(world.log)
        connector.fails = 1
        gate = gate_of("counting", provider_class=ProviderClass.QUERYABLE)
        await world.accept(3)
        world.begin(world.runner(await world.stores.open(), connector=connector, gate=gate))
        await pass_time(60 * A_SECOND)
        assert await world.states() == {"sent": 2, "claimed": 1}
        await pass_time(1_200 * A_SECOND)  # it asks ever more rarely
        assert await world.states() == {"sent": 2, "uncertain": 1}
        assert set(world.log.values()) == {1}, "nothing is handed over twice"


@in_virtual_time
async def test_a_connector_that_cannot_be_asked_leaves_what_got_lost_uncertain(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = CountingConnector(world.log)
        connector.error = TimeoutError("no answer")
        gate = gate_of("counting", provider_class=ProviderClass.QUERYABLE)
        await world.accept(1)
        world.begin(world.runner(await world.stores.open(), connector=connector, gate=gate))
        await pass_time(1_200 * A_SECOND)  # it asks ever more rarely
        assert await world.states() == {"uncertain": 1}


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
            await runner._connectors.hand_over(window, note)
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


@pytest.mark.parametrize("times", [1, 3])
@in_virtual_time
async def test_a_doorbell_is_worked_on_at_once(tmp_path: Path, times: int) -> None:
    """What all its rows share is said once, or for each."""
    async with LaneActors.on(tmp_path) as world:
        runner = world.runner(await world.stores.open())
        world.begin(runner)
        await pass_time(100)
        ids = await world.accept(3)
        found = await world.admin.port.read_bodies(
            world.core, [(PartitionKey(id_), id_) for id_ in ids]
        )
        bodies: list[bytes] = [found[id_] for id_ in ids]
        borns: list[int] = [world.clock.now()] * times
        runner.ring(LaneRows(str(world.lane), [*ids], None, borns, [GROUP] * times, bodies))
        await pass_time(1)
        assert world.log == dict.fromkeys(ids, 1)
        await pass_time(A_SECOND)
        assert await world.states() == {"sent": 3}


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
        assert {verb for verb, _, _ in store.calls} == {
            "horizon",
            "read_buffer",
            "read_commands",
            "read_timers",
        }
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
        assert 0 < decide.call_count <= 600
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
