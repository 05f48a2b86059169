"""A platform is served and drained by its registry, whatever state that is in."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from actors.handles import ActorGone, RegistryHandle
from actors.platform import Platform, RegistrySilent
from cluster.local.platform_lock import PlatformAddress, PlatformLock, read_platform
from pipeline.errors import PlatformNotStarted
from pipeline.limits import (
    ACTOR_HEALTH_STRIKES_MAX,
    ACTOR_HEALTH_TIMEOUT_MS,
    DRAIN_TIMEOUT_MS,
)
from tests.support.virtual_time import in_virtual_time, loop_now, pass_time

READY_TIMEOUT_S = 120
RESTART_S = 2
ASKED_EVERY_MS = 5_000 + ACTOR_HEALTH_TIMEOUT_MS  # one that hangs
WATCHED_MS = (ACTOR_HEALTH_STRIKES_MAX + 1) * ASKED_EVERY_MS


class Registry:
    """One that answers, unless it is told otherwise; Ray starts it again when it was killed."""

    def __init__(self) -> None:
        self.is_complete = True
        self.troubles: list[str] = []
        self.warnings: list[str] = []
        self.is_hanging = False
        self.is_hanging_in_drain = False
        self.unreachable_every = 0  # of the questions to one that hangs
        self._asked_count = 0
        self.comes_back = True
        self.dead_until_s = 0.0
        self.restarts_count = 0
        self.drains_s = 0.0
        self.deaths_in_drain = 0
        self.drained_count = 0

    def die(self) -> None:
        self.dead_until_s = loop_now().time() + RESTART_S if self.comes_back else float("inf")
        self.is_hanging = False

    async def status(self) -> Mapping[str, Any]:
        await self._answer()
        return {
            "is_complete": self.is_complete,
            "troubles": self.troubles,
            "warnings": self.warnings,
        }

    async def drain(self) -> None:
        await self._answer()
        if self.is_hanging_in_drain:
            await asyncio.Event().wait()
        await asyncio.sleep(self.drains_s)
        if self.deaths_in_drain:
            self.deaths_in_drain -= 1
            self.die()
            raise ActorGone("it died")
        self.drained_count += 1

    def restart(self) -> None:
        self.restarts_count += 1
        self.die()

    async def _answer(self) -> None:
        if loop_now().time() < self.dead_until_s:
            raise ActorGone("it is restarting")
        if self.is_hanging:
            self._asked_count += 1
            if self.unreachable_every and self._asked_count % self.unreachable_every == 0:
                raise ActorGone("it cannot be reached")
            await asyncio.Event().wait()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def platform(registry: Registry, tmp_path: Path) -> Platform:
    return Platform(
        PlatformLock.take(tmp_path), cast(RegistryHandle, registry), dashboard_url="", logs="here"
    )


@in_virtual_time
async def test_a_registry_that_lives_drains(registry: Registry, platform: Platform) -> None:
    registry.drains_s = 2 * DRAIN_TIMEOUT_MS / 1_000
    await platform.drain()
    assert (registry.drained_count, registry.restarts_count) == (1, 0)


@in_virtual_time
async def test_a_registry_that_has_just_died_drains_when_it_is_back(
    registry: Registry, platform: Platform
) -> None:
    registry.die()
    await platform.drain()
    assert (registry.drained_count, registry.restarts_count) == (1, 0)


@in_virtual_time
async def test_a_registry_that_dies_while_it_drains_begins_again(
    registry: Registry, platform: Platform
) -> None:
    registry.deaths_in_drain = 2
    await platform.drain()
    assert registry.drained_count == 1


@in_virtual_time
async def test_a_registry_that_hangs_is_restarted_and_drains(
    registry: Registry, platform: Platform
) -> None:
    registry.is_hanging = True
    await platform.drain()
    assert (registry.drained_count, registry.restarts_count) == (1, 1)


@pytest.mark.parametrize("how", ["dead for good", "hanging in its drain"])
@in_virtual_time
async def test_the_end_does_not_wait_for_ever(
    registry: Registry, platform: Platform, how: str
) -> None:
    if how == "dead for good":
        registry.comes_back = False
        registry.die()
    else:
        registry.is_hanging_in_drain = True
    await platform.drain()
    assert registry.drained_count == 0
    assert loop_now().time() < 3 * DRAIN_TIMEOUT_MS / 1_000


@in_virtual_time
async def test_who_asks_a_registry_that_hangs_is_told_so(
    registry: Registry, platform: Platform
) -> None:
    registry.is_hanging = True
    with pytest.raises(RegistrySilent):
        await platform.status()


@in_virtual_time
async def test_a_platform_is_ready_when_everybody_has_answered(
    registry: Registry, platform: Platform
) -> None:
    registry.is_complete = False
    registry.die()
    loop_now().call_later(30, setattr, registry, "is_complete", True)
    await platform.ready()
    assert loop_now().time() >= 30


@in_virtual_time
async def test_whoever_asks_is_told_of_troubles_until_they_are_over(
    registry: Registry, platform: Platform, tmp_path: Path
) -> None:
    platform._lock.publish(
        PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=17)
    )
    await platform.ready()
    assert read_platform(tmp_path).troubles == ()
    registry.troubles = ["the receiver of receipts: its port is taken"]
    await pass_time(10_000)
    assert read_platform(tmp_path).troubles == tuple(registry.troubles)
    registry.troubles = []
    registry.warnings = ["node 10.0.0.2 does not answer"]
    await pass_time(10_000)
    assert read_platform(tmp_path).troubles == ()
    assert read_platform(tmp_path).warnings == tuple(registry.warnings)
    registry.warnings = []
    await pass_time(10_000)
    assert read_platform(tmp_path).warnings == ()
    await platform.drain()


@in_virtual_time
async def test_a_platform_that_does_not_become_ready_says_who_is_missing_and_why(
    registry: Registry, platform: Platform
) -> None:
    registry.is_complete = False
    registry.troubles = ["ingester 0: out of memory"]
    with pytest.raises(PlatformNotStarted, match="ingester 0: out of memory"):
        await platform.ready()


@pytest.mark.parametrize("how", ["somebody is missing", "the registry hangs"])
@in_virtual_time
async def test_a_platform_that_does_not_become_ready_says_so(
    registry: Registry, platform: Platform, how: str
) -> None:
    registry.is_complete = False
    registry.is_hanging = how == "the registry hangs"
    with pytest.raises(PlatformNotStarted):
        await platform.ready()
    assert loop_now().time() < READY_TIMEOUT_S + 10


@in_virtual_time
async def test_a_registry_that_hangs_is_restarted(registry: Registry, platform: Platform) -> None:
    await platform.ready()
    registry.is_hanging = True
    await pass_time(WATCHED_MS)
    assert registry.restarts_count == 1
    await pass_time(10 * WATCHED_MS)
    assert registry.restarts_count == 1


@in_virtual_time
async def test_a_registry_that_hangs_and_cannot_be_reached_at_times_is_restarted(
    registry: Registry, platform: Platform
) -> None:
    await platform.ready()
    registry.is_hanging, registry.unreachable_every = True, ACTOR_HEALTH_STRIKES_MAX
    await pass_time(2 * WATCHED_MS)
    assert registry.restarts_count == 1


@in_virtual_time
async def test_a_registry_that_answers_late_or_died_is_left_to_itself(
    registry: Registry, platform: Platform
) -> None:
    await platform.ready()
    for _ in range(10):
        registry.is_hanging = True
        await pass_time((ACTOR_HEALTH_STRIKES_MAX - 1) * ASKED_EVERY_MS)
        registry.is_hanging = False
        await pass_time(ASKED_EVERY_MS)
    registry.die()
    await pass_time(10 * WATCHED_MS)
    assert registry.restarts_count == 0


@in_virtual_time
async def test_from_the_drain_on_nobody_restarts_the_registry(
    registry: Registry, platform: Platform
) -> None:
    await platform.ready()
    await platform.drain()
    registry.is_hanging = True
    await pass_time(10 * WATCHED_MS)
    assert registry.restarts_count == 0
