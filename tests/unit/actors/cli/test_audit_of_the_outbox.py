"""The audit finds every line that the store does not answer for, and every one that lacks."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.lifecycle import Event
from tests.support.broken_folder import COUNT, Broken, kinds
from tests.support.cli_answer import Answer, Shardpost
from tests.support.filled_folder import FilledFolder


def test_a_line_that_is_there_twice_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    broken.write_lines([*broken.lines(), broken.line_of_victim()])
    answer = audit()
    assert kinds(answer) == {"line_twice": 1}
    assert answer.json["findings"][0]["id"] == broken.victim.hex()


def test_a_sent_message_without_a_line_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    victim = broken.line_of_victim()
    broken.write_lines([line for line in broken.lines() if line != victim])
    answer = audit()
    assert kinds(answer) == {"line_missing": 1}
    assert answer.json["findings"][0]["id"] == broken.victim.hex()


def test_a_line_of_a_message_that_nobody_accepted_is_found(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    stranger = broken.line_of_victim().replace(broken.victim.hex().encode(), b"ab" * 16)
    broken.write_lines([*broken.lines(), stranger])
    answer = audit()
    assert kinds(answer) == {"line_unknown": 1}
    assert answer.json["findings"][0]["id"] == "ab" * 16


@pytest.mark.parametrize("event", [None, Event.EXPIRE, Event.NOT_SENT])
def test_a_line_of_a_message_that_was_not_handed_over_is_found(
    shardpost: Shardpost, tmp_path: Path, event: Event | None
) -> None:
    async def write_too_much() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            ids = await folder.accept(1)
            if event is Event.NOT_SENT:
                await folder.append(ids, Event.CLAIM)
            if event is not None:
                await folder.append(ids, event)
                await folder.project()
                await folder.write_books()
            folder.write_lines(ids)
        finally:
            await folder.close()

    asyncio.run(write_too_much())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == {"line_unclaimed": 1}


@pytest.mark.parametrize(
    "end",
    [
        b'{"mess',
        b'{"message_id":"00ff',
        b'{"message_id":"',
        b"{",
        b"\0\0\n",
        b'{"message_id":"0\0\n',
    ],
)
def test_a_line_that_ends_too_early_is_said_and_tolerated(
    audit: Callable[..., Answer], broken: Broken, end: bytes
) -> None:
    broken.write_lines([*broken.lines(), end])
    answer = audit()
    assert kinds(answer) == {}
    assert answer.json["lines_torn"] == 1


def test_a_whole_line_without_its_end_is_no_hand_over(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    broken.write_lines([*broken.lines()[:-1], broken.lines()[-1].rstrip(b"\n")])
    answer = audit()
    assert kinds(answer) == {"line_missing": 1}
    assert answer.json["lines_torn"] == 1


@pytest.mark.parametrize(
    "line",
    [b"hello\n", b'{"message_id":"zz","metadata":{}}\n', b"x" * 3_000_000 + b"\n"],
)
def test_a_line_that_is_none_of_ours_is_found(
    audit: Callable[..., Answer], broken: Broken, line: bytes
) -> None:
    broken.write_lines([line, *broken.lines()])
    answer = audit()
    assert kinds(answer) == {"line_unreadable": 1}
    assert "line 1" in answer.json["findings"][0]["detail"]


def test_a_file_that_is_no_lane_s_is_found(audit: Callable[..., Answer], broken: Broken) -> None:
    (broken.path / "outbox" / "sms" / "notes.txt").write_text("hello")
    (broken.path / "outbox" / "sms" / "1.n9.0.sms.bulk-2.jsonl").write_text("")
    assert kinds(audit()) == {"line_unreadable": 2}


def test_lines_of_a_core_that_holds_nothing_are_found(shardpost: Shardpost, tmp_path: Path) -> None:
    async def nothing() -> None:
        folder = FilledFolder(tmp_path / "data")
        file = folder.path / "outbox" / "sms" / "1.n1.0.sms.bulk-2.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text("{}")

    asyncio.run(nothing())
    answer = shardpost("audit", "--data", tmp_path / "data", "--json")
    assert kinds(answer) == {"line_unknown": 1}


def test_another_outbox_may_be_named_or_none_compared(
    audit: Callable[..., Answer], broken: Broken, tmp_path: Path
) -> None:
    (broken.path / "outbox").rename(tmp_path / "elsewhere")
    assert audit().json["lines"] is None
    assert audit("--outbox", tmp_path / "elsewhere").json["lines"] == COUNT
    broken.path.joinpath("outbox").mkdir()
    assert kinds(audit()) == {"line_missing": COUNT}
    assert audit("--no-outbox").json["lines"] is None
    answer = audit("--outbox", tmp_path / "nope")
    assert answer.code == 3
    assert "there is no such folder" in answer.refusal


# --- lines that were taken away -------------------------------------------------------------------


def test_lines_that_were_taken_away_are_missed_until_their_place_is_named(
    audit: Callable[..., Answer], broken: Broken, tmp_path: Path
) -> None:
    taken = tmp_path / "archive" / "today" / f"{broken.lines_file.name}.2026-11-22"
    taken.parent.mkdir(parents=True)
    count = len(broken.lines())
    broken.lines_file.rename(taken)
    answer = audit()
    assert kinds(answer) == {"line_missing": count}
    both = ["--outbox", broken.path / "outbox", "--outbox", tmp_path / "archive"]
    answer = audit(*both)
    assert (answer.code, answer.json["lines"]) == (0, COUNT)
    with taken.open("ab") as file:
        file.write(taken.read_bytes().splitlines(keepends=True)[0])
    assert kinds(audit(*both)) == {"line_twice": 1}


def test_a_file_that_two_places_hold_is_read_once(
    audit: Callable[..., Answer], broken: Broken
) -> None:
    outbox = broken.path / "outbox"
    answer = audit("--outbox", outbox, "--outbox", outbox / "sms")
    assert (answer.code, answer.json["lines"]) == (0, COUNT)


def test_every_place_must_be_there(audit: Callable[..., Answer], broken: Broken) -> None:
    answer = audit("--outbox", broken.path / "outbox", "--outbox", broken.path / "nowhere")
    assert answer.code == 3
    assert "nowhere" in answer.refusal


# --- other connectors, and what people ask for ----------------------------------------------------

OTHERS = """
[connectors.file]
kind = "file"
channels = ["sms"]
[connectors.hook]
kind = "webhook"
channels = ["rcs"]
url = "https://hook.example/in"
"""


@pytest.mark.parametrize(("connector", "found"), [("hook", {}), ("", {"line_missing": 1})])
def test_what_another_connector_took_needs_no_line(
    shardpost: Shardpost, tmp_path: Path, connector: str, found: dict[str, int]
) -> None:
    (tmp_path / "shardpost.toml").write_text(OTHERS)

    async def fill_it() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            written, unwritten = [(await folder.accept(1))[0] for _ in range(2)]
            await folder.send([written])
            await folder.append([unwritten], Event.CLAIM, detail=connector)
            await folder.append([unwritten], Event.TAKE)
            await folder.finish()
        finally:
            await folder.close()

    asyncio.run(fill_it())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == found


def test_what_somebody_said_was_sent_needs_no_line(shardpost: Shardpost, tmp_path: Path) -> None:
    async def fill_it() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            await folder.send(await folder.accept(1))
            lost = await folder.accept(1)
            await folder.append(lost, Event.CLAIM)
            await folder.append(lost, Event.LOSE_ANSWER)
            await folder.append(lost, Event.TAKE, detail="resolved by ada: they have it")
            await folder.finish()
        finally:
            await folder.close()

    asyncio.run(fill_it())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == {}


@pytest.mark.parametrize(("lines", "found"), [(2, {}), (3, {"line_twice": 1})])
def test_what_was_sent_again_on_purpose_may_have_as_many_lines(
    shardpost: Shardpost, tmp_path: Path, lines: int, found: dict[str, int]
) -> None:
    async def fill_it() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            ids = await folder.accept(1)
            await folder.append(ids, Event.CLAIM)
            await folder.append(ids, Event.LOSE_ANSWER)
            await folder.append(ids, Event.DEFER, detail="resent by ada: they have not")
            await folder.append(ids, Event.CLAIM)
            await folder.append(ids, Event.TAKE)
            await folder.finish()
            folder.write_lines(ids * lines)
        finally:
            await folder.close()

    asyncio.run(fill_it())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == found


@pytest.mark.parametrize(
    ("sent", "key", "resent", "found"),
    [
        pytest.param([0, 1, 2], "order 7", [], {}, id="in order"),
        pytest.param([0, 2, 1], "order 7", [], {"line_out_of_order": 1}, id="out of order"),
        pytest.param([2, 1, 0], "order 7", [], {"line_out_of_order": 2}, id="the wrong way round"),
        pytest.param([2, 0, 1], "", [], {}, id="without a key"),
        pytest.param([0, 2, 1], "order 7", [1], {}, id="sent again by somebody"),
    ],
)
def test_what_left_out_of_the_order_of_its_key_is_found(
    shardpost: Shardpost,
    tmp_path: Path,
    sent: list[int],
    key: str,
    resent: list[int],
    found: dict[str, int],
) -> None:
    async def fill_it() -> None:
        folder = FilledFolder(tmp_path / "data")
        try:
            ids = [(await folder.accept(1, ordering_key=key))[0] for _ in range(3)]
            for n in sent:
                if n in resent:
                    await folder.append([ids[n]], Event.CLAIM)
                    await folder.append([ids[n]], Event.LOSE_ANSWER)
                    await folder.append([ids[n]], Event.DEFER, detail="sent again by ada")
                await folder.send([ids[n]])
            await folder.finish()
        finally:
            await folder.close()

    asyncio.run(fill_it())
    assert kinds(shardpost("audit", "--data", tmp_path / "data", "--json")) == found
