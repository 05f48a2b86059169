"""No acknowledgement leaves a writer of the embedded store before the sync that covers it.

The judge is the kernel's view: `strace` writes down what the process asks of it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.local.data_folder import DataFolder, Shape
from pipeline.limits import Windows
from tests.support.durability_trace import STRACE_OPTIONS, early_acknowledgements
from tests.support.fake_clock import NOW
from tests.support.seed import seeded_random

ACKNOWLEDGEMENTS_MIN = 200
# So few that a packed row lies on one page, with every id whole.
ROWS_MAX = 8


@pytest.fixture
def strace() -> str:
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not installed, so no acknowledgement was held against its sync")
    return path


def trace(strace: str, folder: Path, *, synchronous: str) -> list[str]:
    """Return the system calls of a writer until it has acknowledged enough."""
    DataFolder.create_or_open(folder, shape=Shape(), windows=Windows(), now=NOW)
    written = folder.with_name("trace")
    writer = subprocess.Popen(
        [
            strace,
            *STRACE_OPTIONS,
            "-o",
            str(written),
            sys.executable,
            "-m",
            "tests.support.acknowledging_writer",
            str(folder),
            f"--rows={ROWS_MAX}",
            f"--synchronous={synchronous}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    assert writer.stdin is not None
    try:
        writer.stdin.write(b"%d\n" % seeded_random().getrandbits(32))
        writer.stdin.flush()
        for _ in range(ACKNOWLEDGEMENTS_MIN):
            assert writer.stdout.readline(), writer.stderr.read().decode()
    finally:
        # The session of its own holds strace and what it traces, and nothing else.
        os.killpg(writer.pid, 9)
        writer.communicate()
    # The last line may be half of one.
    return written.read_text().split("\n")[:-1]


def test_no_acknowledgement_comes_before_the_sync_that_covers_it(
    strace: str, tmp_path: Path
) -> None:
    lines = trace(strace, tmp_path / "data", synchronous="FULL")
    count, wrong = early_acknowledgements(lines)
    assert count >= ACKNOWLEDGEMENTS_MIN
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_a_store_that_does_not_wait_for_the_disk_is_found_out(
    strace: str, tmp_path: Path, synchronous: str
) -> None:
    lines = trace(strace, tmp_path / "data", synchronous=synchronous)
    count, wrong = early_acknowledgements(lines)
    assert count >= ACKNOWLEDGEMENTS_MIN
    assert len(wrong) > count / 2


ID = "00112233445566778899aabbccddeeff"


def hexed(content: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in content)


def header(*, commit: bool) -> str:
    content = bytes(4) + (b"\0\0\0\x09" if commit else bytes(4)) + bytes(16)
    return f'1 pwrite64(7</d/n1-0.db-wal>, "{hexed(content)}", 24, 32) = 24'


PAGE = f'1 pwrite64(7</d/n1-0.db-wal>, "{hexed(b"xy" + bytes.fromhex(ID))}", 4096, 56) = 4096'
OTHER_PAGE = f'1 pwrite64(7</d/n1-0.db-wal>, "{hexed(b"nothing")}", 4096, 56) = 4096'
SYNC = "1 fdatasync(7</d/n1-0.db-wal>) = 0"
OTHER_SYNC = "1 fdatasync(8</d/n1-1.db-wal>) = 0"
SYNC_BEGUN = "1 fdatasync(7</d/n1-0.db-wal> <unfinished ...>"
SYNC_ENDED = "1    <... fdatasync resumed>) = 0"
SYNC_FAILED = "1 fdatasync(7</d/n1-0.db-wal>) = -1 EIO (Input/output error)"
ACKNOWLEDGED = f'2    write(1<pipe:[1]>, "{hexed(f"buffer lane {ID}".encode())}", 44) = 44'
FRAME, COMMIT = [header(commit=False), PAGE], [header(commit=True), PAGE]
LAST_FRAME = [header(commit=True), OTHER_PAGE]


@pytest.mark.parametrize(
    ("lines", "is_early"),
    [
        pytest.param([*COMMIT, SYNC, ACKNOWLEDGED], False, id="commit, sync, acknowledgement"),
        pytest.param([*FRAME, *LAST_FRAME, SYNC, ACKNOWLEDGED], False, id="two frames"),
        pytest.param([*COMMIT, SYNC_BEGUN, SYNC_ENDED, ACKNOWLEDGED], False, id="a slow sync"),
        pytest.param([*COMMIT, ACKNOWLEDGED, SYNC], True, id="acknowledged before the sync"),
        pytest.param([*COMMIT, SYNC_BEGUN, ACKNOWLEDGED, SYNC_ENDED], True, id="during the sync"),
        pytest.param([SYNC, *COMMIT, ACKNOWLEDGED], True, id="synced before it was written"),
        pytest.param(
            [SYNC_BEGUN, *COMMIT, SYNC_ENDED, ACKNOWLEDGED], True, id="written during the sync"
        ),
        pytest.param(
            [*FRAME, SYNC, *LAST_FRAME, ACKNOWLEDGED], True, id="its commit was not synced"
        ),
        pytest.param([*FRAME, SYNC, ACKNOWLEDGED], True, id="never committed"),
        pytest.param([*COMMIT, OTHER_SYNC, ACKNOWLEDGED], True, id="another file was synced"),
        pytest.param([*COMMIT, SYNC_FAILED, ACKNOWLEDGED], True, id="the sync failed"),
        pytest.param([*LAST_FRAME, SYNC, ACKNOWLEDGED], True, id="never written"),
    ],
)
def test_the_judge_of_a_trace(lines: list[str], is_early: bool) -> None:
    count, wrong = early_acknowledgements(lines)
    assert count == 1
    assert bool(wrong) is is_early
