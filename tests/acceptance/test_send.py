"""`shardpost send` as an operator uses it, on files of every kind, through one running platform.

What was sent is read from the outbox, what is counted from the books.
"""

import csv
import io
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support.office import Office
from tests.support.platform_process import Outbox, begin, eventually, kill_tree, press_ctrl_c

TEXTS = (
    'She said "hi", twice',
    "Grüße aus Köln 🎉, {name}",
    "100 %; a = b, c\\d",
    "Grüße aus Köln 🎉, {name}",
)
NUMBERS = tuple(f"+44770090010{n}" for n in range(len(TEXTS)))
COLUMNS = ("phone", "text")
MANY = 6_000
BAD_LINE = 4_000


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    return out.getvalue()


def as_csv(*, of: str = "anybody") -> str:
    """A file of its own for each test: the same bytes again would be the same batch."""
    return table((*COLUMNS, of), [(*row, "") for row in zip(NUMBERS, TEXTS, strict=True)])


def as_tsv() -> str:
    rows = [COLUMNS, *zip(NUMBERS, TEXTS, strict=True)]
    return "".join("\t".join(row) + "\n" for row in rows)


def as_json_lines() -> str:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(NUMBERS, TEXTS, strict=True)]
    return "".join(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" for n, row in enumerate(rows))


@pytest.mark.parametrize(
    ("name", "written", "is_piped"),
    [
        pytest.param("a.csv", as_csv, False, id="CSV"),
        pytest.param("b.tsv", as_tsv, False, id="TSV"),
        pytest.param("c.jsonl", as_json_lines, False, id="JSON lines"),
        pytest.param("d", as_csv, True, id="standard input"),
    ],
)
def test_each_record_of_a_file_goes_out_once(
    office: Office, tmp_path: Path, name: str, written: Callable[[], str], is_piped: bool
) -> None:
    group = f"format-{name}"
    if is_piped:
        told = office.asked("send", "-", "--group", group, piped=written())
    else:
        (tmp_path / name).write_text(written())
        told = office.asked("send", tmp_path / name, "--group", group)
    assert (told["accepted"], told["refused"], told["rejects"]) == (len(TEXTS), 0, None)
    lines = office.handed_over(group, len(TEXTS))
    assert sorted((line["recipient"], line["content"]) for line in lines) == sorted(
        zip(NUMBERS, TEXTS, strict=True)
    )
    assert {line["channel"] for line in lines} == {"sms"}


def test_the_same_file_again_sends_nothing_and_says_so(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "twice.csv"
    file.write_text(as_csv(of="twice"))
    office.asked("send", file, "--group", "twice")
    before = office.handed_over("twice", len(TEXTS))
    # The content decides, not the name.
    again = office.run("send", file.rename(tmp_path / "renamed.csv"), "--group", "twice")
    assert again.returncode == 0
    assert "4 messages accepted (4 of them accepted before: not sent again)" in again.stdout
    assert office.handed_over("twice", len(TEXTS)) == before


def test_a_pipe_with_a_name_is_read_once_and_whole(office: Office, tmp_path: Path) -> None:
    # As in `shardpost send <(zcat customers.csv.gz)`; larger than what a look at it reads.
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    rows = "".join(f"+44770090{n % 1_000:04},{n} {'x' * 400}\n" for n in range(3_000))
    with begin_writing(pipe, "phone,text\n" + rows):
        told = office.asked("send", pipe, "--group", "pipe")
    assert (told["accepted"], told["accepted_before"]) == (3_000, 0)
    lines = office.handed_over("pipe", 3_000)
    assert {int(line["content"].split()[0]) for line in lines} == set(range(3_000))


def begin_writing(path: Path, text: str) -> "subprocess.Popen[bytes]":
    source = path.with_suffix(".source")
    source.write_text(text)
    return subprocess.Popen(["/bin/sh", "-c", 'cat "$0" > "$1"', str(source), str(path)])


def test_templates_make_every_field_of_any_columns(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    columns = ("Mobile No", "Vorname", "Code", "Campaign")
    rows = (("07700 900201", "Ada", "17", "spring"), ("+44 7700 900202", "", "18", "autumn"))
    file.write_text(table(columns, rows))
    told = office.asked(
        *("send", file, "--to", "{Mobile No}", "--region", "GB", "--channel", "sms"),
        *("--content", "Hello {Vorname|you}, your code is {Code}"),
        *("--group", "templates-{Campaign}", "--meta", "code=#{Code}", "--tenant", "acme"),
    )
    assert told["accepted"] == 2
    for number, (recipient, content) in enumerate(
        (
            ("+447700900201", "Hello Ada, your code is 17"),
            ("+447700900202", "Hello you, your code is 18"),
        )
    ):
        group = f"templates-{rows[number][3]}"
        eventually("it is out", partial(office.lines, group), seconds=120)
        (line,) = office.lines(group)
        assert (line["recipient"], line["content"]) == (recipient, content)
        assert (line["tenant"], line["metadata"]) == ("acme", {"code": f"#{rows[number][2]}"})
        books = office.asked("group", group, "--tenant", "acme")
        assert (books["submitted"], books["closes"]) == (1, True)


def test_priorities_go_to_lanes_of_their_own(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "priorities.csv"
    asked = ("urgent", "normal", "bulk", "")
    rows = [(f"+4477009003{n:02}", asked[n % 4] or "unsaid", asked[n % 4]) for n in range(40)]
    file.write_text(table(("phone", "text", "priority"), rows))
    office.asked("send", file, "--group", "priorities")
    office.handed_over("priorities", len(rows))
    bands: dict[str, set[str]] = {}
    for path in (office.data / "outbox").rglob("*.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            if line["group"] == "priorities":
                bands.setdefault(line["content"], set()).add(path.stem.rpartition(".")[2])
    assert bands["urgent"] == {"urgent"}
    assert {band.partition("-")[0] for band in bands["normal"]} == {"normal"}
    # A file is seldom what somebody waits for.
    assert bands["bulk"] == bands["unsaid"]
    assert {band.partition("-")[0] for band in bands["bulk"]} == {"bulk"}
    assert {lane["band"] for lane in office.asked("lanes")["lanes"]} >= {
        band for found in bands.values() for band in found
    }


# --- keys -----------------------------------------------------------------------------------------


def test_a_natural_key_is_sent_once_and_means_one_message(office: Office, tmp_path: Path) -> None:
    columns, send = ("phone", "order", "text"), ("--key", "order", "--group", "keys")
    one, two = ("+447700900401", "o-1", "first"), ("+447700900402", "o-2", "second")
    other = ("+447700900401", "o-1", "another text")
    file = tmp_path / "orders.csv"
    file.write_text(table(columns, [one, two, one, other]))
    told = office.asked("send", file, *send, exit_code=8)
    assert (told["accepted"], told["repeated"], told["refused"]) == (2, 1, 1)
    assert Path(told["rejects"]).read_text() == table(columns, [other])
    (reason,) = map(json.loads, Path(told["reasons"]).read_text().splitlines())
    assert (reason["line"], reason["reason"]) == (
        5,
        "key: repeats the key of an earlier record with other content",
    )
    office.handed_over("keys", 2)

    # Another file, on another day.
    file = tmp_path / "orders-of-today.csv"
    three = ("+447700900403", "o-3", "third")
    file.write_text(table(columns, [three, two, other]))
    told = office.asked("send", file, *send, exit_code=8)
    assert (told["records"], told["refused"]) == (3, 1)
    assert Path(told["rejects"]).read_text() == table(columns, [other])
    assert "used before with other content" in Path(told["reasons"]).read_text()
    lines = office.handed_over("keys", 3)
    assert sorted(line["content"] for line in lines) == ["first", "second", "third"]


def test_the_same_file_with_another_template_is_refused_before_anything_is_sent(
    office: Office, tmp_path: Path
) -> None:
    file = tmp_path / "batch.csv"
    file.write_text(as_csv(of="batch"))
    office.asked("send", file, "--group", "batch")
    again = ("send", file, "--content", "News: {text}", "--group", "batch")
    assert "name another --batch-key" in office.refused(*again, exit_code=3)
    assert len(office.handed_over("batch", len(TEXTS))) == len(TEXTS)

    # What the line says works.
    told = office.asked(*again, "--batch-key", "news of today")
    assert (told["accepted"], told["accepted_before"]) == (len(TEXTS), 0)
    lines = office.handed_over("batch", 2 * len(TEXTS))
    assert sum(line["content"].startswith("News: ") for line in lines) == len(TEXTS)
    told = office.asked(*again, "--batch-key", "news of today")
    assert told["accepted_before"] == len(TEXTS)
    office.handed_over("batch", 2 * len(TEXTS))


# --- records that are wrong -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_is_bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bad") / "campaign.csv"
    rows = [(f"+44770090{n % 1_000:04}", f"n{n}") for n in range(MANY)]
    # The header is line 1.
    rows[BAD_LINE - 2] = (rows[BAD_LINE - 2][0], "")
    file.write_text(table(("phone", "name"), rows))
    return file


def test_strict_sends_nothing_if_one_record_is_bad(office: Office, one_is_bad: Path) -> None:
    told = office.refused(
        *("send", one_is_bad, "--content", "Dear {name}", "--group", "strict", "--strict"),
        exit_code=3,
    )
    assert f"line {BAD_LINE}: content: column 'name' is empty" in told
    assert "nothing was sent" in told
    assert office.knows_nothing_of("strict")
    assert list(one_is_bad.parent.iterdir()) == [one_is_bad]


def test_a_record_that_is_bad_is_refused_mended_and_sent(office: Office, one_is_bad: Path) -> None:
    send = ("--content", "Dear {name}", "--group", "mended")
    told = office.asked("send", one_is_bad, *send, exit_code=8)
    assert (told["records"], told["accepted"], told["refused"]) == (MANY, MANY - 1, 1)
    (reason,) = map(json.loads, Path(told["reasons"]).read_text().splitlines())
    assert reason["line"] == BAD_LINE
    assert reason["reason"].startswith("content: column 'name' is empty")
    office.handed_over("mended", MANY - 1)

    rejects = Path(told["rejects"])
    header, record = rejects.read_text().splitlines()
    assert header == "phone,name"
    rejects.write_text(f"{header}\n{record}Zoë\n")
    told = office.asked("send", rejects, *send)
    assert (told["accepted"], told["accepted_before"], told["refused"]) == (1, 0, 0)
    lines = office.handed_over("mended", MANY)
    assert {line["content"] for line in lines} == {
        "Dear Zoë" if n == BAD_LINE - 2 else f"Dear n{n}" for n in range(MANY)
    }


def test_refused_records_are_told_to_people_too(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "numbers.tsv"
    file.write_text("phone\ttext\n+447700900501\tfine\nnobody\tlost\n")
    folder = tmp_path / "refused"
    told = office.run("send", file, "--group", "told", "--rejects", folder)
    assert told.returncode == 8
    assert "1 message accepted" in told.stdout
    assert f"1 record refused: {folder / 'numbers.rejected.tsv'}" in told.stdout
    assert "The first of them: line 3: recipient: " in told.stdout
    office.handed_over("told", 1)


def test_a_dry_run_shows_everything_and_sends_nothing(office: Office, one_is_bad: Path) -> None:
    asked = ("send", one_is_bad, "--content", "Dear {name}", "--group", "dry", "--dry-run")
    shown = office.run(*asked)
    assert shown.returncode == 8
    for part in (
        "Dear n0",
        "column phone",
        "5,999 messages would be accepted",
        "1 record refused",
    ):
        assert part in shown.stdout
    told = office.asked(*asked, exit_code=8)
    assert (told["would_accept"], told["refused"]) == (MANY - 1, 1)
    assert told["samples"][0]["content"] == "Dear n0"
    assert told["first_refusals"][0][0] == BAD_LINE
    assert office.knows_nothing_of("dry")


# --- broken off -----------------------------------------------------------------------------------


def test_a_send_that_was_broken_off_is_taken_up_under_its_batch_key(office: Office) -> None:
    rows = [f"+44770090{n % 1_000:04},{n}\n" for n in range(5_000)]
    arguments = ("-", "--group", "broken", "--batch-key", "broken", "--data", str(office.data))
    sending = begin("send", *arguments, stdin=subprocess.PIPE)
    try:
        assert sending.stdin is not None
        # Two chunks of a thousand, and a part of a third, whose end does not come.
        sending.stdin.write("phone,text\n" + "".join(rows[:2_500]))
        sending.stdin.flush()
        eventually("two are out", lambda: len(office.lines("broken")) == 2_000, seconds=120)
        press_ctrl_c(sending)
        told, errors = sending.communicate(timeout=120)
    finally:
        kill_tree(sending)
    assert sending.returncode == 130, (told, errors)
    assert "Traceback" not in errors
    whole = office.asked("send", *arguments[:-2], piped="phone,text\n" + "".join(rows))
    assert (whole["accepted"], whole["accepted_before"]) == (5_000, 2_000)
    lines = office.handed_over("broken", 5_000)
    assert {int(line["content"]) for line in lines} == set(range(5_000))


# --- documents ------------------------------------------------------------------------------------


def test_every_command_prints_one_document_with_json(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "documents.csv"
    file.write_text(as_csv(of="documents"))
    sent = office.asked("send", file, "--group", "documents")
    assert sent.keys() >= {"records", "accepted", "accepted_before", "refused", "first_id"}
    ids = {line["message_id"] for line in office.handed_over("documents", len(TEXTS))}
    assert sent["first_id"] in ids

    status = office.asked("status")
    assert status["is_running"] is True
    assert status["owners_alive"] == 4
    assert status["states"]["sent"] == len(Outbox(office.data).read()[0])
    books = office.asked("group", "documents")
    assert (books["submitted"], books["accepted"], books["states"]["sent"]) == (4, 4, 4)
    assert (books["open"], books["closes"]) == (0, True)
    page = office.asked("messages", "--group", "documents", "--state", "sent")
    assert {message["id"] for message in page["messages"]} == ids
    # Nobody reads a number over somebody's shoulder.
    assert not {message["recipient"] for message in page["messages"]} & set(NUMBERS)
    trace = office.asked("trace", sent["first_id"])
    assert [event["state"] for event in trace["events"]] == ["claimed", "sent"]
    lanes = office.asked("lanes")["lanes"]
    assert {lane["lane"] for lane in lanes} >= {
        path.stem for path in (office.data / "outbox").rglob("*.jsonl")
    }
    assert office.asked("audit")["findings_count"] == 0
    assert {check["verdict"] for check in office.asked("doctor")["checks"]} <= {"ok", "warn"}
