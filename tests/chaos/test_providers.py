"""Actors are killed and stopped while providers fail in every way; the provider's log judges."""

import itertools
import json
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.egress.simulator.log import LogLine, read_log
from tests.support.both_providers import both_providers
from tests.support.platform_process import (
    PlatformProcess,
    begin,
    eventually,
    shardpost,
)
from tests.support.seed import seeded_random

# By each of both; `make chaos` asks for more.
MESSAGES = int(os.environ.get("SHARDPOST_CHAOS_MESSAGES", "3000"))
WORK_TIMEOUT_S = 240.0
FAULTS = int(os.environ.get("SHARDPOST_CHAOS_FAULTS", "8"))
FAILS_MAX = 4  # requests of a message that may fail
MODES = {
    "accept": 60,
    "refuse": 4,
    "throttle": 8,
    "hang_before": 1,
    "hang_after": 1,
    "reset_before": 4,
    "reset_after": 4,
    "error_before": 4,
    "error_after": 4,
    "late": 4,
}


def failing() -> str:
    """Return the modes; who fails for ever is asked ever more rarely, and this test is to end."""
    return json.dumps({"rules": [{"modes": MODES, "first": FAILS_MAX}]})


def variables(ports: dict[str, int]) -> dict[str, str]:
    connector = "SHARDPOST_CONNECTORS__"
    return {
        "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2500",
        "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
        "SHARDPOST_DASHBOARD": "false",
        f"{connector}TEXTS__KIND": "webhook",
        f"{connector}TEXTS__CHANNELS": "sms",
        f"{connector}TEXTS__URL": f"http://127.0.0.1:{ports['http']}/messages",
        f"{connector}TEXTS__ALLOW_NETWORKS": "127.0.0.0/8",
        f"{connector}TEXTS__ANSWER_TIMEOUT_MS": "1000",
        f"{connector}MAILS__KIND": "smtp",
        f"{connector}MAILS__CHANNELS": "email",
        f"{connector}MAILS__HOST": "127.0.0.1",
        f"{connector}MAILS__PORT": str(ports["smtp"]),
        f"{connector}MAILS__TLS": "none",
        f"{connector}MAILS__FROM_ADDRESS": "news@acme.example",
        f"{connector}MAILS__COMMAND_TIMEOUT_MS": "1000",
        f"{connector}MAILS__ACCEPTANCE_TIMEOUT_MS": "1000",
    }


class Sending:
    """A group of one channel on its way."""

    def __init__(self, data: Path, channel: str, protocol: str, recipient: str) -> None:
        self.channel, self.protocol = channel, protocol
        self._data = data
        file = data.parent / f"{channel}.csv"
        lines = [f"{recipient.format(n % 1_000)},message {n}\n" for n in range(MESSAGES)]
        file.write_text("to,text\n" + "".join(lines))
        self._words = ("send", "--channel", channel, "--group", channel, str(file))
        self._process = begin(*self._words, "--data", str(data))

    def finish(self) -> None:
        """Wait for the end of the sending, and send again if it was broken off by a fault."""
        with suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=WORK_TIMEOUT_S)
        sent = shardpost(*self._words, "--data", str(self._data))
        assert sent.returncode == 0, sent.stderr[-2_000:]

    def open_count(self) -> int:
        """How many of them are not at their end."""
        books = self.ask("group", self.channel)["states"]
        ended = sum(books[state] for state in ("sent", "failed", "uncertain"))
        return MESSAGES - int(ended)

    def ids(self, state: str) -> set[str]:
        """The messages in a state."""
        found: set[str] = set()
        more: tuple[str, ...] = ()
        while True:
            told = self.ask(
                *("messages", "--state", state, "--group", self.channel),
                *("--limit", "1000", *more),
            )
            found |= {message["id"] for message in told["messages"]}
            if told["after"] is None:
                return found
            more = ("--after", told["after"])

    def ask(self, *query: str) -> Any:
        answer = shardpost(*query, "--json", "--data", str(self._data))
        assert answer.returncode == 0, answer.stderr[-2_000:]
        return json.loads(answer.stdout)


def judge(sending: Sending, log: list[LogLine]) -> Counter[str]:
    """Compare what the platform says of each message with what the provider took."""
    # A mail server knows no keys: whatever it took is a delivery.
    knows_keys = sending.protocol == "http"
    taken = Counter(
        line.message_id
        for line in log
        if line.protocol == sending.protocol and line.took and (line.was_new or not knows_keys)
    )
    states = {state: sending.ids(state) for state in ("sent", "failed", "uncertain")}
    assert sum(map(len, states.values())) == MESSAGES, "none is lost"
    assert taken.keys() <= set().union(*states.values())
    assert not [id_ for id_, count in taken.items() if count > 1], "none is accepted twice"
    assert not [id_ for id_ in states["sent"] if not taken[id_]], "what is sent was taken"
    assert not [id_ for id_ in states["failed"] if taken[id_]], "what failed was not taken"
    return Counter({state: len(ids) for state, ids in states.items()})


def test_providers_take_everything_once_whatever_they_and_the_actors_do(tmp_path: Path) -> None:
    chance = seeded_random()
    log = tmp_path / "provider.jsonl"
    data = tmp_path / "data"
    with (
        both_providers(log, seed=chance.randrange(2**31), modes=failing()) as ports,
        PlatformProcess(data, variables(ports)) as platform,
    ):
        texts = Sending(data, "sms", "http", "+44770090{:04}")
        mails = Sending(data, "email", "smtp", "reader{}@example.org")
        seen = itertools.count(1)
        for number in range(FAULTS):
            least = (number + 1) * MESSAGES // FAULTS
            eventually(
                f"{least} requests were made",
                lambda least=least: len(read_log(log)) >= least,  # type: ignore[misc]
                seconds=WORK_TIMEOUT_S,
            )
            kind = chance.choice(["Scheduler", "Scheduler", "Scheduler", "Ingester", "Registry"])
            victims = platform.actors(kind)
            if victims:
                victim = chance.choice(victims)
                how = chance.choice([signal.SIGKILL, signal.SIGSTOP])
                with suppress(ProcessLookupError):
                    os.kill(victim, how)
                print(f"fault {next(seen)}: {how.name} to a {kind}")  # noqa: T201
                if how is signal.SIGSTOP and chance.random() < 0.5:
                    time.sleep(chance.uniform(1, 6))
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGCONT)
        for sending in (texts, mails):
            sending.finish()
        for sending in (texts, mails):
            eventually(
                f"{sending.channel} comes to its end",
                lambda sending=sending: sending.open_count() == 0,  # type: ignore[misc]
                seconds=WORK_TIMEOUT_S,
            )
        platform.stop()
    requests = read_log(log)
    figures = {sending.channel: judge(sending, requests) for sending in (texts, mails)}
    print({channel: dict(states) for channel, states in figures.items()})  # noqa: T201
    assert figures["sms"]["uncertain"] == 0, "a provider that knows keys leaves no doubt"
    audit = shardpost("audit", "--json", "--data", str(data))
    assert audit.returncode == 0, (audit.stdout + audit.stderr)[-2_000:]
