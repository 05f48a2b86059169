"""The list of whom a tenant writes to no more, by the program."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cluster.local.data_folder import DataFolder
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from pipeline.ingest.recipient import canonical_recipient
from pipeline.instant import Instant, later
from pipeline.later import SuppressionRow
from pipeline.limits import Windows
from pipeline.route.suppression import suppression_key
from tests.support.cli_answer import Shardpost
from tests.unit.actors.cli.conftest import LOOKED_AT

ANNE, BEN, CLEO = "+447700900123", "+447700900124", "+447700900125"
SMS = ("--channel", "sms")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    now = SystemClock().now()
    DataFolder.create_or_open(path, shape=None, windows=Windows(), now=now)
    return path


def test_a_list_is_put_in_no_folder_that_is_not_there(shardpost: Shardpost, tmp_path: Path) -> None:
    wrong = tmp_path / "dta"
    answer = shardpost("suppress", "add", ANNE, *SMS, "--data", wrong)
    assert "does not exist: start the platform to make it, or name another" in answer.err
    assert not wrong.exists()


def listed(data: Path, *recipients: str, tenant: str = "default") -> list[SuppressionRow]:
    """Return what a lane would find, by the key that it would look for."""

    async def read() -> list[SuppressionRow]:
        store = LocalStore.open(data, cores=None, clock=SystemClock(), windows=Windows())
        try:
            generation = (await store.read_generations())[0]
            found: list[SuppressionRow] = []
            for recipient in recipients:
                key = suppression_key(tenant, "sms", canonical_recipient("sms", recipient))
                found += (await store.read_suppressions(generation.core_of(key), [key])).values()
            return found
        finally:
            await store.close()

    return asyncio.run(read())


def names(answer: Any) -> list[str]:
    return sorted(one["recipient"] for one in answer["suppressions"])


def test_who_is_put_on_the_list_is_found_by_the_key_of_a_message(
    shardpost: Shardpost, data: Path
) -> None:
    answer = shardpost(
        *("suppress", "add", "07700 900123", BEN, *SMS, "--region", "gb", "--reason", "opt-out"),
        *("--by", "anne", "--data", data, "--json"),
    )
    assert answer.json == {
        "added": 2, "listed_before": 0, "refused": 0, "rejects": None, "reasons": None
    }  # fmt: skip
    found = listed(data, ANNE, BEN, CLEO)
    assert [(row.reason, row.by, row.since) for row in found] == [
        ("opt_out", "anne", LOOKED_AT)
    ] * 2
    assert not listed(data, ANNE, tenant="other")


def test_the_list_holds_nobody_in_the_clear(shardpost: Shardpost, data: Path) -> None:
    shardpost("suppress", "add", ANNE, *SMS, "--data", data)
    assert [row.recipient for row in listed(data, ANNE)] == ["+4477•••••23"]
    assert names(shardpost("suppress", "list", "--data", data, "--json").json) == ["+4477•••••23"]


def test_who_is_on_the_list_stays_as_they_are(shardpost: Shardpost, data: Path) -> None:
    shardpost("suppress", "add", ANNE, *SMS, "--reason", "bounce", "--data", data)
    answer = shardpost("suppress", "add", ANNE, ANNE, BEN, *SMS, "--data", data, "--json").json
    assert (answer["added"], answer["listed_before"]) == (1, 1)
    assert {row.reason for row in listed(data, ANNE)} == {"bounce"}


def test_who_is_taken_off_is_found_no_more_and_may_be_put_on_again(
    shardpost: Shardpost, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shardpost("suppress", "add", ANNE, BEN, *SMS, "--data", data)
    monkeypatch.setattr(SystemClock, "now", lambda _self: later(LOOKED_AT, 1))
    answer = shardpost("suppress", "remove", ANNE, CLEO, *SMS, "--data", data, "--json")
    assert answer.json == {"removed": 1, "not_listed": 1}
    assert not listed(data, ANNE)
    assert listed(data, BEN)
    nobody = shardpost("suppress", "remove", ANNE, *SMS, "--data", data)
    assert nobody.code == 11
    assert "on the list" in nobody.refusal
    monkeypatch.setattr(SystemClock, "now", lambda _self: later(LOOKED_AT, 2))
    assert shardpost("suppress", "add", ANNE, *SMS, "--data", data, "--json").json["added"] == 1
    assert listed(data, ANNE)


def test_a_clock_that_was_set_back_is_told_and_nobody_thinks_it_was_done(
    shardpost: Shardpost, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(ms: int) -> None:
        now: Instant = later(LOOKED_AT, ms)
        monkeypatch.setattr(SystemClock, "now", lambda _self: now)

    at(2_000)
    shardpost("suppress", "add", ANNE, BEN, *SMS, "--data", data)
    at(1_000)
    answer = shardpost("suppress", "remove", ANNE, *SMS, "--data", data)
    assert answer.code == 3
    assert "set the clock right" in answer.refusal
    at(3_000)
    shardpost("suppress", "remove", BEN, *SMS, "--data", data)
    at(2_500)
    answer = shardpost("suppress", "add", BEN, *SMS, "--data", data)
    assert answer.code == 3
    assert "set the clock right" in answer.refusal


def test_one_that_is_wrong_leaves_all_as_they_are(shardpost: Shardpost, data: Path) -> None:
    answer = shardpost("suppress", "add", ANNE, "nobody", *SMS, "--data", data)
    assert answer.code == 3
    assert "nothing was changed" in answer.refusal
    assert not listed(data, ANNE)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (("--reason", "mood"), "bounce, complaint, opt_out, manual"),
        (("--tenant", "a/b"), "letters, digits"),
        (("--channel", "pigeon"), "one of email, sms"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    shardpost: Shardpost, data: Path, wrong: tuple[str, str], hint: str
) -> None:
    answer = shardpost("suppress", "add", ANNE, *SMS, *wrong, "--data", data)
    assert answer.code == 3
    assert hint in answer.refusal


# --- files ----------------------------------------------------------------------------------------


def test_a_file_of_one_recipient_a_line_is_taken_and_its_refused_lines_told(
    shardpost: Shardpost, data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "stops.txt"
    file.write_text(f"{ANNE}\n{BEN}\nnobody\n{ANNE}\n")
    answer = shardpost("suppress", "import", file, *SMS, "--data", data, "--json")
    assert answer.code == 8
    assert answer.json["added"] == 2
    assert answer.json["listed_before"] == 1
    assert answer.json["refused"] == 1
    assert Path(answer.json["rejects"]).read_text() == "nobody\n"
    assert len(listed(data, ANNE, BEN)) == 2
    again = shardpost("suppress", "import", file, *SMS, "--data", data, "--json")
    assert again.json["added"] == 0


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (f"phone,reason\n{ANNE},complaint\n{BEN},\n", (), ["complaint", "manual"]),
        (f"who,channel,why\n{ANNE},sms,x\n", ("--column", "who"), ["manual"]),
        (f'{{"to": "{ANNE}", "channel": "SMS"}}\n', (), ["manual"]),
        (f"recipient,phone\nx,{ANNE}\n", ("--column", "phone"), ["manual"]),
    ],
)
def test_columns_say_who_where_and_why(
    shardpost: Shardpost,
    data: Path,
    tmp_path: Path,
    content: str,
    options: tuple[str, ...],
    expected: list[str],
) -> None:
    file = tmp_path / "stops"
    file.write_text(content)
    answer = shardpost("suppress", "import", file, *options, "--data", data, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert [row.reason for row in listed(data, ANNE, BEN)] == expected


@pytest.mark.parametrize(
    ("content", "options", "hint"),
    [
        ("who,why\na,b\n", (), "--column NAME"),
        (f"recipient\n{ANNE}\n", (), "--channel"),
        (f"phone,mobile\n{ANNE},{BEN}\n", (), "--column NAME"),
        (f"phone\n{ANNE}\n", ("--column", "fone"), "phone"),
    ],
)
def test_a_file_that_does_not_tell_enough_is_asked_about(
    shardpost: Shardpost,
    data: Path,
    tmp_path: Path,
    content: str,
    options: tuple[str, ...],
    hint: str,
) -> None:
    file = tmp_path / "stops.csv"
    file.write_text(content)
    answer = shardpost("suppress", "import", file, *options, "--data", data)
    assert answer.code == 3
    assert hint in answer.refusal


# --- the list -------------------------------------------------------------------------------------


def test_pages_of_the_list_hold_everybody_once(shardpost: Shardpost, data: Path) -> None:
    numbers = [f"+4477009001{n:02}" for n in range(9)]
    shardpost("suppress", "add", *numbers, *SMS, "--data", data)
    shardpost("suppress", "add", "a@example.org", "--channel", "email", "--data", data)
    shardpost("suppress", "add", *numbers, *SMS, "--tenant", "other", "--data", data)
    found: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        page = shardpost("suppress", "list", *SMS, "--limit", 2, *after, "--data", data, "--json")
        found += [one["key"] for one in page.json["suppressions"]]
        if page.json["after"] is None:
            break
        after = ("--after", page.json["after"])
    assert sorted(found) == sorted(suppression_key("default", "sms", one).hex() for one in numbers)


def test_one_can_be_asked_for_by_their_number(shardpost: Shardpost, data: Path) -> None:
    shardpost("suppress", "add", ANNE, *SMS, "--data", data)
    asked = ("suppress", "list", *SMS, "--data", data, "--recipient")
    assert len(shardpost(*asked, ANNE, "--json").json["suppressions"]) == 1
    assert shardpost(*asked, BEN).code == 11


def test_who_asked_is_the_user_of_the_system_if_nobody_says(
    shardpost: Shardpost, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "oscar")
    shardpost("suppress", "add", ANNE, *SMS, "--data", data)
    assert [row.by for row in listed(data, ANNE)] == ["oscar"]


def test_without_a_verb_it_says_which_there_are(shardpost: Shardpost) -> None:
    answer = shardpost("suppress")
    assert answer.code == 2
    assert "import" in answer.out
