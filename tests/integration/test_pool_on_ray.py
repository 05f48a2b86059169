"""An ingester of the pool ends while chunks come in, and none of them is lost or doubled.

How many ingesters there are is a matter of load, which a test cannot promise; so it adds one itself
behind the registry's back.
"""

import os
import signal
from pathlib import Path

import pytest

from actors.names import IngesterKey
from tests.support.campaign import Campaign
from tests.support.onlooker import Onlooker, key_of
from tests.support.platform_process import PlatformProcess, eventually
from tests.support.stopped import nobody_supervises

pytestmark = pytest.mark.ray

VARIABLES = {
    "SHARDPOST_DASHBOARD": "false",
    "SHARDPOST_LOCAL__NODES": "1",
    "SHARDPOST_LOCAL__SHARDS": "1",
    "SHARDPOST_INGESTERS_MAX": "0",
    "SHARDPOST_SCHEDULERS_PER_CORE_MAX": "0",
}
MANY = 100_000
PATIENCE_S = 30.0


def test_an_ingester_that_is_not_needed_ends_and_no_chunk_is_lost(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with PlatformProcess(data, VARIABLES) as platform, Onlooker(data, VARIABLES) as onlooker:

        def ingesters() -> set[str]:
            return {
                name for name in onlooker.actors().alive if isinstance(key_of(name), IngesterKey)
            }

        campaign = Campaign(data, "many", MANY)
        with nobody_supervises(platform):
            (first,) = ingesters()
            second = onlooker.put_beside(first)
            eventually("both live", lambda: ingesters() == {first, second}, seconds=PATIENCE_S)
            campaign.begin()
            campaign.wait_for_fraction(0.02)
            os.kill(onlooker.actors().registry_pid, signal.SIGKILL)
        # The registry that follows finds one more than is allowed.
        eventually("one is left", lambda: ingesters() == {first}, seconds=PATIENCE_S)
        print(f"then {campaign.fraction_out():.0%} were out")  # noqa: T201
        campaign.finish()
        campaign.wait_until_closed()
        campaign.judge(uncertain_max=0, torn_max=0)
        platform.stop()
