"""A preview ends with the code that the sending would end with."""

from pathlib import Path

import pytest

from tests.support.cli_answer import Shardpost

GOOD = "+447911123456,hello\n"
BAD = "nobody,hello\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "messages.csv"


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["told", "json"])
@pytest.mark.parametrize(
    ("records", "code"),
    [(GOOD, 0), (GOOD + BAD, 8), (BAD, 8)],
    ids=["all good", "one bad", "all bad"],
)
def test_a_preview_of_refused_records_ends_as_their_sending_would(
    shardpost: Shardpost, file: Path, records: str, code: int, as_json: list[str]
) -> None:
    file.write_text("phone,text\n" + records)
    answer = shardpost("send", file, "--dry-run", *as_json)
    assert answer.code == code
    assert not answer.err
    if as_json:
        assert answer.json["refused"] == records.count("nobody")
    else:
        assert "Nothing was sent." in answer.out


def test_a_preview_shows_when_messages_would_be_sent(shardpost: Shardpost, file: Path) -> None:
    file.write_text("phone,text\n" + GOOD)
    said = ("--at", "2023-11-20T18:00+01:00", "--window", "daily 9:00-20:00", "--expires", "2h")
    answer = shardpost("send", file, "--dry-run", *said, "--json")
    (sample,) = answer.json["samples"]
    assert sample["due"].startswith("2023-11-20T17:00:00")
    assert (sample["window"], sample["expires"]) == (
        "daily 09:00-20:00",
        "7200 s after due",
    )
    told = shardpost("send", file, "--dry-run", *said).out
    assert "2023-11-20T17:00:00" in told
    plain = shardpost("send", file, "--dry-run").out
    assert "due" not in plain
    assert "in 300 s" in shardpost("send", file, "--dry-run", "--at", "in 5m").out
