"""Messages listed and traced, over a data folder that a platform left."""

from pathlib import Path
from typing import Any

import pytest

from actors.receipt_desk import ReceiptDesk
from pipeline.instant import later
from pipeline.lifecycle import Event
from pipeline.message import MessageId, PartitionKey
from pipeline.route.receipts import Word, owner_row, provider_row
from tests.support.cli_answer import Fill, Shardpost
from tests.support.everything import everything
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder


@pytest.fixture
def data(fill: Fill) -> Path:
    return fill(everything).path


# --- messages -------------------------------------------------------------------------------------


def ids_of(answer: Any) -> list[str]:
    return [one["id"] for one in answer["messages"]]


@pytest.mark.parametrize(
    ("state", "count"), [("sent", 6), ("uncertain", 2), ("accepted", 4), ("failed", 0)]
)
def test_messages_lists_those_in_a_state(
    shardpost: Shardpost, data: Path, state: str, count: int
) -> None:
    answer = shardpost("messages", "--state", state, "--data", data, "--json").json
    assert len(answer["messages"]) == count
    assert {one["state"] for one in answer["messages"]} <= {state}
    assert answer["after"] is None


@pytest.mark.parametrize(
    "asked", [("--state", "sent"), ("--state", "accepted"), ("--group", "spring")]
)
def test_pages_hold_every_message_once(
    shardpost: Shardpost, data: Path, asked: tuple[str, str]
) -> None:
    whole = ids_of(shardpost("messages", *asked, "--data", data, "--json").json)
    found: list[str] = []
    after: tuple[str, ...] = ()
    pages = 0
    while True:
        page = shardpost("messages", *asked, "--limit", 2, *after, "--data", data, "--json").json
        assert len(page["messages"]) <= 2
        found += ids_of(page)
        pages += 1
        assert pages <= len(whole) + 1
        if page["after"] is None:
            break
        after = ("--after", page["after"])
    assert found == whole
    assert len(set(found)) == len(found)
    assert pages >= len(whole) / 2 > 1


@pytest.mark.parametrize(
    ("state", "group", "count"),
    [("uncertain", "spring", 2), ("sent", "spring", 6), ("uncertain", "summer", 0)],
)
def test_messages_of_a_state_and_a_group_are_those_of_both(
    shardpost: Shardpost, data: Path, state: str, group: str, count: int
) -> None:
    asked = ("--state", state, "--group", group, "--data", data, "--json")
    assert len(shardpost("messages", *asked).json["messages"]) == count
    if count:
        page = shardpost("messages", *asked, "--limit", 1).json
        assert len(page["messages"]) == 1
        rest = shardpost("messages", *asked, "--after", page["after"]).json
        assert len(rest["messages"]) == count - 1


def test_recipients_are_masked_unless_asked_for(shardpost: Shardpost, data: Path) -> None:
    asked = ("messages", "--state", "accepted", "--data", data)
    assert "@example.com" in shardpost(*asked).out
    assert "ann0" not in shardpost(*asked).out + shardpost(*asked, "--json").out
    assert "ann0@example.com" in shardpost(*asked, "--show-recipients").out


def test_messages_wants_a_state_or_a_group(shardpost: Shardpost, data: Path) -> None:
    answer = shardpost("messages", "--data", data)
    assert answer.code == 2
    assert "give --state or --group" in answer.refusal


def test_a_message_whose_row_was_written_twice_is_listed_once(
    shardpost: Shardpost, fill: Fill
) -> None:
    async def twice(folder: FilledFolder) -> None:
        for id_ in await folder.accept(3):
            message = folder.messages[id_]
            row: Any = (id_, id_, message.born, 1, 0, message.group)
            await (await folder.store()).write_buffer(message.lane, [row])

    answer = shardpost("messages", "--state", "accepted", "--data", fill(twice).path, "--json")
    assert len(ids_of(answer.json)) == len(set(ids_of(answer.json))) == 3


@pytest.mark.parametrize("cursor", ["zz", "", "0"])
def test_a_cursor_that_is_none_is_refused(shardpost: Shardpost, data: Path, cursor: str) -> None:
    answer = shardpost("messages", "--state", "sent", "--after", cursor, "--data", data)
    assert answer.code == 2
    assert "--after" in answer.refusal


# --- trace ----------------------------------------------------------------------------------------


def one_of(shardpost: Shardpost, data: Path, state: str) -> str:
    return ids_of(shardpost("messages", "--state", state, "--data", data, "--json").json)[0]


def test_trace_tells_every_event_with_its_time(shardpost: Shardpost, data: Path) -> None:
    message_id = one_of(shardpost, data, "uncertain")
    answer = shardpost("trace", message_id, "--data", data, "--json").json
    events = answer.pop("events")
    assert [(e["event"], e["state"], e["attempt"], e["try"], e["detail"]) for e in events] == [
        ("claim", "claimed", 1, 1, "file"),
        ("lose_answer", "uncertain", 1, 1, "the disk is full"),
    ]
    assert [event["since_accepted_us"] for event in events] == [3_000, 3_000]
    assert events[0]["at"] == "2023-11-14T22:13:20.138+00:00"
    lane = answer.pop("lane")
    assert lane.startswith("1.n1.")
    assert answer == {
        "id": message_id,
        "state": "uncertain",
        "tenant": "default",
        "group": "spring",
        "channel": "sms",
        "priority": "bulk",
        "recipient": "+4477•••••" + answer["recipient"][-2:],
        "content": None,
        "metadata": {},
        "accepted_at": "2023-11-14T22:13:20.135+00:00",
        "expires_at": None,
        "due_at": None,
        "window": "",
        "time_zone": "",
        "references": [],
        "receipts": [],
    }


def test_trace_tells_what_the_provider_said_later(shardpost: Shardpost, fill: Fill) -> None:
    ids: list[MessageId] = []

    async def heard(folder: FilledFolder) -> None:
        ids.extend(await folder.accept(2))
        await folder.send(ids)
        desk = ReceiptDesk(await folder.store(), folder.generation)
        await desk.note(
            [
                owner_row(
                    "texts",
                    "sim-7",
                    message_id=ids[0],
                    pk=PartitionKey(ids[0]),
                    lane="1.n1.0.sms.bulk-1",
                    event=Event.TAKE,
                    at=NOW,
                    born=NOW,
                    group="default/spring",
                ),
                provider_row("texts", "sim-7", Word.DELIVER, at=later(NOW, 7), detail="at home"),
                provider_row("texts", "sim-7", Word.TAKE, at=later(NOW, 3), detail="queued"),
                provider_row("texts", "sim-8", Word.TAKE, at=NOW, detail="of another one"),
            ]
        )

    path = fill(heard).path
    answer = shardpost("trace", ids[0].hex(), "--data", path, "--json").json
    assert answer["references"] == ["texts sim-7"]
    assert [(one["said"], one["reference"], one["detail"]) for one in answer["receipts"]] == [
        ("take", "texts sim-7", "queued"),
        ("deliver", "texts sim-7", "at home"),
    ]
    told = shardpost("trace", ids[0].hex(), "--data", path).out
    assert "known as" in told
    assert "at home" in told
    assert "known as" not in shardpost("trace", ids[1].hex(), "--data", path).out


def test_trace_shows_recipient_and_content_only_when_asked(
    shardpost: Shardpost, data: Path
) -> None:
    message_id = one_of(shardpost, data, "sent")
    told = shardpost("trace", message_id, "--data", data).out
    assert "number" not in told
    assert "+447700900" not in told
    told = shardpost("trace", message_id, "--content", "--show-recipients", "--data", data).out
    assert "number" in told
    assert "+447700900" in told


def test_trace_tells_what_is_journaled_before_it_is_projected(
    shardpost: Shardpost, fill: Fill
) -> None:
    ids: list[MessageId] = []

    async def claimed(folder: FilledFolder) -> None:
        ids.extend(await folder.accept(1))
        await folder.append(ids, Event.CLAIM)

    path = fill(claimed).path
    answer = shardpost("trace", ids[0].hex(), "--data", path, "--json").json
    assert answer["state"] == "claimed"
    assert [event["event"] for event in answer["events"]] == ["claim"]


def test_trace_says_so_of_a_message_that_is_in_no_lane(shardpost: Shardpost, fill: Fill) -> None:
    ids: list[MessageId] = []

    async def orphan(folder: FilledFolder) -> None:
        ids.extend(await folder.accept(1, is_buffered=False))

    path = fill(orphan).path
    answer = shardpost("trace", ids[0].hex(), "--data", path, "--json").json
    assert (answer["lane"], answer["state"], answer["events"]) == (None, "accepted", [])
    assert "never told that it is accepted" in shardpost("trace", ids[0].hex(), "--data", path).out


def test_trace_takes_the_beginning_of_an_id_if_only_one_begins_so(
    shardpost: Shardpost, fill: Fill
) -> None:
    ids: list[MessageId] = []

    async def two_batches(folder: FilledFolder) -> None:
        ids.extend(await folder.accept(2))
        ids.extend(await folder.accept(1))

    path = fill(two_batches).path
    lonely, crowded = ids[2].hex(), ids[0].hex()
    for asked in (lonely[:8], lonely[:9], lonely.upper(), f"{lonely[:8]}-{lonely[8:]}"):
        assert shardpost("trace", asked, "--data", path, "--json").json["id"] == lonely
    answer = shardpost("trace", crowded[:12], "--data", path)
    assert answer.code == 3
    assert "more of its digits" in answer.refusal


@pytest.mark.parametrize("asked", ["0123456789", "0" * 32])
def test_an_unknown_id_is_one_line_and_its_own_exit_code(
    shardpost: Shardpost, data: Path, asked: str
) -> None:
    answer = shardpost("trace", asked, "--data", data)
    assert answer.code == 11
    assert asked in answer.refusal


@pytest.mark.parametrize("asked", ["0123456", "0" * 33, "hello world", "+4477"])
def test_what_is_no_id_is_refused(shardpost: Shardpost, data: Path, asked: str) -> None:
    answer = shardpost("trace", asked, "--data", data)
    assert answer.code == 2
    assert answer.refusal.startswith("shardpost trace: ")


def test_contents_cannot_speak_to_the_terminal(shardpost: Shardpost, fill: Fill) -> None:
    ids: list[MessageId] = []

    async def rude(folder: FilledFolder) -> None:
        ids.extend(await folder.accept(1, content="\x1b[2Jgone\nlane  none"))

    told = shardpost("trace", ids_hex(ids, fill, rude), "--content", "--data", "data").out
    assert "\x1b" not in told
    assert "\\x1b[2Jgone\\nlane  none" in told


def ids_hex(ids: list[MessageId], fill: Fill, filling: Any) -> str:
    fill(filling)
    return ids[0].hex()
