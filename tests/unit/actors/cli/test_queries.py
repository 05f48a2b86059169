"""Queries over a data folder that a platform left, with nothing running."""

from pathlib import Path
from typing import Any

import pytest

from cluster.local.platform_lock import PlatformAddress, PlatformLock
from pipeline.instant import later
from pipeline.lane.takeover import GONE
from pipeline.lifecycle import Event, MessageState
from pipeline.message import MessageId
from pipeline.ports import Beat
from tests.support.cli_answer import Fill, Shardpost
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder, owner_of


async def everything(folder: FilledFolder) -> None:
    """Messages in every state that there is so far; some are journaled and no more."""
    await folder.send(await folder.accept(6, group="spring"))
    lost = await folder.accept(2, group="spring")
    await folder.append(lost, Event.CLAIM)
    await folder.append(lost, Event.LOSE_ANSWER, detail="the disk is full")
    await folder.finish()
    await folder.append(await folder.accept(3, group="summer"), Event.CLAIM)  # a crash comes here
    folder.clock.advance(50)
    await folder.accept(4, group="summer", channel="email", recipient="ann{n}@example.com")


@pytest.fixture
def data(fill: Fill) -> Path:
    return fill(everything).path


def counted(**states: int) -> dict[str, int]:
    return {
        state.value: states.get(state.value, 0)
        for state in MessageState
        if state is not MessageState.ACCEPTED
    }


# --- status ---------------------------------------------------------------------------------------


def test_status_tells_books_and_lag(shardpost: Shardpost, data: Path) -> None:
    answer = shardpost("status", "--data", data, "--json")
    assert answer.code == 0
    assert answer.json == {
        "data": str(data),
        "is_running": False,
        "pid": None,
        "dashboard_url": None,
        "accepted": 11,
        "states": counted(sent=6, uncertain=2, claimed=3),
        "lag": 4,
        "oldest_in_lag_at": "2023-11-14T22:13:20.291+00:00",
        "oldest_in_lag_ms": 59_709,
        "lanes": 4,
        "lanes_lagging": 2,
        "owners_alive": 0,
    }


def test_status_of_a_fresh_folder_is_nothing_and_no_error(shardpost: Shardpost, fill: Fill) -> None:
    async def nothing(_: FilledFolder) -> None: ...

    answer = shardpost("status", "--data", fill(nothing).path, "--json")
    assert answer.json["accepted"] == answer.json["lanes"] == answer.json["lag"] == 0
    assert answer.json["oldest_in_lag_at"] is None


def test_status_tells_who_runs_and_which_owners_are_alive(shardpost: Shardpost, fill: Fill) -> None:
    async def beating(folder: FilledFolder) -> None:
        folder.clock.advance(58_000)
        await folder.beat()

    path = fill(beating).path
    assert shardpost("status", "--data", path, "--json").json["owners_alive"] == 0
    lock = PlatformLock.take(path)
    try:
        lock.publish(
            PlatformAddress(
                ray_address="x", namespace="shardpost", dashboard_url="http://here", pid=17
            )
        )
        answer = shardpost("status", "--data", path, "--json").json
        told = shardpost("status", "--data", path).out
    finally:
        lock.release()
    assert (answer["is_running"], answer["pid"], answer["dashboard_url"]) == (
        True,
        17,
        "http://here",
    )
    assert answer["owners_alive"] == 2
    assert "running, process 17, dashboard http://here" in told


def test_an_owner_that_was_silent_is_not_counted_as_alive(shardpost: Shardpost, fill: Fill) -> None:
    async def beating(folder: FilledFolder) -> None:
        await folder.beat()

    path = fill(beating).path
    lock = PlatformLock.take(path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=17))
        answer = shardpost("status", "--data", path, "--json").json
    finally:
        lock.release()
    assert answer["owners_alive"] == 0
    assert answer["dashboard_url"] is None


def test_an_owner_that_said_goodbye_is_not_counted_as_alive(
    shardpost: Shardpost, fill: Fill
) -> None:
    async def leaving(folder: FilledFolder) -> None:
        folder.clock.advance(59_000)
        await folder.beat()
        core = folder.generation.cores[0]
        await (await folder.store()).beat(core, Beat(owner_of(0), "scheduler 0", GONE))

    path = fill(leaving).path
    lock = PlatformLock.take(path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=17))
        answer = shardpost("status", "--data", path, "--json").json
    finally:
        lock.release()
    assert answer["owners_alive"] == 1


def test_the_folder_may_be_named_by_a_variable(
    shardpost: Shardpost, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDPOST_DATA", str(data))
    assert shardpost("status", "--json").json["data"] == str(data)


# --- lanes ----------------------------------------------------------------------------------------


def test_lanes_tells_of_each_who_owns_it_and_how_far_it_came(
    shardpost: Shardpost, data: Path
) -> None:
    lanes = shardpost("lanes", "--data", data, "--json").json["lanes"]
    assert [(lane["node"], lane["core"], lane["channel"]) for lane in lanes] == [
        ("n1", 0, "email"),
        ("n1", 0, "sms"),
        ("n1", 1, "email"),
        ("n1", 1, "sms"),
    ]
    sms, email = lanes[1], lanes[0]
    assert (sms["epoch"], sms["lag"], sms["generation"]) == (1, 0, 1)
    assert sms["owner"].startswith(b"platfm".hex())
    assert sms["offset_at"] == "2023-11-14T22:13:20.238+00:00"
    # Its offset is that of a lane which nobody has opened: 3 s before the generation.
    assert (email["epoch"], email["owner"]) == (None, None)
    assert email["offset_at"] == "2023-11-14T22:13:17.000+00:00"
    assert email["entries_unretired"] == 0
    assert sum(lane["lag"] for lane in lanes) == 4
    assert {lane["lane"] for lane in lanes} >= {"1.n1.0.sms.bulk-2"}


def test_lanes_for_a_person_names_the_end_of_an_owner(shardpost: Shardpost, data: Path) -> None:
    told = shardpost("lanes", "--data", data).out
    assert told.splitlines()[0].split() == [
        *("node", "core", "channel", "band", "epoch", "owner"),
        *("offset", "lag", "un-retired"),
    ]
    assert "…00000000" in told


# --- group ----------------------------------------------------------------------------------------


def test_group_counts_what_is_journaled_and_not_yet_in_the_books(
    shardpost: Shardpost, data: Path
) -> None:
    answer = shardpost("group", "summer", "--data", data, "--json")
    assert answer.json == {
        "tenant": "default",
        "group": "summer",
        "accepted": 3,
        "states": counted(claimed=3),
        "lag": 4,
        "open": 3,
        "submitted": 7,
        "closes": True,
    }
    spring = shardpost("group", "spring", "--data", data, "--json").json
    assert (spring["accepted"], spring["lag"], spring["open"]) == (8, 0, 0)
    assert spring["states"] == counted(sent=6, uncertain=2)


def test_a_group_whose_books_lost_a_message_does_not_close(
    shardpost: Shardpost, fill: Fill
) -> None:
    async def lossy(folder: FilledFolder) -> None:
        ids = await folder.accept(5, group="spring")
        await folder.send(ids)
        core = folder.core_of(ids[0])
        await folder.close()
        assert folder.damage(core, "DELETE FROM books WHERE book = 'group:default/spring'")

    path = fill(lossy).path
    assert shardpost("group", "spring", "--data", path, "--json").json["closes"] is False
    assert (
        "books close     NO: 5 were submitted" in shardpost("group", "spring", "--data", path).out
    )


def test_a_group_that_counts_below_zero_does_not_close(shardpost: Shardpost, fill: Fill) -> None:
    async def negative(folder: FilledFolder) -> None:
        ids = await folder.accept(2, group="spring")
        await folder.send(ids)
        await folder.close()
        for core in folder.generation.cores:
            folder.damage(core, "DELETE FROM books WHERE book = 'group:default/spring'")
        folder.damage(
            folder.core_of(ids[0]),
            "INSERT INTO books SELECT 'group:default/spring', lane, 99,"
            ' CAST(\'{"sent":3,"claimed":-1}\' AS BLOB) FROM lanes',
        )

    path = fill(negative).path
    assert shardpost("group", "spring", "--data", path, "--json").json["closes"] is False


def test_a_group_of_old_messages_is_not_said_to_be_broken(
    shardpost: Shardpost, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def old(folder: FilledFolder) -> None:
        await folder.send(await folder.accept(2, group="spring"))
        await folder.close()
        for core in folder.generation.cores:
            if folder.folder.core_path(core).exists():
                folder.damage(core, "DELETE FROM buffer")

    path = fill(old).path
    assert shardpost("group", "spring", "--data", path, "--json").json["closes"] is False
    monkeypatch.setenv("SHARDPOST_WINDOWS__BUFFER_TTL_MS", "300000")
    monkeypatch.setenv("SHARDPOST_WINDOWS__VALIDITY_MS_MAX", "1000")
    monkeypatch.setattr(
        "cluster.runtime.clock.SystemClock.now", lambda _self: 1_700_000_400_000_000
    )
    assert shardpost("group", "spring", "--data", path, "--json").json["closes"] is None
    assert "not provable" in shardpost("group", "spring", "--data", path).out


def test_a_group_of_old_messages_whose_books_lost_some_does_not_close(
    shardpost: Shardpost, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def old(folder: FilledFolder) -> None:
        ids = await folder.accept(2, group="spring")
        await folder.send(ids)
        await folder.close()
        folder.damage(folder.core_of(ids[0]), "DELETE FROM books")

    path = fill(old).path
    now = later(NOW, 8 * 86_400_000)
    monkeypatch.setattr("cluster.runtime.clock.SystemClock.now", lambda _self: now)
    assert shardpost("group", "spring", "--data", path, "--json").json["closes"] is False


def test_a_group_is_not_one_whose_name_begins_alike(shardpost: Shardpost, fill: Fill) -> None:
    async def alike(folder: FilledFolder) -> None:
        await folder.send(await folder.accept(2, group="spring"))
        await folder.send(await folder.accept(3, group="spring-2"))

    path = fill(alike).path
    assert shardpost("group", "spring", "--data", path, "--json").json["accepted"] == 2


def test_a_group_of_another_tenant_is_not_found(shardpost: Shardpost, data: Path) -> None:
    answer = shardpost("group", "spring", "--tenant", "other", "--data", data)
    assert answer.code == 11
    assert "'spring' of the tenant 'other'" in answer.refusal


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
            row: Any = (id_, id_, message.born, 1, message.group)
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
    }


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
