"""Actors are killed and paused while providers fail in every way; the provider's log judges."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster.egress.simulator.log import LogLine, read_log
from cluster.local.queries import LocalQueries
from pipeline.lane.caution import POISON
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.limits import POISON_ENDS_MAX
from pipeline.message import MessageId
from tests.support.both_providers import both_providers
from tests.support.faults import Faults
from tests.support.platform_process import PlatformProcess, eventually, shardpost
from tests.support.provider_judge import Doubt, Fault, Findings, in_doubt_by_provider, judge
from tests.support.seed import seeded_random
from tests.support.sending import Sending

# By each of both; `make chaos` sums up what many rounds write to FIGURES.
MESSAGES = int(os.environ.get("SHARDPOST_CHAOS_MESSAGES", "20000"))
FAULTS = int(os.environ.get("SHARDPOST_CHAOS_FAULTS", "16"))
FIGURES = os.environ.get("SHARDPOST_CHAOS_FIGURES", "")
WORK_TIMEOUT_S = 480.0
LOOK_EVERY_S = 2.0
ANSWER_TIMEOUT_MS = 1_000
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
        f"{connector}TEXTS__ANSWER_TIMEOUT_MS": str(ANSWER_TIMEOUT_MS),
        f"{connector}MAILS__KIND": "smtp",
        f"{connector}MAILS__CHANNELS": "email",
        f"{connector}MAILS__HOST": "127.0.0.1",
        f"{connector}MAILS__PORT": str(ports["smtp"]),
        f"{connector}MAILS__TLS": "none",
        f"{connector}MAILS__FROM_ADDRESS": "news@acme.example",
        # Each that hangs keeps a connection busy until its time is over.
        f"{connector}MAILS__CONNECTIONS": "16",
        f"{connector}MAILS__COMMAND_TIMEOUT_MS": str(ANSWER_TIMEOUT_MS),
        f"{connector}MAILS__ACCEPTANCE_TIMEOUT_MS": str(ANSWER_TIMEOUT_MS),
    }


class Exported(Sending):
    """A group of one channel on its way, of which each message can be asked about."""

    def is_over(self) -> bool:
        """Whether all of it is at its end, by the books."""
        states = self.counts()
        ended: int = sum(states[state] for state in ("sent", "failed", "uncertain"))
        return ended == MESSAGES

    def states(self) -> dict[str, str]:
        """Return the state of each message, by its id."""
        words = ("export", self.channel, "--format", "jsonl", "--data", str(self.data))
        exported = shardpost(*words)
        assert exported.returncode == 0, exported.stderr[-2_000:]
        told = [json.loads(line) for line in exported.stdout.splitlines()]
        states = {message["id"]: message["state"] for message in told}
        assert len(states) == len(told), "a message is shown twice"
        return states


async def doubts_of(data: Path, ids: Iterable[str]) -> dict[str, Doubt]:
    """Return when each of the messages was claimed, and when it became uncertain."""
    queries = LocalQueries.open(data)
    found = {}
    try:
        for id_ in ids:
            trace = await queries.trace(MessageId(bytes.fromhex(id_)))
            assert trace is not None, id_
            claims = [one.at for one in trace.events if one.step & EVENT_MASK == Event.CLAIM]
            lost = trace.events[-1]
            assert lost.step & EVENT_MASK == Event.LOSE_ANSWER, id_
            found[id_] = Doubt(claims[-1] if claims else None, lost.at, lost.detail)
    finally:
        await queries.close()
    return found


def judged(
    sending: Exported, data: Path, log: Sequence[LogLine], faults: Sequence[Fault]
) -> tuple[Counter[str], Findings]:
    """Hold what the platform says of each message against what the provider took."""
    states = sending.states()
    silent = in_doubt_by_provider(log, sending.protocol)
    asked = [id_ for id_, state in states.items() if state == "uncertain" and id_ not in silent]
    findings = judge(
        states,
        log,
        protocol=sending.protocol,
        count=MESSAGES,
        doubts=asyncio.run(doubts_of(data, asked)),
        faults=faults,
        answer_timeout_us=ANSWER_TIMEOUT_MS * 1_000,
    )
    figures = Counter(states.values())
    figures["requests"] = sum(line.protocol == sending.protocol for line in log)
    figures["in doubt by a fault"] = len(asked)
    return figures, findings


def test_providers_take_everything_once_whatever_they_and_the_actors_do(tmp_path: Path) -> None:
    begun = time.monotonic()
    chance = seeded_random()
    log = tmp_path / "provider.jsonl"
    data = tmp_path / "data"
    with (
        both_providers(log, seed=chance.randrange(2**31), modes=failing()) as ports,
        PlatformProcess(data, variables(ports)) as platform,
    ):
        sendings = [
            Exported(data, channel="sms", count=MESSAGES),
            Exported(data, channel="email", count=MESSAGES),
        ]
        faults = Faults(platform, chance)
        while faults.count < FAULTS:
            faults.pass_time()
            faults.hurt()
        faults.end()
        for sending in sendings:
            sending.finish()
        for sending in sendings:
            eventually(
                f"{sending.channel} comes to its end",
                sending.is_over,
                seconds=WORK_TIMEOUT_S,
                every_s=LOOK_EVERY_S,
            )
        platform.stop()
    requests = read_log(log)
    results = {
        sending.channel: judged(sending, data, requests, faults.done) for sending in sendings
    }
    told = {
        "seconds": round(time.monotonic() - begun),
        "faults": dict(faults.kinds()),
        **{channel: dict(figures) for channel, (figures, _) in results.items()},
        "lost": sum(len(findings.lost) for _, findings in results.values()),
        "twice": sum(len(findings.twice) for _, findings in results.values()),
    }
    print(json.dumps(told))  # noqa: T201
    if FIGURES:
        with Path(FIGURES).open("a") as file:
            file.write(json.dumps(told) + "\n")
    assert {channel: findings.told() for channel, (_, findings) in results.items()} == {
        "sms": {},
        "email": {},
    }
    # A provider that knows keys leaves no doubt; but whoever is being tried alone while its process
    # is ended, three times in a row, cannot be told from what ends it.
    in_doubt = [id_ for id_, state in sendings[0].states().items() if state == "uncertain"]
    doubts = asyncio.run(doubts_of(data, in_doubt))
    assert {doubt.detail for doubt in doubts.values()} <= {POISON}
    assert len(doubts) <= len(faults.done) // POISON_ENDS_MAX
    for sending in sendings:
        books = sending.books()
        assert books["closes"], books
        assert (books["submitted"], books["open"], books["lag"]) == (MESSAGES, 0, 0), books
    audit = shardpost("audit", "--json", "--data", str(data))
    assert audit.returncode == 0, (audit.stdout + audit.stderr)[-2_000:]
