"""Lanes move between two schedulers of one core under load, and one is killed while they do.

Whether a core is split is a matter of load, which a test cannot promise; so it says itself what
moves, as the registry would.  The outbox tells what was handed over.
"""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from actors.names import SchedulerKey
from pipeline.limits import Windows
from tests.support.campaign import Campaign
from tests.support.onlooker import Onlooker, key_of, owner_of
from tests.support.ownership import read_owners
from tests.support.platform_process import PlatformProcess, eventually
from tests.support.stopped import nobody_supervises

pytestmark = pytest.mark.ray

VARIABLES = {
    "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2500",
    "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
    "SHARDPOST_DASHBOARD": "false",
    "SHARDPOST_LOCAL__NODES": "1",
    "SHARDPOST_LOCAL__SHARDS": "1",
    "SHARDPOST_INGESTERS_MAX": "0",
    "SHARDPOST_SCHEDULERS_PER_CORE_MAX": "0",
}
PRIORITIES = ("urgent", "normal", "bulk")
FEW, MANY = 30, 60_000
CLAIMS_MAX = Windows().claims_open_max  # F
PATIENCE_S = 120.0


class Core:
    """The only core of a platform, and its schedulers."""

    def __init__(self, platform: PlatformProcess, onlooker: Onlooker) -> None:
        self.platform, self.onlooker = platform, onlooker

    def schedulers(self) -> dict[str, int]:
        alive = self.onlooker.actors().alive
        return {name: alive[name] for name in alive if isinstance(key_of(name), SchedulerKey)}

    def put_beside(self, name: str) -> str:
        other = self.onlooker.put_beside(name)
        eventually(
            "it lives",
            lambda: owner_of(other) in read_owners(self.platform.data).beats,
            seconds=PATIENCE_S,
        )
        return other

    def lanes_of(self, name: str) -> set[str]:
        lanes = read_owners(self.platform.data).lanes
        return {str(lane) for lane in lanes if lanes[lane].owner == owner_of(name)}

    def epochs(self) -> Counter[str]:
        lanes = read_owners(self.platform.data).lanes
        return Counter({str(lane): lanes[lane].epoch for lane in lanes})

    def wait_for(self, name: str, lanes: set[str]) -> None:
        eventually(f"{name} owns {lanes}", lambda: self.lanes_of(name) >= lanes, seconds=PATIENCE_S)

    def move(self, lanes: set[str], giver: str, heir: str) -> None:
        """As the registry does: again until it is seen; one that is not at work yet gives none."""

        def moved() -> bool:
            self.onlooker.hand_over(giver, lanes, heir=heir)
            return self.lanes_of(heir) >= lanes

        eventually(f"{heir} owns {lanes}", moved, seconds=PATIENCE_S)


def test_lanes_that_move_under_load_lose_nothing_and_hand_nothing_over_twice(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with PlatformProcess(data, VARIABLES) as platform, Onlooker(data, VARIABLES) as onlooker:
        core = Core(platform, onlooker)
        Campaign(data, "first", FEW, priorities=PRIORITIES).send()
        (first,) = core.schedulers()
        eventually("it owns all", lambda: len(core.lanes_of(first)) == 3, seconds=PATIENCE_S)
        lanes = core.lanes_of(first)
        campaign = Campaign(data, "moved", MANY, priorities=PRIORITIES)
        with nobody_supervises(platform):
            second = core.put_beside(first)
            campaign.begin()
            campaign.wait_for_fraction(0.05)
            giver, heir = first, second
            for _ in range(3):
                before, lines = core.epochs(), campaign.lanes()
                core.move(lanes, giver, heir)
                # One step each: nobody else took them meanwhile.
                assert core.epochs() == before + Counter(dict.fromkeys(lanes, 1))
                campaign.wait_for_fraction((sum(lines.values()) + MANY / 20) / MANY)
                giver, heir = heir, giver
            # They are at the second now, and on their way to the first.
            onlooker.hand_over(second, lanes, heir=first)
            os.kill(core.schedulers()[second], signal.SIGKILL)
            core.wait_for(first, lanes)
            third = core.put_beside(first)
            moved = {min(lanes), max(lanes)}
            core.move(moved, first, third)
            os.kill(onlooker.actors().registry_pid, signal.SIGKILL)
        # The registry that follows finds one scheduler more than is allowed: lanes move back, and
        # it ends.
        eventually("one is left", lambda: set(core.schedulers()) == {first}, seconds=PATIENCE_S)
        campaign.finish()
        campaign.wait_until_closed()
        assert core.lanes_of(first) == lanes
        campaign.judge(uncertain_max=CLAIMS_MAX * len(lanes), torn_max=len(lanes))
        platform.stop()
