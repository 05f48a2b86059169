"""A command is answered because its lane is told of it, not because it looks now and then."""

import json
from pathlib import Path

from tests.support.platform_process import PlatformProcess, eventually, shardpost

# One core, and lanes that would look for commands in ten minutes.
VARIABLES = {
    "SHARDPOST_LOCAL__NODES": "1",
    "SHARDPOST_LOCAL__SHARDS": "1",
    "SHARDPOST_WINDOWS__IDLE_READ_MS": "600000",
    "SHARDPOST_DASHBOARD": "false",
}


def test_a_scheduled_message_is_cancelled_though_its_lane_looks_for_nothing(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    (tmp_path / "messages.csv").write_text("to,text\n+447700900001,now\n")
    (tmp_path / "later.csv").write_text("to,text\n+447700900002,later\n")
    options = ("--channel", "sms", "--group", "g", "--data", str(data), "--json")
    with PlatformProcess(data, VARIABLES) as platform:
        now = shardpost("send", str(tmp_path / "messages.csv"), *options, **VARIABLES)
        assert now.returncode == 0, now.stderr
        later = shardpost(
            "send", str(tmp_path / "later.csv"), "--at", "in 2h", *options, **VARIABLES
        )
        assert later.returncode == 0, later.stderr

        def waiting() -> list[str]:
            told = shardpost("messages", "--group", "g", "--data", str(data), "--json", **VARIABLES)
            messages = json.loads(told.stdout)["messages"]
            return [one["id"] for one in messages if one["state"] != "sent"]

        [id_] = eventually("one is sent", lambda: len(waiting()) == 1 and waiting(), seconds=60)
        cancelled = shardpost(
            "cancel", id_, "--wait", "60", "--data", str(data), "--json", **VARIABLES
        )
        assert cancelled.returncode == 0, cancelled.stdout + cancelled.stderr
        assert json.loads(cancelled.stdout)["done"] == 1
        platform.stop()
    assert list((data / "bells").iterdir()) == []
