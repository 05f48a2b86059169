"""The program as a process: what only a process can show."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.filled_folder import FilledFolder

PROGRAM = (sys.executable, "-c", "from actors.cli.main import main; main()")
ROOT = Path(__file__).resolve().parents[2]
SLOW_TO_IMPORT = ("ray", "phonenumbers", "cassandra", "scipy", "pandas")
WAIT_S = 60


@pytest.fixture
def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHARDPOST_")}
    # Buffered, as everywhere: what is left is written when the interpreter ends.
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    async def fill() -> Path:
        folder = FilledFolder(tmp_path_factory.mktemp("process") / "data")
        try:
            await folder.send(await folder.accept(1_000))
        finally:
            await folder.close()
        return folder.path

    return asyncio.run(fill())


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (("version",), ("numpy", "rich")),
        (("status", "--json"), ()),
        (("lanes",), ()),
        (("generations",), ()),
        (("group", "g"), ()),
        (("messages", "--state", "sent"), ()),
        (("trace", "0" * 32), ()),
        (("audit",), ()),
        (("doctor",), ()),
    ],
    ids=lambda value: value[0] if value else "",
)
def test_a_query_imports_nothing_that_is_slow(
    data: Path, environment: dict[str, str], arguments: tuple[str, ...], more: tuple[str, ...]
) -> None:
    script = (
        "import sys\n"
        "from actors.cli.main import app\n"
        "try:\n    app(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        f"print('SLOW', [name for name in {SLOW_TO_IMPORT + more} if name in sys.modules])\n"
    )
    result = subprocess.run(
        (sys.executable, "-c", script, *arguments),
        env={**environment, "SHARDPOST_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
        cwd=data.parent,
    )
    assert "SLOW []" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("more", [("--json",), ()])
def test_who_reads_no_further_is_no_fault(
    data: Path, environment: dict[str, str], more: tuple[str, ...]
) -> None:
    with subprocess.Popen(
        (*PROGRAM, "messages", "--state", "sent", "--limit", "1000", "--data", str(data), *more),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=data.parent,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # as `head` does, earlier than it ever can
        told = process.stderr.read()
        code = process.wait(WAIT_S)
    assert told == b""
    assert code == 141


def test_ctrl_c_ends_a_watch_quietly(data: Path, environment: dict[str, str]) -> None:
    with subprocess.Popen(
        (*PROGRAM, "status", "--watch", "--json", "--data", str(data)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=data.parent,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        second = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        code = process.wait(WAIT_S)
    assert first == second
    assert told == b""
    assert code == 130


def test_a_full_disk_behind_the_output_is_one_line(data: Path, environment: dict[str, str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full: an output that cannot be written is not tried")
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            (*PROGRAM, "status", "--data", str(data)),
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WAIT_S,
            check=False,
            cwd=data.parent,
        )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [
        ("<&-", ("send", "file.csv", "--dry-run"), 0),
        ("<&-", ("send", "-", "--dry-run"), 3),
        (">&-", ("version",), 0),
        (">&- 2>&-", ("status", "--data", "missing"), 5),
    ],
)
def test_a_program_that_is_started_without_a_standard_stream_works(
    environment: dict[str, str], tmp_path: Path, closed: str, arguments: tuple[str, ...], code: int
) -> None:
    (tmp_path / "file.csv").write_text("phone,text\n+447700900001,hello\n")
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *PROGRAM, *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (ended.returncode, "unexpected" in ended.stderr) == (code, False), ended.stderr
