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
from pathlib import Path

from cluster.local.data_folder import DataFolder, Shape
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from pipeline.limits import Windows
from tests.support.acknowledged import Acknowledgement, missing
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
    for kill in range(KILLS):
        acknowledged = write_until_killed(folder, chance)
        assert acknowledged, "killed before it had acknowledged anything"
        assert not asyncio.run(lost(acknowledged)), f"after kill {kill + 1}"
        everything += acknowledged
    assert not asyncio.run(lost(everything)), "what earlier writers acknowledged"
    verbs = Counter(acknowledgement.verb for acknowledgement in everything)
    assert set(verbs) == {"messages", "buffer", "append", "project", "idempotency"}
    print(f"{KILLS} kills, acknowledged: {dict(verbs)}")  # noqa: T201


def write_until_killed(folder: Path, chance: random.Random) -> list[Acknowledgement]:
    """Start a writer, kill it a moment after its first acknowledgement, return all of them."""
    writer = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.acknowledging_writer",
            str(folder),
            str(chance.getrandbits(32)),
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    try:
        descriptor = writer.stdout.fileno()
        output = b""
        # Read all the while: a full pipe would hold the writer at its acknowledgements.
        wait_s: float = START_S_MAX
        until_s = None
        while True:
            ready, _, _ = select.select([descriptor], [], [], wait_s)
            now_s = time.monotonic()
            if ready:
                read = os.read(descriptor, 1 << 20)
                assert read, f"the writer ended by itself: {writer.wait()}"
                output += read
                if until_s is None:
                    until_s = now_s + chance.uniform(0, WRITES_MS_MAX) / 1_000
            assert until_s is not None, "the writer did not start"
            wait_s = until_s - now_s
            if wait_s <= 0:
                break
        os.kill(writer.pid, signal.SIGKILL)
        output += writer.stdout.read()
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    lines = output.decode().split("\n")
    # What follows the last line break was never said in full.
    return [Acknowledgement.parse(line) for line in lines[:-1]]
