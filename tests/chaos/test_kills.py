"""Processes are killed while a hundred thousand messages are on their way; the outbox is the judge.

What the platform says of itself is used for waiting, and to name the uncertain; what was handed
over, and how often, is read from the files that the connector wrote.
"""

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.limits import Windows
from tests.support.platform_process import (
    Outbox,
    PlatformProcess,
    begin,
    eventually,
    shardpost,
)
from tests.support.seed import seeded_random

MESSAGES = 100_000
# Lanes are taken over soon, so that work goes on between the kills.
VARIABLES = {
    "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2500",
    "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
    "SHARDPOST_DASHBOARD": "false",
}
EARLIEST, LATEST = 0.10, 0.80
CLAIMS_MAX = Windows().claims_open_max
CLOSE_TIMEOUT_S = 120.0
SEND = ("send", "--channel", "sms", "--group", "campaign")


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    path = tmp_path / "messages.csv"
    with path.open("w") as file:
        file.write("to,text\n")
        for number in range(MESSAGES):
            file.write(f"+44770090{number % 1_000:04},message {number} of the campaign\n")
    return path


def wait_for_fraction(outbox: Outbox, fraction: float) -> None:
    eventually(
        f"{fraction:.0%} is out",
        lambda: outbox.lines_count() >= fraction * MESSAGES,
        seconds=CLOSE_TIMEOUT_S,
    )
    assert EARLIEST <= outbox.lines_count() / MESSAGES <= LATEST, "killed too late to matter"


def wait_until_closed(data: Path) -> dict[str, int]:
    def closed() -> dict[str, int] | None:
        told = json.loads(shardpost("group", "campaign", "--json", "--data", str(data)).stdout)
        books: dict[str, int] = told["states"]
        settled = sum(books.get(state, 0) for state in ("sent", "uncertain"))
        return books if settled == MESSAGES else None

    answer: dict[str, int] = eventually("the books close", closed, seconds=CLOSE_TIMEOUT_S)
    return answer


def uncertain_ids(data: Path) -> set[str]:
    ids: set[str] = set()
    more: tuple[str, ...] = ()
    while True:
        page = shardpost(
            *("messages", "--state", "uncertain", "--limit", "1000", *more),
            *("--json", "--data", str(data)),
        )
        told = json.loads(page.stdout or "{}") if page.returncode == 0 else {"messages": []}
        ids |= {message["id"] for message in told["messages"]}
        if not told.get("after"):
            return ids
        more = ("--after", told["after"])


def judge(data: Path, *, lanes_killed: int) -> None:
    """Nothing twice; what is missing is uncertain, at most F for each lane and kill."""
    outbox = Outbox(data)
    lines, torn = outbox.read()
    assert outbox.twice() == []
    uncertain = uncertain_ids(data)
    assert len(uncertain) <= CLAIMS_MAX * lanes_killed
    assert torn <= lanes_killed
    missing = MESSAGES - len(lines)
    handed_over = {line["message_id"] for line in lines}
    missing_uncertain = uncertain - handed_over
    print(  # noqa: T201 -- the figures of the run
        f"handed over {len(lines)}, missing {missing}, uncertain {len(uncertain)}"
        f" (of them handed over {len(uncertain & handed_over)}), torn lines {torn}"
    )
    assert missing == len(missing_uncertain)
    assert len({line["content"] for line in lines}) == len(lines)
    audit = shardpost("audit", "--json", "--data", str(data))
    assert audit.returncode == 0, audit.stdout[-2_000:]


def test_killed_actors_lose_nothing_and_send_nothing_twice(tmp_path: Path, messages: Path) -> None:
    chance = seeded_random()
    kinds = ["Scheduler", "Scheduler", "Scheduler", "Ingester", "Registry"]
    chance.shuffle(kinds)
    fractions = sorted(chance.uniform(EARLIEST + 0.02, LATEST - 0.25) for _ in kinds)
    data = tmp_path / "data"
    with PlatformProcess(data, VARIABLES) as platform:
        sending = begin(*SEND, str(messages), "--data", str(data))
        outbox = Outbox(data)
        for kind, fraction in zip(kinds, fractions, strict=True):
            wait_for_fraction(outbox, fraction)
            victims = eventually(f"a {kind} runs", partial(platform.actors, kind), seconds=60)
            os.kill(chance.choice(victims), signal.SIGKILL)
        output, errors = sending.communicate(timeout=CLOSE_TIMEOUT_S)
        assert sending.returncode == 0, (output, errors[-2_000:])
        wait_until_closed(data)
        platform.stop()
    judge(data, lanes_killed=kinds.count("Scheduler"))


def test_a_killed_platform_goes_on_where_it_was(tmp_path: Path, messages: Path) -> None:
    chance = seeded_random()
    data = tmp_path / "data"
    with PlatformProcess(data, VARIABLES) as platform:
        sending = begin(*SEND, str(messages), "--data", str(data))
        wait_for_fraction(Outbox(data), chance.uniform(EARLIEST + 0.02, LATEST - 0.25))
        platform.kill_all()
        sending.kill()
        sending.communicate()
        lanes = len(list((data / "outbox").rglob("*.jsonl")))
        begun = time.monotonic()
        platform.start()
        sent = shardpost(*SEND, str(messages), "--data", str(data))
        assert sent.returncode == 0, sent.stderr[-2_000:]
        wait_until_closed(data)
        assert time.monotonic() - begun < CLOSE_TIMEOUT_S
        platform.stop()
    judge(data, lanes_killed=lanes)
