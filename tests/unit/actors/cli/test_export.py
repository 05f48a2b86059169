"""A group and what became of it, as a file."""

import csv
import io
import json
from pathlib import Path

import pytest

from actors.cli.export import ExportedMessage, exported
from pipeline.later import MessageOutcome
from pipeline.lifecycle import Event
from tests.support.cli_answer import Fill, Shardpost
from tests.support.filled_folder import FilledFolder


@pytest.fixture
def data(fill: Fill) -> Path:
    async def some(folder: FilledFolder) -> None:
        await folder.send(await folder.accept(4, group="spring", content="=1+1, {n}\n"))
        lost = await folder.accept(2, group="spring")
        await folder.append(lost, Event.CLAIM)
        await folder.append(lost, Event.LOSE_ANSWER)
        await folder.finish()
        await folder.accept(3, group="spring")
        await folder.accept(1, group="other")

    return fill(some).path


def test_every_message_of_a_group_is_in_it_once_with_its_state(
    shardpost: Shardpost, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.cli.export.QUERY_PAGE_ROWS_MAX", 2)
    answer = shardpost("export", "spring", "--content", "--data", data)
    assert answer.code == 0
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert len({row["id"] for row in rows}) == len(rows) == 9
    assert sorted(row["state"] for row in rows) == [
        *["accepted"] * 3,
        *["sent"] * 4,
        *["uncertain"] * 2,
    ]
    assert {row["group"] for row in rows} == {"spring"}
    assert {row["recipient"] for row in rows} == {f"+44770090000{n}" for n in range(4)}
    sent = [row for row in rows if row["state"] == "sent"]
    assert {row["content"] for row in sent} == {f"=1+1, {n}\n" for n in range(4)}
    [one] = [row for row in rows if row["state"] == "accepted" and row["recipient"][-1] == "0"]
    assert (one["changed_at"], one["attempt"], one["detail"]) == ("", "", "")


def test_json_lines_say_the_same(shardpost: Shardpost, data: Path) -> None:
    answer = shardpost("export", "spring", "--format", "jsonl", "--mask", "--data", data)
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert len(lines) == 9
    assert {line["content"] for line in lines} == {None}
    assert all("•" in line["recipient"] for line in lines)


def test_a_file_is_whole_or_not_there_and_never_overwritten(
    shardpost: Shardpost, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spring.jsonl"
    answer = shardpost("export", "spring", "-o", file, "--json", "--data", data)
    assert answer.json["messages"] == 9
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 9
    assert file.stat().st_mode & 0o777 == 0o600
    again = shardpost("export", "spring", "-o", file, "--data", data)
    assert again.code == 3
    assert "already" in again.refusal

    def fail(*_arguments: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("actors.cli.export.exported", fail)
    answer = shardpost("export", "spring", "-o", tmp_path / "broken.csv", "--data", data)
    assert answer.code == 3
    assert "No space" in answer.refusal
    assert not [path.name for path in tmp_path.iterdir() if "broken" in path.name]


def test_a_file_that_came_meanwhile_is_not_written_over(
    shardpost: Shardpost, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spring.csv"

    def exported_beside_another(outcome: MessageOutcome, **named: bool) -> ExportedMessage:
        file.write_text("another program's")
        return exported(outcome, **named)

    monkeypatch.setattr("actors.cli.export.exported", exported_beside_another)
    answer = shardpost("export", "spring", "-o", file, "--data", data)
    assert answer.code == 3
    assert "already" in answer.refusal
    assert file.read_text() == "another program's"
    assert [path.name for path in tmp_path.iterdir() if "begun" in path.name] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sprong",), 11),
        (("spring", "--tenant", "other"), 11),
        (("spring", "--json"), 2),
        (("spring", "--format", "xlsx"), 2),
        (("spring", "-o", "no/such/folder.csv"), 3),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    shardpost: Shardpost,
    data: Path,
    arguments: tuple[str, ...],
    code: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = shardpost("export", *arguments, "--data", data)
    assert answer.code == code
    assert answer.refusal
    # What the loop finds left open at its end it tells there, with all of the stack.
    assert not caplog.records
