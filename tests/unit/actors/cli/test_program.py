"""How the program ends: one line and a number, whatever goes wrong."""

import re
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import typer

from actors.cli import main as program
from actors.cli.exit_codes import EXIT_CODE_OF_ERROR, MEANINGS, ExitCode, exit_code_of
from pipeline.errors import (
    DataFolderUnusable,
    PlatformHeld,
    PlatformNotRunning,
    PlatformNotStarted,
    SettingInvalid,
    ShardpostError,
    StoreUnavailable,
    SubmissionInvalid,
    WriteUnknown,
)
from tests.support.cli_answer import Fill, Shardpost
from tests.support.filled_folder import FilledFolder

PAGE = Path(__file__).parents[4] / "docs" / "operating" / "exit-codes.md"
QUERIES = [
    ("status",),
    ("lanes",),
    ("generations",),
    ("group", "g"),
    ("messages", "--state", "sent"),
    ("trace", "0" * 32),
    ("audit",),
]


async def one_message(folder: FilledFolder) -> None:
    await folder.send(await folder.accept(1))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Let `version` raise what a test puts here."""
    errors: list[BaseException] = []

    def fail() -> None:
        raise errors[0]

    monkeypatch.setattr("actors.cli.version.read_versions", fail)
    return errors


# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SubmissionInvalid("to", "is empty"), 3),
        (SettingInvalid("ingesters = 0"), 4),
        (DataFolderUnusable("x is no data folder"), 5),
        (PlatformHeld("x is held"), 6),
        (PlatformNotRunning("no platform runs"), 7),
        (PlatformNotStarted("not every actor started"), 12),
        (StoreUnavailable("the disk is full"), 10),
        (WriteUnknown("perhaps"), 10),
    ],
)
def test_an_error_on_purpose_is_one_line_and_its_own_code(
    shardpost: Shardpost, failing: list[BaseException], error: ShardpostError, code: int
) -> None:
    failing.append(error)
    answer = shardpost("version")
    assert answer.code == code
    assert answer.refusal == f"shardpost: {error}"


def test_an_error_of_several_lines_is_told_in_one(
    shardpost: Shardpost, failing: list[BaseException]
) -> None:
    failing.append(DataFolderUnusable("this\n  and\nthat"))
    assert shardpost("version").refusal == "shardpost: this and that"


def test_an_error_that_nobody_expects_says_how_to_see_more(
    shardpost: Shardpost, failing: list[BaseException]
) -> None:
    failing.append(ZeroDivisionError("by zero"))
    answer = shardpost("version")
    assert answer.code == 1
    assert answer.refusal == (
        "shardpost: unexpected: ZeroDivisionError: by zero;"
        " run it again as `shardpost --debug …` to see where"
    )


def test_a_long_error_keeps_its_beginning_and_its_end(
    shardpost: Shardpost, failing: list[BaseException]
) -> None:
    failing.append(DataFolderUnusable(f"{'x' * 100_000}: name another"))
    told = shardpost("version").refusal
    assert len(told) < 1_100
    assert told.startswith("shardpost: xxx")
    assert told.endswith("x: name another")


@pytest.mark.parametrize(
    "arguments",
    [("group", "a\udcff"), ("messages", "--group", "g", "--tenant", "\udcff")],
    ids=["group", "tenant"],
)
def test_an_argument_that_is_no_text_is_one_line(
    shardpost: Shardpost, fill: Fill, arguments: tuple[str, ...]
) -> None:
    answer = shardpost(*arguments, "--data", fill(one_message).path)
    assert answer.code == ExitCode.BAD_INPUT
    assert "\\udcff' on the command line is not UTF-8" in answer.refusal


def test_debug_shows_where_an_error_comes_from(
    shardpost: Shardpost, failing: list[BaseException]
) -> None:
    failing.append(ZeroDivisionError("by zero"))
    answer = shardpost("--debug", "version")
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert "in fail" in answer.err
    assert "--debug" not in answer.err.splitlines()[-1]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), typer.Abort()], ids=["ctrl-c", "abort"])
def test_ctrl_c_is_130_and_says_nothing(
    shardpost: Shardpost, failing: list[BaseException], end: BaseException
) -> None:
    failing.append(end)
    answer = shardpost("version")
    assert (answer.code, answer.out, answer.err) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("status", "--jsn"), "No such option: --jsn"),
        (("trace",), "Missing argument"),
        (("sttus",), "did you mean status?"),
        (("quux",), "No such command 'quux'"),
        (("messages", "--state", "lost"), "'lost'"),
        (("messages", "--state", "sent", "--limit", "0"), "--limit"),
        (("status", "--data", ""), "should name a folder"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_usage(
    shardpost: Shardpost, arguments: tuple[str, ...], told: str
) -> None:
    answer = shardpost(*arguments)
    assert answer.code == 2
    assert told in answer.refusal
    assert "--help" in answer.refusal


def test_no_command_at_all_shows_them(shardpost: Shardpost) -> None:
    answer = shardpost()
    assert answer.code == 2
    assert all(command in answer.out for command in program.COMMANDS)


def test_every_command_is_there_under_its_name(shardpost: Shardpost) -> None:
    paths: list[tuple[str, ...]]
    paths = [(command,) for command in program.COMMANDS if command not in program.GROUPS]
    paths += [(name, verb) for name, verbs in program.GROUPS.items() for verb in verbs]
    for path in paths:
        answer = shardpost(*path, "--help")
        assert answer.code == 0
        assert "--json" in answer.out


def test_a_module_adds_no_command_that_the_program_does_not_name() -> None:
    for module in set(program._MODULE_OF.values()):
        app = typer.Typer()
        import_module(f"actors.cli.{module}").register(app)
        named = {name for name, where in program._MODULE_OF.items() if where == module}
        added = {
            one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands
        }
        assert added | {one.name for one in app.registered_groups} == named
        for one in app.registered_groups:
            assert one.typer_instance is not None
            verbs = {verb.name for verb in one.typer_instance.registered_commands}
            assert verbs == {*program.GROUPS[one.name or ""]}


def test_every_error_that_has_a_code_exists() -> None:
    for module in ("pipeline.lane.entry", "actors.cli.not_found", "cluster.scylla.schema"):
        import_module(module)
    # Those of the actors are read, not imported: Ray would come with them.
    actors = "".join(
        path.read_text(encoding="utf-8") for path in Path(program.__file__).parents[1].glob("*.py")
    )
    known = {kind.__name__ for kind in _all_errors(ShardpostError)}
    known |= set(re.findall(r"class (\w+)\(ShardpostError\)", actors))
    assert set(EXIT_CODE_OF_ERROR) <= known


def _all_errors(kind: type[ShardpostError]) -> Iterator[type[ShardpostError]]:
    for error in kind.__subclasses__():
        yield error
        yield from _all_errors(error)


def test_no_two_codes_are_alike_and_none_is_a_signal_of_another() -> None:
    own = [code for code in ExitCode if code not in (ExitCode.INTERRUPTED, ExitCode.OUTPUT_CLOSED)]
    assert all(0 <= code < 126 for code in own)
    assert len(set(map(int, ExitCode))) == len(ExitCode)
    assert exit_code_of(ValueError()) is ExitCode.UNEXPECTED


def test_the_page_tells_every_code() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| `" in line[:4]]
    assert rows == [
        f"| `{code.value}` | {meaning} | {act} |" for code, (meaning, act) in MEANINGS.items()
    ]


# --- data folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[0])
def test_a_folder_that_is_not_there_is_one_line(
    shardpost: Shardpost, tmp_path: Path, query: tuple[str, ...]
) -> None:
    answer = shardpost(*query, "--data", tmp_path / "nope")
    assert answer.code == 5
    assert answer.refusal == (
        f"shardpost: {tmp_path / 'nope'} does not exist: start the platform to make it,"
        " or name another data folder"
    )
    assert not (tmp_path / "nope").exists()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[0])
def test_a_file_is_no_folder(shardpost: Shardpost, tmp_path: Path, query: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("hello")
    answer = shardpost(*query, "--data", tmp_path / "file")
    assert answer.code == 5
    assert "is not a folder" in answer.refusal


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[0])
def test_a_folder_of_a_newer_format_is_refused(
    shardpost: Shardpost, fill: Fill, query: tuple[str, ...]
) -> None:
    path = fill(one_message).path
    form = path / "format.json"
    form.write_text(form.read_text().replace('"format":2', '"format":99'))
    answer = shardpost(*query, "--data", path)
    assert answer.code == 5
    assert "has format 99" in answer.refusal


@pytest.mark.parametrize("query", [q for q in QUERIES if q[0] != "audit"], ids=lambda q: q[0])
def test_files_of_a_newer_schema_are_told_in_one_line(
    shardpost: Shardpost, fill: Fill, query: tuple[str, ...]
) -> None:
    folder = fill(one_message)
    for core in folder.generation.cores:
        if folder.folder.core_path(core).exists():
            folder.damage(core, "PRAGMA user_version = 9")
    answer = shardpost(*query, "--data", folder.path)
    assert answer.code == 10
    assert "has schema 9" in answer.refusal


def test_an_entry_of_a_newer_release_is_told_in_one_line(shardpost: Shardpost, fill: Fill) -> None:
    folder = fill(one_message)
    for core in folder.generation.cores:
        if folder.folder.core_path(core).exists():
            folder.damage(core, "UPDATE journal SET body = ?", b"\x91\x09")
    answer = shardpost("group", "g", "--data", folder.path)
    assert answer.code == 5
    assert "an entry of format 9" in answer.refusal


def test_a_lane_that_cannot_be_read_is_shown_with_what_to_do(
    shardpost: Shardpost, fill: Fill
) -> None:
    folder = fill(one_message)
    for core in folder.generation.cores:
        if folder.folder.core_path(core).exists():
            folder.damage(core, "UPDATE journal SET body = ?", b"\x91\x09")
    status = shardpost("status", "--data", folder.path)
    assert status.code == 0
    assert "1 set aside" in status.out
    lanes = shardpost("lanes", "--data", folder.path)
    assert lanes.code == 0
    assert "is set aside: the journal holds an entry of format 9" in lanes.out
    assert "restore the data folder from a backup" in lanes.out
    (lane,) = shardpost("lanes", "--data", folder.path, "--json").json["lanes"]
    assert shardpost("status", "--data", folder.path, "--json").json["lanes_set_aside"] == [
        lane["lane"]
    ]


def test_a_folder_that_cannot_be_written_answers_all_the_same(
    shardpost: Shardpost, fill: Fill, tmp_path: Path
) -> None:
    path = fill(one_message).path
    before = {file.name: file.read_bytes() for file in path.glob("*.*")}
    path.chmod(0o500)
    try:
        for query in QUERIES[:4]:
            assert shardpost(*query, "--data", path).code == 0
    finally:
        path.chmod(0o700)
    after = {file.name: file.read_bytes() for file in path.glob("*.*")}
    assert {name: after[name] for name in before} == before
    shutil.rmtree(path)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[0])
def test_a_setting_that_nobody_knows_is_one_line(
    shardpost: Shardpost, monkeypatch: pytest.MonkeyPatch, query: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SHARDPOST_INGESTRS", "2")
    answer = shardpost(*query)
    assert answer.code == 4
    assert "did you mean SHARDPOST_INGESTERS?" in answer.refusal


# --- watching -------------------------------------------------------------------------------------


def test_watching_looks_again_until_somebody_interrupts(
    shardpost: Shardpost, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def interrupted_at_the_third(seconds: float) -> None:
        nonlocal looks
        assert seconds == 1
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("actors.cli.status.asyncio.sleep", interrupted_at_the_third)
    answer = shardpost("status", "--watch", "--json", "--data", fill(one_message).path)
    assert answer.code == 130
    assert answer.out.count('"accepted":1') == 3
    assert answer.err == ""


# --- versions -------------------------------------------------------------------------------------


def test_version_names_what_runs_here(shardpost: Shardpost) -> None:
    answer = shardpost("version", "--json").json
    assert list(answer) == ["shardpost", "python", "ray", "scylla_driver", "sqlite"]
    assert all(answer.values())
    assert shardpost("version").out.splitlines()[0].split()[0] == "shardpost"


def test_what_is_not_installed_has_no_version() -> None:
    from actors.cli.version import installed_version

    assert installed_version("no-such-distribution-at-all") is None


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_that_the_program_was_started_without_takes_everything(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, name, None)
    program.open_closed_streams()
    with getattr(sys, name) as stream:
        if name == "stdin":
            assert stream.buffer.raw.read() == b""
        else:
            stream.write("told to nobody")
            stream.flush()


def test_streams_that_are_there_are_left_alone() -> None:
    before = (sys.stdin, sys.stdout, sys.stderr)
    program.open_closed_streams()
    assert (sys.stdin, sys.stdout, sys.stderr) == before
