"""Lanes go from one scheduler of a core to another: a real store, virtual time.

The connector's own log is the judge of what was handed over.
"""

from pathlib import Path

import pytest

from actors.scheduler import Scheduler
from pipeline.ingest.doorbell import LaneRows, encode_doorbell
from pipeline.lane_id import LaneId
from tests.support.faulty_store import FaultyStore
from tests.support.lane_actors import WINDOWS, CountingConnector, LaneActors, owner_id
from tests.support.seed import seeded_random
from tests.support.virtual_time import in_virtual_time, loop_now, pass_time

A_SECOND = 1_000
D_MS = WINDOWS.steal_after_ms
F = WINDOWS.claims_open_max


def name_of(name: str) -> str:
    return f"scheduler|{name}"


async def give(
    giver: Scheduler, lanes: list[LaneId], *, heir: str, heir_name: str | None = None
) -> None:
    await giver.hand_over(
        [str(lane) for lane in lanes], heir=owner_id(heir), heir_name=heir_name or name_of(heir)
    )


async def owned_by(world: LaneActors, lane: LaneId) -> tuple[int, bytes]:
    ownership = await world.admin.port.read_ownership(lane, 0)
    assert ownership is not None
    return ownership


class Two:
    """Two schedulers of one core; the first has the lanes."""

    def __init__(self, world: LaneActors, *, lanes: int = 1, takes_ms: int = 0) -> None:
        self.world = world
        self.lanes = [world.lane_of(f"bulk-{1 + n}") for n in range(lanes)]
        self.takes_ms = takes_ms
        self.stores: dict[str, FaultyStore] = {}
        self.schedulers: dict[str, Scheduler] = {}

    async def start(self, name: str, *, part: int = 0) -> Scheduler:
        store = self.stores[name] = await self.world.stores.open()
        connector = CountingConnector(self.world.log, takes_ms=self.takes_ms)
        scheduler = self.world.scheduler(store, name=name, connector=connector, part=part)
        self.schedulers[name] = scheduler
        await scheduler.start()
        return scheduler

    async def begin(self) -> tuple[Scheduler, Scheduler]:
        for lane in self.lanes:
            await self.world.accept(1, lane=lane)
        first = await self.start("first")
        await pass_time(2 * A_SECOND)
        second = await self.start("second", part=1)
        await pass_time(2 * A_SECOND)
        return first, second

    async def accept(self, count: int) -> None:
        for lane in self.lanes:
            await self.world.accept(count, lane=lane)

    async def kill(self, name: str) -> None:
        """End a process where it stands: nothing it waits for comes any more."""
        self.stores[name].pause()
        scheduler = self.schedulers.pop(name)
        for task in (*scheduler._loops, *scheduler._tasks.values(), *scheduler._telling):
            task.cancel()
        self.world.by_name.pop(name_of(name))
        await pass_time(1)


@in_virtual_time
async def test_a_lane_goes_to_its_heir_at_once_and_others_stay(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world, lanes=2)
        first, _ = await two.begin()
        moving, staying = two.lanes
        await two.accept(20)
        await give(first, [moving], heir="second")
        # Much sooner than anybody's silence would show, or than the heir would look by itself.
        await pass_time(300)
        assert await owned_by(world, moving) == (2, owner_id("second"))
        assert await owned_by(world, staying) == (1, owner_id("first"))
        await pass_time(5 * A_SECOND)
        assert await world.states() == {"sent": 42}
        assert set(world.log.values()) == {1}
        await two.accept(3)
        await pass_time(2 * A_SECOND)
        assert await world.states() == {"sent": 48}
        assert await owned_by(world, moving) == (2, owner_id("second"))


@in_virtual_time
async def test_the_heir_is_told_and_need_not_come_by(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world)
        first, second = await two.begin()
        await give(first, two.lanes, heir="second")
        await pass_time(10)
        (report,) = (await second.check_health())["lanes"]
        assert report["is_owned"]


@in_virtual_time
async def test_what_is_claimed_is_finished_before_the_lane_goes(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world, takes_ms=2 * A_SECOND)
        first, _ = await two.begin()
        await two.accept(3 * F)
        await pass_time(A_SECOND + 500)
        assert len(world.log) == 1 + F
        await give(first, two.lanes, heir="second")
        await pass_time(A_SECOND)
        assert await world.epoch() == 1
        await pass_time(A_SECOND)
        assert await world.epoch() == 2
        await pass_time(20 * A_SECOND)
        assert set(world.log.values()) == {1}
        assert await world.states() == {"sent": 1 + 3 * F}


@in_virtual_time
async def test_a_lane_may_come_back(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world)
        first, second = await two.begin()
        for turn in range(3):
            await give(first, two.lanes, heir="second")
            await pass_time(2 * A_SECOND)
            assert await owned_by(world, world.lane) == (2 + 2 * turn, owner_id("second"))
            await two.accept(2)
            await give(second, two.lanes, heir="first")
            await pass_time(2 * A_SECOND)
            assert await owned_by(world, world.lane) == (3 + 2 * turn, owner_id("first"))
        await pass_time(2 * A_SECOND)
        assert await world.states() == {"sent": 7}
        assert set(world.log.values()) == {1}


@pytest.mark.parametrize(
    ("heir", "dies"),
    [
        pytest.param("nobody", False, id="one that never was"),
        pytest.param("second", True, id="one that has ended"),
        pytest.param("first", False, id="oneself"),
    ],
)
@in_virtual_time
async def test_nothing_goes_to_who_is_not_there(tmp_path: Path, heir: str, dies: bool) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world)
        first, second = await two.begin()
        if dies:
            await second.drain()
        await give(first, two.lanes, heir=heir)
        await two.accept(5)
        await pass_time(3 * A_SECOND)
        assert await owned_by(world, world.lane) == (1, owner_id("first"))
        assert await world.states() == {"sent": 6}
        await first.check_health()


@in_virtual_time
async def test_only_who_owns_a_lane_gives_it(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world)
        _, second = await two.begin()
        await give(second, [*two.lanes, world.lane_of("bulk-7")], heir="first")
        await pass_time(2 * A_SECOND)
        assert await owned_by(world, world.lane) == (1, owner_id("first"))


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize("times", [1, 3])
@in_virtual_time
async def test_a_hand_over_whose_answer_is_lost_is_done_once(
    tmp_path: Path, is_applied: bool, times: int
) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world)
        first, second = await two.begin()
        two.stores["first"].lose("take_over", is_applied=is_applied, times=times)
        await give(first, two.lanes, heir="second")
        await two.accept(5)
        await pass_time(5 * A_SECOND)
        assert await owned_by(world, world.lane) == (2, owner_id("second"))
        assert await world.states() == {"sent": 6}
        assert set(world.log.values()) == {1}
        await first.check_health()
        await second.check_health()


@in_virtual_time
async def test_a_doorbell_at_the_wrong_door_names_the_right_one(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world)
        first, second = await two.begin()
        nothing = encode_doorbell([LaneRows(str(world.lane), [], None, [], [], [])])
        assert (await second.ring(nothing)).elsewhere == {str(world.lane): name_of("first")}
        assert (await first.ring(nothing)).elsewhere == {}
        await give(first, two.lanes, heir="second")
        await pass_time(3 * A_SECOND)
        assert (await first.ring(nothing)).elsewhere == {str(world.lane): name_of("second")}
        assert (await second.ring(nothing)).elsewhere == {}


@in_virtual_time
async def test_one_scheduler_of_a_core_sweeps(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world)
        await two.begin()
        await pass_time(30 * A_SECOND)
        assert two.stores["first"].count("sweep") > 4
        assert two.stores["second"].count("sweep") == 0


@in_virtual_time
async def test_both_beat_and_say_what_their_lanes_do(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        two = Two(world, lanes=2)
        first, second = await two.begin()
        await give(first, two.lanes[:1], heir="second")
        await pass_time(2 * A_SECOND)
        beats = {beat.owner: beat.value for beat in await world.admin.port.read_owners(world.core)}
        await pass_time(2 * A_SECOND)
        later = {beat.owner: beat.value for beat in await world.admin.port.read_owners(world.core)}
        assert later.keys() == {owner_id("first"), owner_id("second")}
        assert all(later[owner] > beats[owner] for owner in later)
        await two.accept(7)
        most: dict[str, int] = {}
        for _ in range(30):
            await pass_time(100)
            for scheduler in (first, second):
                for lane in (await scheduler.check_health())["lanes"]:
                    if lane["is_owned"]:
                        most[lane["lane"]] = max(
                            most.get(lane["lane"], 0), lane["handed_over_lately"]
                        )
        assert most == {str(lane): 7 for lane in two.lanes}


# --- killed in the middle -------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["first", "second", "both"])
@in_virtual_time
async def test_who_is_killed_while_lanes_move_loses_and_doubles_nothing(
    tmp_path: Path, victim: str
) -> None:
    """At a moment that chance picks: before, while and after claims are finished and given."""
    chance = seeded_random()
    async with LaneActors.on(tmp_path) as world:
        two = Two(world, lanes=3, takes_ms=40)
        first, _ = await two.begin()
        await two.accept(10 * F)
        await pass_time(chance.randint(0, 100))
        await give(first, two.lanes, heir="second")
        await pass_time(chance.randint(0, 120))
        victims = ["first", "second"] if victim == "both" else [victim]
        for one in victims:
            await two.kill(one)
        for number, one in enumerate(victims):
            await pass_time(chance.randint(0, 500))
            await two.start(f"{one} again", part=number)
        began = loop_now().time()
        await pass_time(2 * D_MS)
        await two.accept(5)
        await pass_time(2 * D_MS)
        assert loop_now().time() > began
        states = await world.states()
        assert states["sent"] + states["uncertain"] == len(world.accepted)
        assert states["uncertain"] <= F * len(two.lanes)
        assert set(world.log.values()) == {1}, "nothing was handed over twice"
        assert len(world.log) >= states["sent"]
        living = {owner_id(name) for name in two.schedulers}
        for lane in two.lanes:
            assert (await owned_by(world, lane))[1] in living
        for scheduler in two.schedulers.values():
            await scheduler.check_health()


@in_virtual_time
async def test_lanes_that_move_to_and_fro_while_both_stand_still_by_turns_send_nothing_twice(
    tmp_path: Path,
) -> None:
    chance = seeded_random()
    async with LaneActors.on(tmp_path) as world:
        two = Two(world, lanes=2, takes_ms=20)
        first, second = await two.begin()
        stalls = 0
        for turn in range(6):
            await two.accept(4 * F)
            await pass_time(chance.randint(0, 60))
            await give(first, two.lanes, heir="second")
            await pass_time(chance.randint(0, 60))
            await give(second, two.lanes, heir="first")
            if turn % 2:
                still = two.stores[chance.choice(["first", "second"])]
                still.pause()
                await pass_time(chance.choice([A_SECOND, D_MS + 2 * A_SECOND]))
                still.resume()
                stalls += 1
            await pass_time(A_SECOND)
        await pass_time(2 * D_MS)
        states = await world.states()
        assert states["sent"] + states["uncertain"] == len(world.accepted)
        assert states["uncertain"] <= F * len(two.lanes) * stalls
        assert set(world.log.values()) == {1}
