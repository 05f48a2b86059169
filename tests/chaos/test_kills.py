"""Processes are killed while a hundred thousand messages are on their way."""

import os
import signal
import time
from functools import partial
from pathlib import Path

from pipeline.limits import Windows
from tests.support.campaign import CLOSE_TIMEOUT_S, Campaign
from tests.support.platform_process import PlatformProcess, eventually
from tests.support.seed import seeded_random

MESSAGES = 100_000
# Lanes are taken over soon, so that work goes on between the kills.
VARIABLES = {
    "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2500",
    "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
    "SHARDPOST_DASHBOARD": "false",
}
# Every kill is aimed at the first half, so that a slow look at what is out comes before its end.
EARLIEST, LATEST = 0.10, 0.95
AIMED_AT = (EARLIEST + 0.02, 0.55)
CLAIMS_MAX = Windows().claims_open_max


def wait_for_fraction(campaign: Campaign, fraction: float) -> None:
    campaign.wait_for_fraction(fraction)
    assert EARLIEST <= campaign.fraction_out() <= LATEST, "killed too late to matter"


def judge(campaign: Campaign, *, lanes_killed: int) -> None:
    campaign.judge(uncertain_max=CLAIMS_MAX * lanes_killed, torn_max=lanes_killed)


def test_killed_actors_lose_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    chance = seeded_random()
    kinds = ["Scheduler", "Scheduler", "Scheduler", "Ingester", "Registry"]
    chance.shuffle(kinds)
    fractions = sorted(chance.uniform(*AIMED_AT) for _ in kinds)
    data = tmp_path / "data"
    with PlatformProcess(data, VARIABLES) as platform:
        campaign = Campaign(data, "campaign", MESSAGES)
        campaign.begin()
        for kind, fraction in zip(kinds, fractions, strict=True):
            wait_for_fraction(campaign, fraction)
            victims = eventually(f"a {kind} runs", partial(platform.actors, kind), seconds=60)
            os.kill(chance.choice(victims), signal.SIGKILL)
        campaign.finish()
        campaign.wait_until_closed()
        platform.stop()
    judge(campaign, lanes_killed=kinds.count("Scheduler"))


def test_a_killed_platform_goes_on_where_it_was(tmp_path: Path) -> None:
    chance = seeded_random()
    data = tmp_path / "data"
    with PlatformProcess(data, VARIABLES) as platform:
        campaign = Campaign(data, "campaign", MESSAGES)
        campaign.begin()
        wait_for_fraction(campaign, chance.uniform(*AIMED_AT))
        platform.kill_all()
        campaign.break_off()
        lanes = len(list((data / "outbox").rglob("*.jsonl")))
        begun = time.monotonic()
        platform.start()
        campaign.send()
        campaign.wait_until_closed()
        assert time.monotonic() - begun < CLOSE_TIMEOUT_S
        platform.stop()
    judge(campaign, lanes_killed=lanes)
