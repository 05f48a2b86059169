"""A journal goes on in other segments: on a real store, whatever the store does not answer."""

from pathlib import Path

import pytest

from pipeline.limits import Windows
from pipeline.ports import Ownership
from tests.support.faulty_store import FaultyStore
from tests.support.lane_actors import (
    OTHER_PLATFORM,
    CountingConnector,
    LaneActors,
    owner_id,
)
from tests.support.virtual_time import in_virtual_time, pass_time

WINDOWS = Windows(claims_open_max=4, segment_entries_max=3)
A_SECOND = 1_000
STEPS = ["write_segment_hint", "close_segment", "open_segment"]


async def segments_of(world: LaneActors) -> list[list[int]]:
    """Return the seqs of every segment of the lane."""
    store = world.admin.port
    newest = await store.newest_segment(world.lane)
    assert newest is not None
    entries = [
        await store.read_journal(world.lane, number, before_seq=None, limit=1_000)
        for number in range(newest.number + 1)
    ]
    return [[entry.seq for entry in reversed(segment)] for segment in entries]


async def check_segments(world: LaneActors, *, rolls_min: int = 3) -> None:
    segments = await segments_of(world)
    assert len(segments) > rolls_min
    assert all(len(segment) <= WINDOWS.segment_entries_max for segment in segments)
    seqs = [seq for segment in segments for seq in segment]
    assert seqs == list(range(len(seqs))), "seq grows over the whole life of the lane"
    for number in range(len(segments) - 1):
        ownership = await world.admin.port.read_ownership(world.lane, number)
        assert ownership is not None
        assert ownership.epoch < 0
    assert await world.admin.port.read_segment_hint(world.lane) == len(segments) - 1


async def work(world: LaneActors, *, rounds: int = 6) -> None:
    for _ in range(rounds):
        await world.accept(2)
        await pass_time(2 * A_SECOND)


def roll_calls(store: FaultyStore) -> list[str]:
    return [verb for verb, _, _ in store.calls if verb in STEPS]


@in_virtual_time
async def test_a_lane_at_work_rolls_and_its_successor_finds_all_of_it(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        first = world.begin(world.runner(store, windows=WINDOWS))
        await work(world)
        await check_segments(world)
        calls = roll_calls(store)
        assert calls[0] == "open_segment"
        assert calls[1:] == STEPS * ((len(calls) - 1) // 3)
        first.cancel()
        other = owner_id("next", platform=OTHER_PLATFORM)
        world.begin(
            world.runner(
                await world.stores.open(), name="next", windows=WINDOWS, platform=other[:6]
            )
        )
        await work(world)
        await check_segments(world, rolls_min=6)
        assert set(world.log.values()) == {1}
        assert await world.states() == {"sent": 24}


@pytest.mark.parametrize("fault", ["unavailable", "unknown, applied", "unknown, not applied"])
@pytest.mark.parametrize("verb", [*STEPS, "read_ownership"])
@in_virtual_time
async def test_each_step_of_a_roll_is_repeated_until_it_is_definite(
    tmp_path: Path, verb: str, fault: str
) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        world.begin(world.runner(store, windows=WINDOWS))
        await pass_time(A_SECOND)
        if verb == "read_ownership":
            store.lose("close_segment", is_applied=True)
            store.lose("open_segment", is_applied=True)
        if fault == "unavailable":
            store.fail_before(verb, times=3)
        else:
            store.lose(verb, is_applied=fault == "unknown, applied", times=3)
        await work(world)
        await check_segments(world)
        assert await world.epoch() == 1
        assert await world.states() == {"sent": 12}


@pytest.mark.parametrize("verb", STEPS)
@pytest.mark.parametrize("is_applied", [False, True])
@in_virtual_time
async def test_an_owner_that_dies_in_a_roll_leaves_the_lane_to_be_taken(
    tmp_path: Path, verb: str, is_applied: bool
) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        first = world.begin(world.runner(store, windows=WINDOWS))
        await pass_time(A_SECOND)
        dies_at = store.count(verb) + 1
        if is_applied:
            store.lose(verb, is_applied=True)
            dies_at += 1

        def die(_called: str) -> None:
            if store.count(verb) == dies_at:
                store.pause()
                first.cancel()

        store.on_call = die
        await work(world, rounds=3)
        assert first.cancelled()
        newest = await world.admin.port.newest_segment(world.lane)
        assert newest is not None
        is_closed, is_opened = (STEPS.index(verb) + is_applied > n for n in (1, 2))
        assert (newest.number, newest.ownership.epoch) == (
            (1, 1) if is_opened else (0, -1) if is_closed else (0, 1)
        )
        world.begin(
            world.runner(
                await world.stores.open(), name="next", platform=OTHER_PLATFORM, windows=WINDOWS
            )
        )
        await work(world)
        await check_segments(world)
        assert await world.epoch() == 2
        assert set(world.log.values()) == {1}
        states = await world.states()
        assert states["sent"] + states["uncertain"] == 18
        assert states["uncertain"] <= WINDOWS.claims_open_max


@pytest.mark.parametrize("verb", [*STEPS, "append"])
@in_virtual_time
async def test_a_zombie_that_wakes_in_the_middle_of_a_roll_does_nothing(
    tmp_path: Path, verb: str
) -> None:
    async with LaneActors.on(tmp_path) as world:
        asleep = await world.stores.open()
        connector = CountingConnector(world.log)
        zombie = world.begin(world.runner(asleep, connector=connector, windows=WINDOWS))
        await pass_time(A_SECOND)

        def fall_asleep(called: str) -> None:
            rolls = asleep.count("write_segment_hint")
            if called == verb and rolls:
                asleep.on_call = lambda _: None
                asleep.pause()

        asleep.on_call = fall_asleep
        await work(world, rounds=3)
        handed_over = len(connector.hand_overs)
        world.begin(
            world.runner(
                await world.stores.open(), name="next", platform=OTHER_PLATFORM, windows=WINDOWS
            )
        )
        await work(world, rounds=3)
        before = await segments_of(world)
        asleep.resume()
        await pass_time(A_SECOND)
        assert zombie.done()
        assert zombie.exception() is None
        assert len(connector.hand_overs) == handed_over
        assert await segments_of(world) == before
        newest = await world.admin.port.newest_segment(world.lane)
        assert newest is not None
        assert newest.ownership == Ownership(2, owner_id("next"))
        assert set(world.log.values()) == {1}


@in_virtual_time
async def test_an_idle_lane_does_not_roll(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        world.begin(world.runner(store, windows=Windows(claims_open_max=4, segment_entries_max=1)))
        await world.accept(1)
        await pass_time(20 * A_SECOND)
        store.calls.clear()
        await pass_time(60 * A_SECOND)
        assert not roll_calls(store)
