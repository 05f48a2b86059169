"""A platform with a limited connector has a limiter, which is replaced when it is killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform_process import environment

RATE, BURST = 100, 10  # of the program, and a tenth of it

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.ray
def test_permits_come_over_ray_also_from_the_limiter_that_follows_on_a_killed_one(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.limited_platform", str(tmp_path / "data")],
        cwd=_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert "limiter|limiter" in told["wanted"]
    # A hundred a second at the most; on a busy machine it takes longer to spend them.
    for spent, seconds in (told["permits_before"], told["permits_after"]):
        assert spent <= RATE * seconds + BURST + 1
    assert told["is_another"]
    assert told["is_gone"]
