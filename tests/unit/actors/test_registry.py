"""The registry sees to it that every place is served, whatever it finds."""

import pytest

from actors.names import (
    IngesterKey,
    SchedulerKey,
)
from cluster.topology.generation import Core
from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.limits import (
    ACTOR_HEALTH_STRIKES_MAX,
    ACTOR_HEALTH_TIMEOUT_MS,
    ACTOR_START_BACKOFF_MS_MAX,
    ACTOR_START_TIMEOUT_MS,
)
from tests.support.ray_world import A_SCHEDULER, PLACES, ROUND_MS, World, running
from tests.support.topologies import make_generation
from tests.support.virtual_time import in_virtual_time, pass_time


@in_virtual_time
async def test_every_place_is_filled_once() -> None:
    world = World()
    async with running(world) as registry:
        assert set(world.places()) == PLACES
        assert len(world.places()) == len(PLACES)
        status = await registry.status()
        assert status["is_complete"]
        assert set(status["wanted"]) == set(status["running"]) == {str(key) for key in PLACES}
        assert status["reports"][world.serving(A_SCHEDULER)[0]]["who"] == str(A_SCHEDULER)
        await pass_time(60_000)
        assert len(world.created) == len(PLACES)
        assert world.killed == []


@in_virtual_time
async def test_it_is_not_complete_before_everybody_has_answered() -> None:
    world = World()
    world.new_are_mute = True
    async with running(world) as registry:
        status = await registry.status()
        assert not status["is_complete"]
        assert status["running"] == {}


@in_virtual_time
async def test_a_registry_that_was_restarted_adopts_who_survived() -> None:
    world = World()
    survivors = [world.add(key, number) for number, key in enumerate(PLACES, start=100)]
    async with running(world) as registry:
        assert world.created == world.killed == []
        assert (await registry.status())["is_complete"]
        assert all(actor.asked_count for actor in survivors)


@in_virtual_time
async def test_who_died_is_replaced_under_another_name() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        del world.living[name]
        await pass_time(2 * ROUND_MS)
        (successor,) = world.serving(A_SCHEDULER)
        assert successor != name
        assert len(world.created) == len(PLACES) + 1


@in_virtual_time
async def test_who_says_that_it_failed_is_killed_and_replaced() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].error = KeyError("a lane")
        await pass_time(3 * ROUND_MS)
        assert world.killed == [name]
        assert len(world.serving(A_SCHEDULER)) == 1


@in_virtual_time
async def test_why_a_place_fails_is_told_until_it_is_served_again() -> None:
    world = World()
    async with running(world) as registry:
        assert (await registry.status())["troubles"] == []
        world.new_die = True
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].error = SettingInvalid("secret env:A:\nset it")
        await pass_time(3 * ROUND_MS)
        told = (await registry.status())["troubles"]
        assert told == [f"the scheduler of {A_SCHEDULER.core.node}/0: secret env:A: set it"]
        world.new_die = False
        await pass_time(ACTOR_START_BACKOFF_MS_MAX + 4 * ROUND_MS)
        assert (await registry.status())["troubles"] == []


@in_virtual_time
async def test_what_any_process_works_around_is_told_once() -> None:
    world = World()
    async with running(world) as registry:
        for name in world.living:
            world.living[name].warnings = ["node a does not answer", f"only {name} sees it"]
        await pass_time(2 * ROUND_MS)
        told = (await registry.status())["warnings"]
        assert told.count("node a does not answer") == 1
        assert len(told) == 1 + len(world.living)


@in_virtual_time
async def test_a_lane_that_is_set_aside_is_told() -> None:
    world = World()
    async with running(world) as registry:
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].set_aside = {"1.n1.0.sms.bulk-2": "a body is malformed"}
        await pass_time(2 * ROUND_MS)
        assert (await registry.status())["troubles"] == [
            "lane 1.n1.0.sms.bulk-2 is set aside: a body is malformed"
        ]


@in_virtual_time
async def test_who_does_not_answer_three_times_is_killed_and_replaced() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].is_mute = True
        await pass_time((ACTOR_HEALTH_STRIKES_MAX - 1) * (ACTOR_HEALTH_TIMEOUT_MS + ROUND_MS))
        assert world.killed == []
        await pass_time(2 * (ACTOR_HEALTH_TIMEOUT_MS + ROUND_MS))
        assert world.killed == [name]
        assert len(world.serving(A_SCHEDULER)) == 1


@in_virtual_time
async def test_who_answers_in_between_begins_anew() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        for _ in range(3):
            world.living[name].is_mute = True
            await pass_time((ACTOR_HEALTH_STRIKES_MAX - 1) * (ACTOR_HEALTH_TIMEOUT_MS + ROUND_MS))
            world.living[name].is_mute = False
            await pass_time(ACTOR_HEALTH_TIMEOUT_MS + 2 * ROUND_MS)
        assert world.killed == []


@in_virtual_time
async def test_one_that_is_mute_keeps_nobody_else_waiting() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.living[name].is_mute = True
        (other,) = world.serving(IngesterKey(0))
        del world.living[other]
        await pass_time(3 * ROUND_MS)
        assert len(world.serving(IngesterKey(0))) == 1


@in_virtual_time
async def test_who_never_starts_is_given_up() -> None:
    world = World()
    world.new_are_mute = True
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        await pass_time(ACTOR_START_TIMEOUT_MS - 2 * ROUND_MS)
        assert world.killed == []
        await pass_time(4 * ROUND_MS)
        assert name in world.killed


@in_virtual_time
async def test_who_says_that_it_could_not_start_is_replaced() -> None:
    world = World()
    world.add(A_SCHEDULER, 999).error = StoreUnavailable("away")
    async with running(world):
        assert len(world.killed) == 1
        assert len(world.serving(A_SCHEDULER)) == 1


@in_virtual_time
async def test_of_two_at_one_place_one_is_killed() -> None:
    world = World()
    world.add(A_SCHEDULER, 1)
    world.add(A_SCHEDULER, 2)
    async with running(world):
        assert len(world.serving(A_SCHEDULER)) == 1
        assert len(world.killed) == 1


@in_virtual_time
async def test_a_double_that_comes_later_goes() -> None:
    world = World()
    async with running(world):
        (name,) = world.serving(A_SCHEDULER)
        world.add(A_SCHEDULER, 999)
        await pass_time(2 * ROUND_MS)
        assert world.serving(A_SCHEDULER) == [name]


@in_virtual_time
async def test_who_serves_a_core_that_is_gone_is_ended() -> None:
    world = World()
    world.add(SchedulerKey(Core("gone", 0)), 1)
    async with running(world):
        assert set(world.places()) == PLACES


@in_virtual_time
async def test_a_place_that_keeps_dying_is_tried_ever_more_rarely() -> None:
    world = World()
    world.new_die = True
    async with running(world):
        await pass_time(10_000)
        early = len(world.created)
        assert early >= 5 * len(PLACES)
        await pass_time(20 * ACTOR_START_BACKOFF_MS_MAX)
        late = len(world.created) - early
        assert late <= 26 * len(PLACES)
        world.new_die = False
        await pass_time(ACTOR_START_BACKOFF_MS_MAX + 2 * ROUND_MS)
        assert set(world.places()) == PLACES


@pytest.mark.parametrize("what", ["the ring cannot be read", "Ray creates nothing"])
@in_virtual_time
async def test_what_a_round_could_not_do_the_next_one_does(what: str) -> None:
    world = World()
    if what.startswith("the ring"):
        world.topology_error = StoreUnavailable("away")
    else:
        world.create_error = ConnectionError("away")
    async with running(world):
        assert world.places() == []
        world.topology_error = world.create_error = None
        await pass_time(30 * ROUND_MS)
        assert set(world.places()) == PLACES


@in_virtual_time
async def test_a_new_generation_is_served_as_soon_as_it_is_seen() -> None:
    world = World()
    async with running(world):
        world.generations = [make_generation(), make_generation(number=2, shard_count=3)]
        await pass_time(2 * ROUND_MS)
        assert len(world.places()) == 2 * 3 + 2
