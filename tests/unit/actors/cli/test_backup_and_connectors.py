"""Copies of a data folder, and the ways out, by the program."""

from pathlib import Path

import pytest

from tests.support.cli_answer import Fill, Shardpost
from tests.support.filled_folder import FilledFolder


@pytest.fixture
def data(fill: Fill) -> Path:
    async def some(folder: FilledFolder) -> None:
        await folder.send(await folder.accept(3, group="spring"))
        await folder.accept(2, group="spring")

    return fill(some).path


# --- backup and restore ---------------------------------------------------------------------------


def test_a_copy_becomes_a_folder_that_answers_the_same(
    shardpost: Shardpost, data: Path, tmp_path: Path
) -> None:
    taken = shardpost("backup", tmp_path / "copy", "--data", data, "--json")
    assert taken.json["length_bytes"] > 0
    restored = shardpost("restore", tmp_path / "copy", "--data", tmp_path / "new", "--json")
    assert restored.json["restored_at"] is not None
    for path in (data, tmp_path / "new"):
        told = shardpost("group", "spring", "--data", path, "--json").json
        assert (told["accepted"], told["lag"]) == (3, 2)


def test_who_knows_that_nothing_was_sent_may_say_so(
    shardpost: Shardpost, data: Path, tmp_path: Path
) -> None:
    shardpost("backup", tmp_path / "copy", "--data", data)
    answer = shardpost(
        *("restore", tmp_path / "copy", "--nothing-sent-since"),
        *("--data", tmp_path / "new", "--json"),
    )
    assert answer.json["restored_at"] is None


def test_nothing_is_written_over(shardpost: Shardpost, data: Path, tmp_path: Path) -> None:
    shardpost("backup", tmp_path / "copy", "--data", data)
    for arguments in (
        ("backup", tmp_path / "copy", "--data", data),
        ("restore", tmp_path / "copy", "--data", data),
        ("restore", data, "--data", tmp_path / "new"),
        ("restore", tmp_path / "nothing", "--data", tmp_path / "new"),
        ("backup", tmp_path / "other", "--data", tmp_path / "nothing"),
    ):
        answer = shardpost(*arguments)
        assert answer.code == 5, arguments
        assert answer.refusal
    kept = shardpost("restore", tmp_path / "copy", "--data", data)
    assert "is a data folder already: name an empty folder" in kept.refusal


# --- connectors -----------------------------------------------------------------------------------

SETTINGS = """
[connectors.one]
kind = "file"
channels = ["sms"]
weight = 3
rate = 100
fallback = ["two"]
[connectors.two]
kind = "file"
channels = ["sms", "rcs"]
[connectors.three]
kind = "file"
channels = ["push"]
enabled = false
"""


def test_the_ways_out_are_told_with_their_share(shardpost: Shardpost, tmp_path: Path) -> None:
    (tmp_path / "shardpost.toml").write_text(SETTINGS)
    told = shardpost("connectors", "--json").json
    one, two, three = told["connectors"]
    assert (one["share_percent"], two["share_percent"]) == ({"sms": 75}, {"sms": 25, "rcs": 100})
    assert (one["class"], one["rate"], one["fallback"]) == ("0", 100.0, ["two"])
    assert (three["is_enabled"], three["share_percent"]) == (False, {"push": 0})
    assert told["channels_without"] == ["email", "whatsapp", "push", "webhook"]
    shown = shardpost("connectors")
    assert "NO" in shown.out
    assert "Without a way out: email" in shown.out


def test_without_settings_there_is_one_for_all(shardpost: Shardpost) -> None:
    told = shardpost("connectors", "--json").json
    [one] = told["connectors"]
    assert one["kind"] == "file"
    assert "sms" in one["channels"]
