"""A message that ends its scheduler whenever a body like it is looked at, on real Ray."""

import json
from pathlib import Path

import pytest

from pipeline.lane.caution import POISON
from tests.support.campaign import CLOSE_TIMEOUT_S
from tests.support.platform_process import Outbox, PlatformProcess, eventually, shardpost

pytestmark = pytest.mark.ray

MESSAGES = 200
HOOKS = Path(__file__).parents[1] / "support" / "fault_hooks"
PILL = "a poisoned pill"  # as the hook knows it
VARIABLES = {
    "PYTHONPATH": str(HOOKS),
    "SHARDPOST_DASHBOARD": "false",
    # Else the schedulers of one platform wait for each other for longer than the test takes.
    "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2000",
    "SHARDPOST_WINDOWS__HEARTBEAT_MS": "200",
}


def test_it_ends_in_quarantine_and_all_others_are_sent(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "messages.csv"
    with file.open("w") as lines:
        lines.write("to,text\n")
        for number in range(MESSAGES):
            text = PILL if number == MESSAGES // 2 else f"message {number}"
            lines.write(f"+44770090{number:04},{text}\n")
    with PlatformProcess(data, VARIABLES):
        sent = shardpost(
            *("send", "--channel", "sms", "--group", "g", str(file), "--data", str(data))
        )
        assert sent.returncode == 0, sent.stderr[-2_000:]

        def closed() -> dict[str, int] | None:
            told = shardpost("group", "g", "--data", str(data), "--json")
            states: dict[str, int] = json.loads(told.stdout)["states"]
            settled = states["sent"] + states["failed"] + states["uncertain"]
            return states if settled == MESSAGES else None

        states = eventually("the books close", closed, seconds=CLOSE_TIMEOUT_S, every_s=0.5)
    assert PILL.encode() in (HOOKS / "sitecustomize.py").read_bytes()
    # Nobody was claimed together with it: it never came so far.
    assert (states["failed"], states["sent"]) == (1, MESSAGES - 1), states
    outbox = Outbox(data)
    assert outbox.twice() == []
    assert len(outbox.read()[0]) == MESSAGES - 1
    told = shardpost("messages", "--state", "failed", "--group", "g", "--data", str(data), "--json")
    (failed,) = json.loads(told.stdout)["messages"]
    trace = shardpost("trace", failed["id"], "--data", str(data))
    assert POISON in trace.stdout
    audit = shardpost("audit", "--data", str(data))
    assert audit.returncode == 0, audit.stdout
