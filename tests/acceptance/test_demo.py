"""`make run` on a file like the SMS collection: once, again, broken off, and taken up.

The runs follow each other on one data folder, as an operator's do; each is a fixture that begins
where the one before it ended.  The outbox is read as another program would read it.
"""

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.local.data_folder import DataFolder
from cluster.local.inspection import LocalInspection
from pipeline.lifecycle import MessageState, Step, state_of
from tests.support.platform_process import (
    ROOT,
    Outbox,
    begin,
    descendants_of,
    environment,
    eventually,
    kill_tree,
    press_ctrl_c,
    processes,
    shardpost,
)

TIMEOUT_S = 180.0
BIG_COUNT = 40_000
# Far from both ends: something went out before Ctrl-C, and much was left.
SENT_BEFORE_CTRL_C = 2_000

# What such files hold, and what a reader could trip over.
TEXTS = (
    "Go until jurong point, crazy.. Available only in bugis n great world la e buffet...",
    "Ok lar... Joking wif u oni...",
    'He said "no" and left',
    '"A quote that is never closed',
    '""',
    '"Quoted as a whole", and then more',
    "She's at l'école, it'll be £5.50 or 6 €",
    "Grüße aus Köln 🎉 日本語 שלום",
    "a {name} in braces, {0} and {{two}}",
    "a \\t that is no tab, a \\n that is no line, C:\\temp\\",
    "one\u2028line, one\u0085line, one\x0bline to a reader of TSV",
    "a no-break\u00a0space and two at the end  ",
    "&lt;#&gt; of 100, a = b; c, d",
    "+447700900123",
    "0",
    "null",
    "# no remark",
    "=SUM(1)",
)


@dataclass(frozen=True)
class Sent:
    """A file, and what became of it in one run."""

    file: Path
    texts: list[str]
    data: Path
    run: "subprocess.CompletedProcess[str]"
    lines: list[dict[str, str]]  # all that is in the outbox after the run

    def handed_over(self) -> list[dict[str, str]]:
        """The lines of this file's group."""
        group = self.told_group()
        return [line for line in self.lines if line["group"] == group]

    def told_group(self) -> str:
        (line,) = [line for line in self.run.stdout.splitlines() if line.startswith("group")]
        return shlex.split(line)[1]

    def books(self) -> dict[str, int]:
        told = json.loads(
            shardpost("group", self.told_group(), "--json", "--data", str(self.data)).stdout
        )
        assert told["closes"] is True
        return {state: count for state, count in told["states"].items() if count}


def write_tsv(file: Path, texts: list[str]) -> list[str]:
    # The last line has no end, as in many files.
    rows = [f"{'spam' if n % 7 == 0 else 'ham'}\t{text}" for n, text in enumerate(texts)]
    file.write_bytes("\n".join(rows).encode())
    return texts


def run_demo(file: Path, data: Path) -> "subprocess.CompletedProcess[str]":
    return shardpost("demo", str(file), "--data", str(data), SHARDPOST_DASHBOARD="false")


def sent(file: Path, texts: list[str], data: Path) -> Sent:
    run = run_demo(file, data)
    assert run.returncode == 0, (run.stdout, run.stderr)
    lines, torn = Outbox(data).read()
    assert torn == 0
    return Sent(file, texts, data, run, lines)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A name that a shell would take apart.
    return tmp_path_factory.mktemp("demo") / "data of mine"


@pytest.fixture(scope="module")
def first(data: Path) -> Sent:
    file = data.parent / "messages.tsv"
    texts = [*(TEXTS * 20), *(f"No. {n} of the rest" for n in range(240))]
    return sent(file, write_tsv(file, texts), data)


@pytest.fixture(scope="module")
def again(first: Sent) -> Sent:
    return sent(first.file, first.texts, first.data)


@dataclass(frozen=True)
class BrokenOff:
    """A run that Ctrl-C ended."""

    file: Path
    texts: list[str]
    data: Path
    exit_code: int
    told: str
    errors: str
    processes_left: dict[int, str]


@pytest.fixture(scope="module")
def broken_off(again: Sent) -> BrokenOff:
    file = again.data.parent / "campaign.tsv"
    texts = write_tsv(file, [f"{TEXTS[n % len(TEXTS)]} ({n // 2})" for n in range(BIG_COUNT)])
    demo = begin("demo", str(file), "--data", str(again.data), SHARDPOST_DASHBOARD="false")
    outbox = Outbox(again.data)
    before = outbox.lines_count()
    try:
        eventually(
            "some are out",
            lambda: outbox.lines_count() >= before + SENT_BEFORE_CTRL_C,
            seconds=TIMEOUT_S,
        )
        family = descendants_of(demo.pid)
        press_ctrl_c(demo)
        told, errors = demo.communicate(timeout=TIMEOUT_S)
    finally:
        kill_tree(demo)
    left = {
        pid: title for pid, title in family.items() if processes().get(pid, (0, ""))[1] == title
    }
    return BrokenOff(file, texts, again.data, demo.returncode, told, errors, left)


@pytest.fixture(scope="module")
def lines_of_broken_off(broken_off: BrokenOff) -> list[dict[str, str]]:
    """The outbox between the two runs; to be asked for before `taken_up`."""
    lines, torn = Outbox(broken_off.data).read()
    assert torn == 0
    return lines


@pytest.fixture(scope="module")
def taken_up(broken_off: BrokenOff, lines_of_broken_off: list[dict[str, str]]) -> Sent:
    return sent(broken_off.file, broken_off.texts, broken_off.data)


# --- once -----------------------------------------------------------------------------------------


def test_every_line_of_the_file_is_handed_over_exactly_once(first: Sent) -> None:
    assert Counter(line["content"] for line in first.lines) == Counter(first.texts)
    assert len({line["message_id"] for line in first.lines}) == len(first.texts)


def test_the_books_close_and_say_what_the_outbox_says(first: Sent) -> None:
    assert first.books() == {"sent": len(first.texts)}
    told = f"The books of group {first.told_group()} are closed: sent {len(first.texts):,}."
    assert told in first.run.stdout


def test_made_up_recipients_are_told_and_reach_nobody(first: Sent) -> None:
    (told,) = [line for line in first.run.stdout.splitlines() if line.startswith("recipient")]
    assert "made up" in told
    assert "reach nobody" in told
    # The range that is kept for fiction.
    assert all(line["recipient"].startswith("+447700900") for line in first.lines)
    assert {line["channel"] for line in first.lines} == {"sms"}


def test_the_trace_command_that_it_prints_works_as_it_stands(first: Sent) -> None:
    (told,) = [line for line in first.run.stdout.splitlines() if "shardpost trace" in line]
    command = told.partition(": ")[2]
    trace = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert trace.returncode == 0, trace.stderr
    message_id = shlex.split(command)[2]
    assert message_id in trace.stdout
    assert message_id in {line["message_id"] for line in first.lines}
    for state in ("accepted", "claimed", "sent"):
        assert state in trace.stdout


def test_it_tells_rate_and_delivery_times(first: Sent) -> None:
    assert "From the first byte read to closed books" in first.run.stdout
    assert " messages/s" in first.run.stdout
    assert " p50 " in first.run.stdout
    assert " p99 " in first.run.stdout


# --- again ----------------------------------------------------------------------------------------


def test_the_same_file_again_sends_nothing_and_says_so(first: Sent, again: Sent) -> None:
    assert again.lines == first.lines
    count = f"{len(again.texts):,}"
    assert f"{count} messages accepted ({count} of them accepted before: not sent again)" in (
        again.run.stdout
    )
    assert again.books() == {"sent": len(again.texts)}


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_ctrl_c_ends_it_with_the_documented_exit_code_and_no_complaint(
    broken_off: BrokenOff,
) -> None:
    assert broken_off.exit_code == 130
    page = (ROOT / "docs" / "operating" / "exit-codes.md").read_text()
    assert "| `130` | Ctrl-C ended it" in page
    assert broken_off.errors == ""
    assert "Run it again to go on" in broken_off.told
    assert broken_off.processes_left == {}


def states_of_messages(data: Path) -> Iterator[tuple[str, MessageState]]:
    """The fold of each message that has events, read from the files of the store."""
    folder = DataFolder.open(data)
    inspection = LocalInspection(folder)
    for core in folder.generation.cores:
        with inspection.snapshot(core) as view:
            for page in view.timelines() if view is not None else ():
                for message_id, steps in page:
                    yield message_id.hex(), state_of(Step(max(map(int, steps.split(",")))))


def test_ctrl_c_leaves_nothing_half_done(
    broken_off: BrokenOff, lines_of_broken_off: list[dict[str, str]], first: Sent
) -> None:
    handed_over = len(lines_of_broken_off) - len(first.lines)
    assert SENT_BEFORE_CTRL_C <= handed_over < BIG_COUNT, "Ctrl-C came too late to matter"
    states = dict(states_of_messages(broken_off.data))
    assert set(states.values()) == {MessageState.SENT}
    assert states.keys() == {line["message_id"] for line in lines_of_broken_off}
    assert len(states) == len(lines_of_broken_off)


def test_the_audit_finds_nothing_after_ctrl_c(
    broken_off: BrokenOff, lines_of_broken_off: list[dict[str, str]]
) -> None:
    audit = shardpost("audit", "--json", "--data", str(broken_off.data))
    assert audit.returncode == 0, audit.stdout
    told = json.loads(audit.stdout)
    assert told["findings_count"] == 0
    assert told["lines"] == len(lines_of_broken_off)
    assert not told["is_running"]


def test_a_second_run_takes_it_up_and_ends_it_exactly_once(taken_up: Sent) -> None:
    lines = taken_up.handed_over()
    assert Counter(line["content"] for line in lines) == Counter(taken_up.texts)
    assert len({line["message_id"] for line in lines}) == len(taken_up.texts)
    assert taken_up.books() == {"sent": len(taken_up.texts)}
    assert " of them accepted before: not sent again)" in taken_up.run.stdout


def test_what_was_handed_over_before_ctrl_c_is_not_handed_over_again(
    lines_of_broken_off: list[dict[str, str]], taken_up: Sent
) -> None:
    before = {line["message_id"]: line for line in lines_of_broken_off}
    after = {line["message_id"]: line for line in taken_up.lines}
    assert all(after[message_id] == line for message_id, line in before.items())


# --- the sample -----------------------------------------------------------------------------------


def test_the_sample_that_comes_with_it_is_a_file_that_can_be_sent() -> None:
    sample = ROOT / "actors" / "cli" / "sample.csv"
    preview = shardpost("send", str(sample), "--dry-run", "--json")
    assert preview.returncode == 0, preview.stderr
    told = json.loads(preview.stdout)
    assert told["would_accept"] == len(sample.read_text().splitlines()) - 1
    assert told["refused"] == 0
