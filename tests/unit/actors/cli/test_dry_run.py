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
