"""The simulator of both providers as a process of its own, for tests that kill everything else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.platform_process import ROOT, environment


@contextmanager
def both_providers(
    log: Path, *, seed: int, modes: str, bounces: Path | None = None
) -> Iterator[dict[str, int]]:
    """Run them; yields their ports."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cluster.egress.simulator"),
            *("--http", "0", "--smtp", "0", "--log", str(log)),
            *(() if bounces is None else ("--bounces", str(bounces))),
            *("--modes", modes, "--seed", str(seed)),
        ],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
