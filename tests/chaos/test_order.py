"""Eight senders share a hundred ordering keys; the provider's log judges the order."""

import csv
import json
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from cluster.egress.simulator.log import LogLine, read_log
from tests.support.both_providers import both_providers
from tests.support.platform_process import PlatformProcess, begin, eventually, shardpost
from tests.support.seed import seeded_random

SUBMITTERS = 8
KEYS = 100
MESSAGES = 120  # of each submitter
TIMEOUT_S = 80.0
FAILS_MAX = 3  # requests of a message that may fail
MODES = {
    "accept": 70,
    "refuse": 2,
    "throttle": 6,
    "hang_before": 1,
    "hang_after": 1,
    "reset_before": 5,
    "reset_after": 5,
    "error_before": 4,
    "error_after": 4,
    "late": 2,
}


def variables(ports: dict[str, int]) -> dict[str, str]:
    told = {
        "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2500",
        "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
        "SHARDPOST_WINDOWS__SEND_DEADLINE_MS": "4000",
        "SHARDPOST_DASHBOARD": "false",
    }
    # Two ways to the same provider, one with few connections: they take turns, and differ in speed.
    for name, concurrency in (("QUICK", 64), ("SLOW", 2)):
        connector = f"SHARDPOST_CONNECTORS__{name}"
        told |= {
            f"{connector}__KIND": "webhook",
            f"{connector}__CHANNELS": "email",
            f"{connector}__URL": f"http://127.0.0.1:{ports['http']}/messages",
            f"{connector}__ALLOW_NETWORKS": "127.0.0.0/8",
            f"{connector}__ANSWER_TIMEOUT_MS": "1000",
            f"{connector}__CONCURRENCY": str(concurrency),
        }
    return told


def lines_of_keys(log: list[LogLine]) -> dict[str, list[tuple[str, int, LogLine]]]:
    """Return the requests of each ordering key: submitter, number, and what became of it.

    What the provider took is over: a copy that comes later changes nothing there.
    """
    over: set[str] = set()
    found: dict[str, list[tuple[str, int, LogLine]]] = {}
    for line in log:
        if line.key in over:
            continue
        if line.took:
            over.add(line.key)
        submitter, key, number = line.recipient.partition("@")[0].split(".")
        found.setdefault(key, []).append((submitter, int(number[1:]), line))
    return found


def test_every_key_goes_out_in_the_order_of_submission(tmp_path: Path) -> None:
    chance = seeded_random()
    log = tmp_path / "provider.jsonl"
    data = tmp_path / "data"
    files = []
    for submitter in range(SUBMITTERS):
        files.append(tmp_path / f"{submitter}.csv")
        with files[-1].open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["to", "text", "ordering_key"])
            for number in range(MESSAGES):
                key = chance.randrange(KEYS)
                rows.writerow([f"s{submitter}.k{key}.n{number}@example.org", "hello", f"k{key}"])
    modes = json.dumps({"rules": [{"modes": MODES, "first": FAILS_MAX}]})
    with (
        both_providers(log, seed=chance.randrange(2**31), modes=modes) as ports,
        PlatformProcess(data, variables(ports)) as platform,
    ):
        words = ("--channel", "email", "--group", "g", "--data", str(data))
        senders = [begin("send", str(file), *words) for file in files]
        total = SUBMITTERS * MESSAGES
        for part, how in ((3, signal.SIGKILL), (2, signal.SIGSTOP)):
            eventually(
                f"{total // part} requests were made",
                lambda least=total // part: len(read_log(log)) >= least,  # type: ignore[misc]
                seconds=TIMEOUT_S,
            )
            victim = chance.choice(platform.actors("Scheduler"))
            os.kill(victim, how)
            if how is signal.SIGSTOP:
                time.sleep(3.5)  # longer than it takes to be taken for dead
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGCONT)
        for sender in senders:
            _, errors = sender.communicate(timeout=TIMEOUT_S)
            assert sender.returncode == 0, errors[-2_000:]

        def states() -> Counter[str]:
            answer = shardpost("group", "g", "--json", "--data", str(data))
            assert answer.returncode == 0, answer.stderr[-2_000:]
            return Counter(json.loads(answer.stdout)["states"])

        eventually(
            "all come to their end",
            lambda: (s := states())["sent"] + s["failed"] + s["uncertain"] == total,
            seconds=TIMEOUT_S,
        )
        print(dict(states()))  # noqa: T201
        platform.stop()
    by_key = lines_of_keys(read_log(log))
    requests = sum(map(len, by_key.values()))
    assert requests > total, "nothing failed"
    for ordering_key, lines in by_key.items():
        names = [(submitter, number) for submitter, number, _ in lines]
        blocks = [one for n, one in enumerate(names) if n == 0 or names[n - 1] != one]
        assert len(blocks) == len(set(blocks)), f"{ordering_key}: one came before another was over"
        for who, _ in set(blocks):
            numbers = [number for submitter, number in blocks if submitter == who]
            assert numbers == sorted(numbers), f"{ordering_key}: out of the order of {who}"
    audit = shardpost("audit", "--json", "--data", str(data))
    assert audit.returncode == 0, (audit.stdout + audit.stderr)[-2_000:]
