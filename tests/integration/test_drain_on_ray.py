"""A platform that is asked to stop leaves nothing half done, and the next one need not wait for it.

As `shardpost up` runs it, stopped by its operator while messages are on their way.
"""

import signal
from pathlib import Path

import pytest

from pipeline.lane.takeover import GONE
from tests.support.campaign import CLOSE_TIMEOUT_S, Campaign
from tests.support.ownership import Owners, read_owners
from tests.support.platform_process import PlatformProcess
from tests.support.stopped import nobody_supervises, stop, stop_between_writes, wake

pytestmark = pytest.mark.ray

# Who waits for a silent owner's lanes comes too late for these tests.
STEAL_AFTER_S = 600
assert STEAL_AFTER_S > 2 * CLOSE_TIMEOUT_S
VARIABLES = {
    "SHARDPOST_WINDOWS__STEAL_AFTER_MS": str(1_000 * STEAL_AFTER_S),
    "SHARDPOST_DASHBOARD": "false",
}
MESSAGES = 50_000


def test_the_lanes_of_a_drained_platform_are_free_and_the_next_one_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with PlatformProcess(data, VARIABLES) as platform:
        campaign = Campaign(data, "campaign", MESSAGES)
        accept_everything_first(platform, campaign)
        campaign.wait_for_fraction(0.02)
        platform.stop()
        assert campaign.fraction_out() < 1, "it had nothing left to do"
        drained = read_owners(data)
        assert all_are_released(drained)

        platform.start()
        # Nothing was under way when the first one ended, so that nothing is uncertain.
        assert campaign.wait_until_closed()["sent"] == MESSAGES
        # Whoever would drain it hangs: Ray has to start another registry first.
        stop(platform.actors("Registry")[0])
        platform.stop(signal.SIGTERM)
        after = read_owners(data)
        assert all_are_released(after)
        for lane, ownership in drained.lanes.items():
            assert after.lanes[lane].epoch == ownership.epoch + 1
            assert after.lanes[lane].owner != ownership.owner
    campaign.judge(uncertain_max=0, torn_max=0)


def accept_everything_first(platform: PlatformProcess, campaign: Campaign) -> None:
    """Let every scheduler begin with a backlog, so that it is drained with its hands full."""
    schedulers = platform.actors("Scheduler")
    with nobody_supervises(platform):  # they would be taken for dead
        for pid in schedulers:
            stop_between_writes(pid)
        campaign.send()
        for pid in schedulers:
            wake(pid)


def all_are_released(owners: Owners) -> bool:
    """Whether every lane's owner said goodbye: whoever sees that takes the lane at once."""
    assert owners.lanes
    return all(owners.beats[lane.owner] == GONE for lane in owners.lanes.values())
