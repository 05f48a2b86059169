"""Schedulers run beside the nodes that they serve, told by the labels of two real raylets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform_process import environment

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.ray
def test_a_scheduler_runs_on_the_machine_of_its_node_or_where_there_is_none_anywhere(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.support.two_raylets", str(tmp_path / "data")),
            json.dumps({"n1": "m1", "n2": "m2", "n3": "nowhere"}),
        ],
        cwd=_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["is_complete"]
    places = told["places"]
    assert places["scheduler|n1:0"] == "m1"
    assert places["scheduler|n2:0"] == "m2"
    # No raylet says that it is this machine: it runs all the same, wherever there is room.
    assert "scheduler|n3:0" in places
    warned = [line for line in told["warnings"] if "no_machine_for_core" in line]
    assert len(warned) == 1, told["warnings"]
    assert "n3:0" in warned[0]
    assert "nowhere" in warned[0]
