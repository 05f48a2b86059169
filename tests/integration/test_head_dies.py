"""Ray's head service alone dies: the platform ends by itself, before Ray ends it."""

import os
import signal
import time
from pathlib import Path

from actors.cli.exit_codes import ExitCode
from tests.support.platform_process import (
    PlatformProcess,
    begin,
    descendants_of,
    eventually,
    kill_tree,
    processes,
)

# Ray gives up after a minute, which is longer than this and the wait for its processes together.
END_S_MAX = 30


def test_a_platform_without_its_head_ends_with_one_line_and_the_next_one_starts(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    job = begin("up", "--json", "--data", str(data), SHARDPOST_DASHBOARD="false")
    try:
        assert job.stdout is not None
        assert job.stderr is not None
        assert job.stdout.readline()
        below = descendants_of(job.pid)
        (head,) = (pid for pid, title in below.items() if "/gcs_server " in title)
        os.kill(head, signal.SIGKILL)
        began = time.monotonic()
        assert job.wait(END_S_MAX) == ExitCode.PLATFORM_BROKEN, time.monotonic() - began
        (line,) = job.stderr.read().splitlines()
        assert "head service" in line
        assert not (data / "platform.json").exists()
        # Ray's own agents wait out its minute; whoever works on messages does not.
        work = {
            pid for pid, title in below.items() if title.startswith("ray::") and "Actor" in title
        }
        assert len(work) > 3
        eventually("all are gone", lambda: not work & processes().keys(), seconds=20)
    finally:
        kill_tree(job)
    with PlatformProcess(data, {"SHARDPOST_DASHBOARD": "false"}) as platform:
        platform.stop()
