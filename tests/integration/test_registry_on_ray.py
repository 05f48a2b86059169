"""The registry keeps every place served while real processes are killed, stopped and doubled.

One platform for all tests, as `shardpost up` runs it.  Ray's own list tells who runs, the data
folder who owns which lane, and the outbox what was handed over.
"""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.names import IngesterKey, SchedulerKey
from pipeline.limits import ACTOR_HEALTH_STRIKES_MAX, ACTOR_HEALTH_TIMEOUT_MS, Windows
from pipeline.ports import Ownership
from tests.support.campaign import Campaign
from tests.support.onlooker import Actors, Onlooker, key_of, owner_of
from tests.support.ownership import Owners, read_owners
from tests.support.platform_process import PlatformProcess, eventually, processes
from tests.support.stopped import nobody_supervises, stop_between_writes, stop_in_a_write, wake

pytestmark = pytest.mark.ray

STEAL_AFTER_MS = 2_500  # D
VARIABLES = {
    "SHARDPOST_WINDOWS__STEAL_AFTER_MS": str(STEAL_AFTER_MS),
    "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
    "SHARDPOST_DASHBOARD": "false",
    # Who runs is what the tests made of it.
    "SHARDPOST_INGESTERS_MAX": "0",
    "SHARDPOST_SCHEDULERS_PER_CORE_MAX": "0",
}
CORES = 4
FEW, MANY = 400, 30_000
CLAIMS_MAX = Windows().claims_open_max  # F
PATIENCE_S = 120.0
# The first question may have been asked up to its time-out before.
NOT_BEFORE_S = (ACTOR_HEALTH_STRIKES_MAX - 1) * ACTOR_HEALTH_TIMEOUT_MS / 1_000
US_PER_MS = 1_000


@dataclass(frozen=True)
class Running:
    """The platform and who looks on."""

    platform: PlatformProcess
    onlooker: Onlooker

    @property
    def data(self) -> Path:
        return self.platform.data

    def complete(self, *, without: frozenset[str] = frozenset()) -> Actors:
        """Wait until the registry says that every place is served, by others than these."""

        def others() -> bool:
            names = self.onlooker.running()
            return bool(names) and not names & without

        eventually(f"all are served without {set(without)}", others, seconds=PATIENCE_S)
        actors = self.onlooker.actors()
        keys = {key_of(name) for name in actors.alive}
        assert len(actors.alive) == len(keys) == CORES + 1
        assert IngesterKey(0) in keys
        return actors

    def send_few(self, group: str) -> None:
        """Send a few messages through the lanes of all cores; each goes out once."""
        campaign = Campaign(self.data, group, FEW)
        campaign.send()
        assert campaign.wait_until_closed()["sent"] == FEW
        campaign.judge(uncertain_max=0, torn_max=0)
        assert len(campaign.lanes()) == CORES


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("registry") / "data"
    with PlatformProcess(data, VARIABLES) as platform:
        with Onlooker(data, VARIABLES) as onlooker:
            everything = Running(platform, onlooker)
            # From here on every core has a lane, and the lane an owner.
            everything.send_few("first")
            yield everything
        platform.stop()


def a_scheduler(actors: Actors) -> str:
    return min(name for name in actors.alive if isinstance(key_of(name), SchedulerKey))


def lanes_of(owners: Owners, name: str) -> dict[str, Ownership]:
    """The lanes at the place of a scheduler."""
    key = key_of(name)
    assert isinstance(key, SchedulerKey)
    lanes = owners.of_core(key.core)
    assert lanes
    return lanes


def taken_over(lanes: dict[str, Ownership], *, by: str) -> dict[str, Ownership]:
    """The same lanes after one take-over."""
    return {lane: Ownership(old.epoch + 1, owner_of(by)) for lane, old in lanes.items()}


def test_a_registry_that_was_killed_adopts_everybody_and_creates_nobody(running: Running) -> None:
    before = running.complete()
    kill_registry(running)
    assert running.complete().alive == before.alive
    running.send_few("adopted")
    assert running.complete().alive == before.alive
    assert running.onlooker.actors().names == before.names, "somebody was created and is gone again"


def test_a_registry_that_was_killed_goes_on_though_nobody_asks_it(running: Running) -> None:
    before = running.complete()
    kill_registry(running)
    (victim,) = before.at(IngesterKey(0))
    os.kill(before.alive[victim], signal.SIGKILL)
    eventually(
        "another ingester lives",
        lambda: set(running.onlooker.actors().at(IngesterKey(0))) - {victim},
        seconds=PATIENCE_S,
    )
    after = running.complete(without=frozenset({victim}))
    assert after.names == before.names | set(after.at(IngesterKey(0)))
    running.send_few("asked nothing")


def kill_registry(running: Running) -> None:
    """Kill it and wait until Ray has restarted it."""
    pid = running.onlooker.actors().registry_pid
    os.kill(pid, signal.SIGKILL)
    eventually(
        "another process is the registry",
        lambda: running.onlooker.actors().registry_pid not in (0, pid),
        seconds=PATIENCE_S,
    )


def test_a_scheduler_that_was_killed_is_replaced_and_the_others_go_on(running: Running) -> None:
    before, owned = running.complete(), read_owners(running.data)
    victim = a_scheduler(before)
    os.kill(before.alive[victim], signal.SIGKILL)
    after = running.complete(without=frozenset({victim}))
    (successor,) = after.at(key_of(victim))
    others = {name: pid for name, pid in before.alive.items() if name != victim}
    assert {name: pid for name, pid in after.alive.items() if name != successor} == others
    assert after.names == before.names | {successor}
    running.send_few("replaced")
    owns = read_owners(running.data)
    for name in others.keys() - set(before.at(IngesterKey(0))):
        assert lanes_of(owns, name) == lanes_of(owned, name)
    assert lanes_of(owns, victim) == taken_over(lanes_of(owned, victim), by=successor)


def test_schedulers_that_stand_still_are_killed_and_their_lanes_taken_over(
    running: Running,
) -> None:
    """One is stopped in the middle of a write, and so keeps everybody from its core's file."""
    before, owned = running.complete(), read_owners(running.data)
    victims = [name for name in sorted(before.alive) if isinstance(key_of(name), SchedulerKey)][:2]
    pids = [before.alive[name] for name in victims]
    campaign = Campaign(running.data, "stopped", MANY)
    campaign.begin()
    campaign.wait_for_fraction(0.1)
    stop_between_writes(pids[0])
    stop_in_a_write(pids[1])
    stopped_at = time.monotonic()
    lines_then = campaign.lanes()
    eventually(
        "both are given up",
        lambda: not set(victims) & running.onlooker.actors().alive.keys(),
        seconds=PATIENCE_S,
    )
    assert time.monotonic() - stopped_at > NOT_BEFORE_S
    after = running.complete(without=frozenset(victims))
    # Nobody wakes them: Ray asks them to exit, and kills who has not done so in a few seconds.
    eventually("both are gone", lambda: not set(pids) & processes().keys(), seconds=PATIENCE_S)
    campaign.finish()
    campaign.wait_until_closed()
    campaign.judge(uncertain_max=CLAIMS_MAX * len(victims), torn_max=len(victims))
    owns, lines = read_owners(running.data), campaign.lanes()
    for victim in victims:
        (successor,) = after.at(key_of(victim))
        lanes = lanes_of(owned, victim)
        assert lanes_of(owns, victim) == taken_over(lanes, by=successor)
        assert all(lines[lane] > lines_then[lane] for lane in lanes), "it had nothing left to do"


def test_a_scheduler_that_wakes_after_its_lanes_were_taken_over_hands_over_nothing_more(
    running: Running,
) -> None:
    """Ray may run an actor twice for minutes, and a registry that stands still kills neither.

    Whom the registry kills does not wake any more, so the double is put there by the test.
    """
    before, owned = running.complete(), read_owners(running.data)
    first = a_scheduler(before)
    lanes = lanes_of(owned, first)
    with nobody_supervises(running.platform):
        double = running.onlooker.put_double(first)
        leave_a_living_owner_alone(running, double)
        assert lanes_of(read_owners(running.data), first) == lanes

        campaign = Campaign(running.data, "doubled", MANY)
        campaign.begin()
        campaign.wait_for_fraction(0.1)
        stop_between_writes(before.alive[first])
        lines_then = campaign.lanes()
        last_beat = read_owners(running.data).beats[owner_of(first)]
        eventually(
            "the double owns the lanes",
            lambda: lanes_of(read_owners(running.data), first) == taken_over(lanes, by=double),
            seconds=PATIENCE_S,
        )
        wake(before.alive[first])
        eventually(
            "the first one lives and has noticed",
            lambda: has_lost_all(running.onlooker.lanes(first)),
            seconds=PATIENCE_S,
        )
        # What it lost it may notice before its next beat.
        eventually(
            "the first one beats on",
            lambda: read_owners(running.data).beats[owner_of(first)] > last_beat,
            seconds=PATIENCE_S,
        )
        campaign.finish()
        campaign.wait_until_closed()
        lines = campaign.lanes()
        assert all(lines[lane] > lines_then[lane] for lane in lanes), "it had nothing left to do"
        campaign.judge(uncertain_max=CLAIMS_MAX, torn_max=1)
        assert lanes_of(read_owners(running.data), first) == taken_over(lanes, by=double)
    eventually(
        "the registry leaves one of the two",
        lambda: len(running.onlooker.actors().at(key_of(first))) == 1,
        seconds=PATIENCE_S,
    )
    running.complete()
    running.send_few("single")


def leave_a_living_owner_alone(running: Running, double: str) -> None:
    """Wait until a double has looked on for longer than D."""

    def beat() -> int | None:
        return read_owners(running.data).beats.get(owner_of(double))

    first_beat = eventually("the double lives", beat, seconds=PATIENCE_S)
    enough = first_beat + 1.2 * STEAL_AFTER_MS * US_PER_MS
    eventually("it has looked on for D", lambda: (beat() or 0) > enough, seconds=PATIENCE_S)


def has_lost_all(reports: list[dict[str, object]]) -> bool:
    return bool(reports) and not any(report["is_owned"] for report in reports)
