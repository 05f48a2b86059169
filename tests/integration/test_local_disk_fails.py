"""The disk fails the embedded store in the middle of a commit: nobody is told what is not known.

The failure is the system's own: a limit on the size of files makes writes to the log fail while
SQLite commits.
"""

import subprocess
import sys
from pathlib import Path

from cluster.local.data_folder import DataFolder, Shape
from pipeline.limits import Windows
from tests.support.fake_clock import NOW

# In a process of its own, as the limit is one of the whole process.
PROGRAM = """
import asyncio, os, resource, sys
from pathlib import Path
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.limits import Windows

def limit(soft):
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

async def main():
    store = LocalStore.open(
        Path(sys.argv[1]), cores=None, clock=SystemClock(), windows=Windows()
    )
    core = (await store.read_generations())[0].cores[0]
    rows = lambda: [(os.urandom(16), os.urandom(16), 5, "acme/", os.urandom(20_000))]
    there, unknown = [], []
    for batch in range(30):
        log = Path(sys.argv[1]) / f"{core.node}-{core.shard}.db-wal"
        # The first frames of some commits fit, and the last do not.
        if batch % 3 == 1:
            limit(log.stat().st_size + 1_000 * (batch % 20))
        written = rows()
        try:
            await store.write_messages(core, written)
            there += written
        except WriteUnknown:
            unknown += written
            print("unknown", flush=True)
        finally:
            limit(resource.RLIM_INFINITY)
    for row in unknown:  # as a caller does: the same bytes, until it is definite
        await store.write_messages(core, [row])
    found = await store.read_bodies(core, [(row[1], row[0]) for row in there + unknown])
    assert found == {row[0]: row[4] for row in there + unknown}
    await store.close()
    again = LocalStore.open(
        Path(sys.argv[1]), cores=None, clock=SystemClock(), windows=Windows()
    )
    found = await again.read_bodies(core, [(row[1], row[0]) for row in there + unknown])
    assert found == {row[0]: row[4] for row in there + unknown}
    await again.close()
    print("all there")

asyncio.run(main())
"""


def test_a_commit_that_the_disk_failed_is_unknown_and_may_be_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    DataFolder.create_or_open(folder, shape=Shape(), windows=Windows(), now=NOW)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "all there"
    assert ran.stdout.count("unknown") >= 5
