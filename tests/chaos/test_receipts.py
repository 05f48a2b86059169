"""Receipts and bounces while the receiver and the lanes' owners are killed; the provider judges.

Answers get lost as well: what is uncertain then is settled by nothing but what the provider says
later.
"""

import json
import os
import signal
import time
from base64 import b64encode
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cluster.egress.simulator.log import LogLine, read_log
from cluster.egress.simulator.modes import Chooser, ReceiptMode, parse_behaviour
from tests.support.both_providers import both_providers
from tests.support.free_port import free_port
from tests.support.platform_process import (
    PlatformProcess,
    eventually,
    shardpost,
)
from tests.support.seed import seeded_random

MESSAGES: Final = 800  # by each of both
WORK_TIMEOUT_S: Final = 120.0
FAULTS: Final = 6
SECRET: Final = "whsec_" + b64encode(b"s" * 32).decode()
GROUPS: Final = {"sms": "http", "email": "smtp"}


def behaviour(port: int) -> str:
    return json.dumps(
        {
            "keyed": False,
            "rules": [{"modes": {"accept": 80, "reset_after": 10, "error_after": 5, "late": 5}}],
            "late_s": 0.5,
            "receipts": {
                "url": f"http://127.0.0.1:{port}/receipts/texts",
                "modes": {"once": 4, "twice": 3, "early": 3, "never": 1},
                "delay_s": 0.5,
                "failed": 0.2,
                "secret": SECRET,
            },
        }
    )


def variables(ports: dict[str, int], *, port: int, bounces: Path) -> dict[str, str]:
    texts, mails = "SHARDPOST_CONNECTORS__TEXTS__", "SHARDPOST_CONNECTORS__MAILS__"
    return {
        "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2500",
        "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
        "SHARDPOST_DASHBOARD": "false",
        "SHARDPOST_RECEIPTS__PORT": str(port),
        "RECEIPT_SECRET": SECRET,
        f"{texts}KIND": "webhook",
        f"{texts}CHANNELS": "sms",
        f"{texts}URL": f"http://127.0.0.1:{ports['http']}/messages",
        f"{texts}ALLOW_NETWORKS": "127.0.0.0/8",
        f"{texts}ANSWER_TIMEOUT_MS": "2000",
        f"{texts}PROVIDER_CLASS": "C",
        f"{texts}RECEIPTS": "true",
        f"{texts}RECEIPT_SECRETS": "env:RECEIPT_SECRET",
        f"{mails}KIND": "smtp",
        f"{mails}CHANNELS": "email",
        f"{mails}HOST": "127.0.0.1",
        f"{mails}PORT": str(ports["smtp"]),
        f"{mails}TLS": "none",
        f"{mails}FROM_ADDRESS": "news@acme.example",
        f"{mails}BOUNCES": str(bounces),
    }


def ask(data: Path, *query: str) -> Any:
    answer = shardpost(*query, "--json", "--data", str(data))
    assert answer.returncode == 0, answer.stderr[-2_000:]
    return json.loads(answer.stdout)


def states_of(data: Path, group: str) -> dict[str, str]:
    """Return the state of each message of a group."""
    found: dict[str, str] = {}
    more: tuple[str, ...] = ()
    while True:
        told = ask(data, "messages", "--group", group, "--limit", "1000", *more)
        found |= {message["id"]: message["state"] for message in told["messages"]}
        if told["after"] is None:
            return found
        more = ("--after", told["after"])


def expected(log: list[LogLine], protocol: str, modes: str, seed: int) -> dict[str, str]:
    """Return the end of each message that its provider said something of."""
    chooser = Chooser(parse_behaviour(modes), seed)
    ends: dict[str, str] = {}
    for line in log:
        if line.protocol == protocol and line.took:
            mode, is_delivered = chooser.receipt(key=line.key)
            if mode is not ReceiptMode.NEVER:
                ends[line.message_id] = "delivered" if is_delivered else "failed"
    return ends


def missing(data: Path, log: Path, modes: str, seed: int) -> list[tuple[str, str, str]]:
    """Return what was said and is not true of its message yet."""
    lines = read_log(log)
    return [
        (id_, state, end)
        for group, protocol in GROUPS.items()
        for states in [states_of(data, group)]
        for id_, end in expected(lines, protocol, modes, seed).items()
        if (state := states.get(id_, "gone")) != end
    ]


def test_what_providers_say_later_reaches_every_message_whoever_is_killed(tmp_path: Path) -> None:
    chance = seeded_random()
    seed, port = chance.randrange(2**31), free_port()
    log, data, bounces = tmp_path / "provider.jsonl", tmp_path / "data", tmp_path / "bounces"
    modes = behaviour(port)
    with (
        both_providers(log, seed=seed, modes=modes, bounces=bounces) as ports,
        PlatformProcess(data, variables(ports, port=port, bounces=bounces)) as platform,
    ):
        for group, recipient in (("sms", "+4477009{:05}"), ("email", "reader{}@example.org")):
            file = tmp_path / f"{group}.csv"
            lines = [f"{recipient.format(n)},message {n}\n" for n in range(MESSAGES)]
            file.write_text("to,text\n" + "".join(lines))
            sent = shardpost(
                *("send", "--channel", group, "--group", group, str(file), "--data", str(data))
            )
            assert sent.returncode == 0, sent.stderr[-2_000:]
        for number in range(FAULTS):
            kind = ("Receiver", "Scheduler")[number % 2]
            victims = eventually(
                f"a {kind} is there",
                lambda kind=kind: platform.actors(kind),  # type: ignore[misc]
                seconds=WORK_TIMEOUT_S,
            )
            with suppress(ProcessLookupError):
                os.kill(chance.choice(victims), signal.SIGKILL)
            print(f"a {kind} is killed")  # noqa: T201
            time.sleep(chance.uniform(0.3, 1.5))
        eventually(
            "all is handed over",
            lambda: all(ask(data, "group", group)["open"] == 0 for group in GROUPS),
            seconds=WORK_TIMEOUT_S,
        )
        try:
            eventually(
                "what was said is true",
                lambda: not missing(data, log, modes, seed),
                seconds=WORK_TIMEOUT_S,
            )
        except AssertionError:
            left = missing(data, log, modes, seed)
            raise AssertionError(f"{len(left)} of them not: {left[:5]}") from None
        platform.stop()
    requests = read_log(log)
    for group, protocol in GROUPS.items():
        ends = expected(requests, protocol, modes, seed)
        states = states_of(data, group)
        print(group, dict(Counter(states.values())))  # noqa: T201
        assert len(states) == MESSAGES
        taken = Counter(
            line.message_id for line in requests if line.protocol == protocol and line.took
        )
        assert not [id_ for id_, count in taken.items() if count > 1], "none is accepted twice"
        for id_, state in states.items():
            # What nobody said anything of is what its answer left it.
            assert state == ends.get(id_, state)
            assert id_ in ends or state in ("sent", "uncertain", "failed"), (id_, state)
    audit = shardpost("audit", "--json", "--data", str(data))
    assert audit.returncode == 0, (audit.stdout + audit.stderr)[-2_000:]
