"""Whatever is wrong ends in one line that says what to change, and in a documented exit code.

Nothing that was accepted before is touched by it: the platform that some of it is thrown at is the
one that other tests send through, and is audited at its end.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.cli.exit_codes import ExitCode
from cluster.local.data_folder import FORMAT, FORMAT_FILE, Shape
from tests.support.filled_folder import FilledFolder
from tests.support.office import Office, told_in_one_line
from tests.support.platform_process import ROOT, SHARDPOST, environment, shardpost

GOOD = "+447700900101,fine\n"
GIGABYTE = 1_000_000_000
BEFORE = 500  # records, so that what the file looks like at its beginning tells nothing
RSS_KIB_MAX = 400 * 1024


# --- files that are useless as a whole ------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "more", "told"),
    [
        pytest.param(b"", (), "is empty; there is nothing to send", id="empty"),
        pytest.param(b"phone,text\n", (), "holds the names of columns but no record", id="bare"),
        pytest.param(b"\0" * 4_096, (), "is not text; send JSON lines, CSV or TSV", id="NUL"),
        pytest.param(
            ("phone,text\n" + GOOD).encode("utf-16"),
            (),
            "is UTF-16; save it as UTF-8",
            id="UTF-16",
        ),
        pytest.param(
            b"phone,text,Stra\xdfe\n+447700900101,fine,x\n",
            (),
            "(0xdf) is not UTF-8; save the file as UTF-8 (the first line tells the columns)",
            id="another encoding",
        ),
        pytest.param(
            b"phone,words\n" + GOOD.encode(),
            (),
            "no column holds the content; say which: --content '{column}'",
            id="a column is missing",
        ),
        pytest.param(
            b"phone,text,Text\n+447700900101,a,b\n",
            (),
            "column 'text' occurs more than once; rename one",
            id="a column is doubled",
        ),
        pytest.param(
            b"phone,text\n" + GOOD.encode(),
            ("--content", "{txet}"),
            "text",
            id="a template names no column",
        ),
        pytest.param(b"\x1f\x8b\x08\0", (), "is compressed; unpack it first", id="compressed"),
    ],
)
def test_a_file_that_cannot_be_sent_is_refused_with_what_to_change(
    office: Office, tmp_path: Path, content: bytes, more: tuple[str, ...], told: str
) -> None:
    file = tmp_path / "given.csv"
    file.write_bytes(content)
    asked: tuple[str | Path, ...] = ("send", file, "--channel", "sms", "--group", "useless", *more)
    assert told in office.refused(*asked, exit_code=3)


def test_nothing_of_them_was_sent(office: Office) -> None:
    assert office.knows_nothing_of("useless")


@pytest.mark.parametrize("command", ["send", "demo"])
@pytest.mark.parametrize("kind", ["folder", "missing", "empty"])
def test_what_is_no_file_is_told_before_anything_is_started(
    tmp_path: Path, command: str, kind: str
) -> None:
    file = tmp_path / "given.csv"
    if kind == "folder":
        file.mkdir()
    elif kind == "empty":
        file.touch()
    else:
        (tmp_path / "gven.csv").write_text("phone,text\n" + GOOD)
    data = tmp_path / "data"
    told = told_in_one_line(shardpost(command, str(file), "--data", str(data)), exit_code=3)
    assert str(file) in told
    if command == "send":
        hints = {"folder": "name a file", "missing": "gven.csv?", "empty": "is empty"}
        assert hints[kind] in told
    assert not data.exists()


# --- records that are wrong -----------------------------------------------------------------------


def test_records_that_are_wrong_are_refused_and_all_others_are_sent(
    office: Office, tmp_path: Path
) -> None:
    file = tmp_path / "mixed.csv"
    records = (
        (b"+447700900601,one", ""),
        (b"+447700900602,a NUL\0here", "content: holds a NUL character; remove it"),
        (b"+447700900603,caf\xe9", "is not UTF-8; save the file as UTF-8"),
        (b"+447700900604", "1 column, expected 2: phone, text"),
        (b"+447700900605,a,b", "3 columns, expected 2: phone, text"),
        (b"nobody,lost", "recipient: "),
        (b"+447700900607,", "content: column 'text' is empty"),
        (b"+447700900608,two", ""),
    )
    file.write_bytes(b"phone,text\n" + b"\n".join(record for record, _ in records) + b"\n")
    told = office.asked("send", file, "--group", "mixed", exit_code=8)
    assert (told["accepted"], told["refused"]) == (2, 6)
    lines = office.handed_over("mixed", 2)
    assert sorted(line["content"] for line in lines) == ["one", "two"]
    reasons = [json.loads(line) for line in Path(told["reasons"]).read_text().splitlines()]
    expected = [(n, reason) for n, (_, reason) in enumerate(records, 2) if reason]
    assert [reason["line"] for reason in reasons] == [number for number, _ in expected]
    for reason, (_, words) in zip(reasons, expected, strict=True):
        assert words in reason["reason"]
    # To be mended: each refused record as it was.
    assert Path(told["rejects"]).read_bytes() == b"phone,text\n" + b"".join(
        record + b"\n" for record, reason in records if reason
    )


# --- a line of a gigabyte -------------------------------------------------------------------------

# A small process of its own, since what a process was before it became another counts as well.
_MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def measured(
    *arguments: str | Path, memory: Path, stdin: int | None = None
) -> "tuple[subprocess.CompletedProcess[str], int]":
    """Run a command to its end; return it and the most memory that it had, in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(memory), *SHARDPOST, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done, int(memory.read_text())


@pytest.mark.parametrize("is_piped", [False, True], ids=["a file", "a pipe"])
def test_a_line_of_a_gigabyte_costs_one_refusal_and_little_memory(
    office: Office, tmp_path: Path, is_piped: bool
) -> None:
    file, group = tmp_path / "long.csv", f"long-{is_piped}"
    with file.open("wb") as out:
        out.write(b"phone,text\n" + b"+447700900701,before\n" * BEFORE + b"+447700900702,")
        out.seek(GIGABYTE, os.SEEK_CUR)  # a hole: nothing of it is on the disk
        out.write(b"\n+447700900703,after\n")
    asked = ("--group", group, "--rejects", tmp_path, "--json", "--data", office.data)
    if is_piped:
        with subprocess.Popen(["cat", str(file)], stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            stdin = cat.stdout.fileno()
            done, rss_kib = measured("send", "-", *asked, memory=tmp_path / "rss", stdin=stdin)
    else:
        done, rss_kib = measured("send", file, *asked, memory=tmp_path / "rss")
    assert done.returncode == 8, (done.stdout, done.stderr)
    assert rss_kib < RSS_KIB_MAX
    told = json.loads(done.stdout)
    assert (told["accepted"], told["refused"]) == (BEFORE + 1, 1)
    lines = office.handed_over(group, BEFORE + 1)
    assert sorted(line["content"] for line in lines) == ["after", *["before"] * BEFORE]
    (reason,) = map(json.loads, Path(told["reasons"]).read_text().splitlines())
    assert reason["line"] == BEFORE + 2
    # Its beginning alone could be taken for a message.
    assert reason["reject_line"] is None
    assert Path(told["rejects"]).stat().st_size < 1_000


def test_a_file_that_is_one_line_of_a_gigabyte_is_one_line_of_refusal(
    office: Office, tmp_path: Path
) -> None:
    letters = f"head -c {GIGABYTE} /dev/zero | tr '\\0' x"
    with subprocess.Popen(["/bin/sh", "-c", letters], stdout=subprocess.PIPE) as pipe:
        assert pipe.stdout is not None
        done, rss_kib = measured(
            *("send", "-", "--format", "csv", "--data", office.data),
            memory=tmp_path / "rss",
            stdin=pipe.stdout.fileno(),
        )
    assert "line 1" in told_in_one_line(done, exit_code=3)
    assert rss_kib < RSS_KIB_MAX


# --- data folders ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the default shape in which some messages were accepted, and some sent."""

    async def fill() -> Path:
        folder = FilledFolder(tmp_path_factory.mktemp("filled") / "data", shape=Shape())
        try:
            await folder.send(await folder.accept(20))
            await folder.accept(10)
        finally:
            await folder.close()
        return folder.path

    return asyncio.run(fill())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("command", ["up", "demo", "send", "status"])
def test_a_folder_of_a_newer_version_is_left_alone(tmp_path: Path, command: str) -> None:
    (tmp_path / FORMAT_FILE).write_text(json.dumps({"format": FORMAT + 1, "of": "the future"}))
    before = contents(tmp_path)
    sample = ROOT / "actors" / "cli" / "sample.csv"
    more = (str(sample),) if command == "send" else ()
    done = shardpost(command, *more, "--data", str(tmp_path))
    told = refused(done, ExitCode.DATA_FOLDER_UNUSABLE)
    assert f"has format {FORMAT + 1}, this release reads up to {FORMAT}" in told
    assert "run the release that made it, or a newer one" in told
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        pytest.param(
            {"SHARDPOST_LOCAL__NODES": "3"},
            "was made with 2 nodes x 2 shards, not 3 nodes x 2 shards: set them as they were,"
            " or name another data folder",
            id="another shape",
        ),
        pytest.param(
            {"SHARDPOST_WINDOWS__WRITE_DEADLINE_MS": "3000"},
            "was made with write_deadline_ms + 2 x clock_skew_ms_max = 3000, not 4000: set them",
            id="another P",
        ),
    ],
)
def test_a_folder_that_was_made_otherwise_is_left_alone(
    filled: Path, variables: dict[str, str], told: str
) -> None:
    before = contents(filled)
    done = shardpost("up", "--data", str(filled), **variables)
    assert told in refused(done, ExitCode.DATA_FOLDER_UNUSABLE)
    assert contents(filled) == before
    # With the settings of old it answers as before.
    assert json.loads(shardpost("status", "--json", "--data", str(filled)).stdout)["accepted"] == 20


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = shardpost("up", "--data", str(tmp_path))
    assert "holds 'thesis.txt' and is no data folder: name an empty folder" in refused(
        done, ExitCode.DATA_FOLDER_UNUSABLE
    )
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def refused(done: "subprocess.CompletedProcess[str]", exit_code: ExitCode) -> str:
    """The one line of a refusal; `demo` may have said before what it begins."""
    if done.stdout.startswith("Starting the platform on ") and done.stdout.count("\n") == 1:
        done.stdout = ""
    return told_in_one_line(done, exit_code=exit_code)


# --- a folder that cannot be written --------------------------------------------------------------

_READ_ONLY_MOUNT = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"
"""


def can(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def unwritable(filled: Path) -> "Callable[..., subprocess.CompletedProcess[str]]":
    """Runs a command to which the filled folder is read-only, in the best way that is allowed.

    A read-only mount that only the command sees; else permissions, and for root, who may do
    everything, without the capability to pass them over.
    """
    ways = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])
    prefix: list[str] = []
    for way in ways:
        if can(*way, "/bin/sh", "-c", _READ_ONLY_MOUNT, str(filled), "true"):
            prefix = [*way, "/bin/sh", "-c", _READ_ONLY_MOUNT, str(filled)]
            break
    is_mounted = bool(prefix)
    if not is_mounted and os.geteuid() == 0:
        prefix = ["setpriv", "--bounding-set", "-dac_override"]

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        if not is_mounted:
            filled.chmod(0o500)
        try:
            return subprocess.run(
                [*prefix, *SHARDPOST, *arguments, "--data", str(filled)],
                cwd=ROOT,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        finally:
            filled.chmod(0o700)

    return run


@pytest.mark.parametrize("command", ["up", "demo"])
def test_no_platform_starts_on_a_folder_that_cannot_be_written(
    filled: Path, unwritable: "Callable[..., subprocess.CompletedProcess[str]]", command: str
) -> None:
    told = refused(unwritable(command), ExitCode.DATA_FOLDER_UNUSABLE)
    assert f"{filled} cannot be written: give this user the folder, or name another" in told


def test_a_folder_that_cannot_be_written_still_answers(
    unwritable: "Callable[..., subprocess.CompletedProcess[str]]",
) -> None:
    status = unwritable("status", "--json")
    assert status.returncode == 0, status.stderr
    told = json.loads(status.stdout)
    assert (told["accepted"], told["states"]["sent"], told["lag"]) == (20, 20, 10)
    audit = unwritable("audit", "--json", "--no-outbox")
    assert audit.returncode == 0, (audit.stdout, audit.stderr)


# --- platforms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_second_platform_on_the_same_folder_is_refused(office: Office, command: str) -> None:
    pid = office.asked("status")["pid"]
    told = refused(office.run(command), ExitCode.PLATFORM_HELD)
    assert f"is held by another platform, process {pid}: stop it, or name another" in told
    assert office.asked("status")["pid"] == pid


def test_sending_where_no_platform_runs_says_how_to_start_one(filled: Path, tmp_path: Path) -> None:
    sample = str(ROOT / "actors" / "cli" / "sample.csv")
    done = shardpost("send", sample, "--data", str(filled))
    told = refused(done, ExitCode.PLATFORM_NOT_RUNNING)
    assert f"no platform runs on {filled}: start it with `shardpost up --data {filled}`" in told
    done = shardpost("send", sample, "--data", str(tmp_path / "nowhere"))
    told = refused(done, ExitCode.DATA_FOLDER_UNUSABLE)
    assert "does not exist: start the platform to make it, or name another data folder" in told
    assert not (tmp_path / "nowhere").exists()
