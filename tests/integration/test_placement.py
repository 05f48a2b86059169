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
            json.dumps({"n1": "m2", "n2": "nowhere"}),
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
    assert places["scheduler|n1:0"] == places["scheduler|n1:1"] == "m2"
    # No raylet says that it is this machine: they run all the same, wherever there is room.
    assert {"scheduler|n2:0", "scheduler|n2:1"} <= places.keys()
