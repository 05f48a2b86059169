"""A writer of the embedded store dies at any moment: whatever it acknowledged is there."""

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cluster.local.data_folder import DataFolder, Shape
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from pipeline.limits import Windows
from tests.support.acknowledged import BEGAN, ENDED, Acknowledgement, missing
from tests.support.seed import seeded_random

KILLS = 50
WRITES_MS_MAX = 120
START_S_MAX = 30


def test_every_row_that_a_killed_writer_acknowledged_is_there(tmp_path: Path) -> None:
    chance = seeded_random()
    windows, clock = Windows(), SystemClock()
    folder = DataFolder.create_or_open(
        tmp_path / "data", shape=Shape(), windows=windows, now=clock.now()
    ).path

    async def lost(acknowledgements: list[Acknowledgement]) -> list[object]:
        store = LocalStore.open(folder, cores=None, clock=clock, windows=windows)
        try:
            return [*await missing(store, acknowledgements)]
        finally:
            await store.close()

    everything: list[Acknowledgement] = []
    writers = Writers(folder)
    for kill in range(KILLS):
        acknowledged = writers.write_until_killed(chance)
        assert acknowledged, "killed before it had acknowledged anything"
        assert not asyncio.run(lost(acknowledged)), f"after kill {kill + 1}"
        everything += acknowledged
    writers.close()
    assert not asyncio.run(lost(everything)), "what earlier writers acknowledged"
    verbs = Counter(acknowledgement.verb for acknowledgement in everything)
    assert set(verbs) == {"messages", "buffer", "append", "project", "idempotency"}
    print(f"{KILLS} kills, acknowledged: {dict(verbs)}")  # noqa: T201


class Writers:
    """Writers that are started and killed one after the other."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.acknowledging_writer", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            # A library that starts threads when it is loaded would make the forks halves.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        self._said = b""

    def write_until_killed(self, chance: random.Random) -> list[Acknowledgement]:
        """Start a writer, kill it a moment after its first acknowledgement, return all of them."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % chance.getrandbits(32))
        self._process.stdin.flush()
        self._read_until(lambda lines: has_begun(lines) and len(lines) > 1, START_S_MAX)
        # Read all the while: a full pipe would hold the writer at its acknowledgements.
        self._read_until(lambda _: False, chance.uniform(0, WRITES_MS_MAX) / 1_000)
        lines = self._lines()
        [began] = [line for line in lines if line.startswith(BEGAN)]
        os.kill(int(began.split()[1]), signal.SIGKILL)
        self._read_until(lambda lines: lines[-1:] == [ENDED], START_S_MAX)
        lines = self._lines()
        assert lines[-1] == ENDED
        self._said = b""
        return [Acknowledgement.parse(line) for line in lines if line not in (began, ENDED)]

    def close(self) -> None:
        self._process.communicate()

    def _read_until(self, is_enough: Callable[[list[str]], bool], patience_s: float) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        until_s = time.monotonic() + patience_s
        while not is_enough(self._lines()) and (wait_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([descriptor], [], [], wait_s)
            if ready:
                read = os.read(descriptor, 1 << 20)
                assert read, "the writers ended by themselves"
                self._said += read

    def _lines(self) -> list[str]:
        # What follows the last line break was not said in full.
        return self._said.decode().split("\n")[:-1]


def has_begun(lines: list[str]) -> bool:
    return any(line.startswith(BEGAN) for line in lines)
