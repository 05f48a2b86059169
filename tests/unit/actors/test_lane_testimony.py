"""A deposed owner's late answers settle what its successor called uncertain."""

from pathlib import Path

import pytest

from pipeline.command import CommandKind
from pipeline.instant import Instant
from pipeline.limits import TESTIMONY_TRIES_MAX, TESTIMONY_WAIT_MS_MAX
from pipeline.outcome import ProviderClass
from tests.support.gates import gate_of
from tests.support.lane_actors import WINDOWS, CountingConnector, LaneActors, owner_id
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000


async def heard_count(world: LaneActors) -> int:
    page = await world.admin.port.read_commands(
        world.lane,
        from_at=Instant(0),
        through_at=Instant(1 << 62),
        limit=1_000,
        resume=None,
    )
    ids = {entry.id for _, entry in page.rows if entry.kind == CommandKind.TESTIMONY}
    return len(ids)


@pytest.mark.parametrize("trouble", ["none", "unavailable", "unknown"])
@in_virtual_time
async def test_an_answer_that_comes_to_a_deposed_owner_settles_the_message(
    trouble: str, tmp_path: Path
) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        if trouble == "unavailable":
            store.fail_before("write_commands")
        elif trouble == "unknown":
            store.lose("write_commands", is_applied=True)
        slow = CountingConnector(world.log, takes_ms=20 * A_SECOND)
        await world.accept(3)
        deposed = world.begin(world.runner(store, name="old", connector=slow))
        await pass_time(A_SECOND)
        assert len(slow.hand_overs) == 1
        # It is silent, as if its process were stopped; another one takes the lane.
        world.begin(world.runner(await world.stores.open(), name="new"))
        await pass_time(WINDOWS.steal_after_ms + 3 * A_SECOND)
        assert await world.states() == {"uncertain": 3}
        await pass_time(30 * A_SECOND)
        assert deposed.done()
        assert await world.states() == {"sent": 3}
        assert set(world.log.values()) == {1}, "nothing is handed over twice"


@in_virtual_time
async def test_one_that_learns_that_it_is_deposed_goes_on_listening(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        slow = CountingConnector(world.log, takes_ms=20 * A_SECOND)
        await world.accept(3)
        old = world.runner(await world.stores.open(), name="old", connector=slow)
        deposed = world.begin(old)
        await pass_time(A_SECOND)
        world.begin(world.runner(await world.stores.open(), name="new"))
        await pass_time(WINDOWS.steal_after_ms + 2 * A_SECOND)
        await world.accept(1)  # both try to claim it
        await pass_time(3 * A_SECOND)
        assert old.lane is not None
        assert old.lane.is_fenced
        assert not deposed.done()
        assert await world.states() == {"uncertain": 3, "sent": 1}
        await pass_time(10 * A_SECOND)
        assert deposed.done()
        assert await world.states() == {"sent": 4}
        assert set(world.log.values()) == {1}, "nothing is handed over twice"


@in_virtual_time
async def test_it_waits_no_longer_than_it_may_and_its_word_is_a_hint(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        slow = CountingConnector(world.log, takes_ms=4 * TESTIMONY_WAIT_MS_MAX)
        await world.accept(1)
        deposed = world.begin(world.runner(store, name="old", connector=slow))
        await pass_time(A_SECOND)
        world.begin(world.runner(await world.stores.open(), name="new"))
        await pass_time(WINDOWS.steal_after_ms + 5 * A_SECOND)
        # Only now it learns that it is deposed.
        await world.accept(1)
        await pass_time(TESTIMONY_WAIT_MS_MAX + 5 * A_SECOND)
        assert deposed.done()
        assert await heard_count(world) == 0
        assert (await world.states())["uncertain"] == 1


@in_virtual_time
async def test_it_does_not_try_for_ever_to_be_heard(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        slow = CountingConnector(world.log, takes_ms=3 * A_SECOND)
        await world.accept(1)
        deposed = world.begin(world.runner(store, name="old", connector=slow))
        await pass_time(A_SECOND)
        store.fail_before("write_commands", times=TESTIMONY_TRIES_MAX)
        assert await world.admin.port.take_over(
            world.lane, 0, expected_epoch=1, owner=owner_id("next")
        )
        await pass_time((TESTIMONY_TRIES_MAX + 5) * A_SECOND)
        assert deposed.done()
        assert deposed.exception() is None
        assert store.count("write_commands") == TESTIMONY_TRIES_MAX


@in_virtual_time
async def test_where_the_successor_asks_by_itself_nobody_waits(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        slow = CountingConnector(world.log, takes_ms=20 * A_SECOND)
        gate = gate_of("counting", provider_class=ProviderClass.KEYED)
        await world.accept(1)
        deposed = world.begin(world.runner(store, name="old", connector=slow, gate=gate))
        await pass_time(A_SECOND)
        assert await world.admin.port.take_over(
            world.lane, 0, expected_epoch=1, owner=owner_id("next")
        )
        await world.accept(1)  # so that it appends, and learns it
        await pass_time(3 * A_SECOND)
        assert deposed.done()
        assert await heard_count(world) == 0
