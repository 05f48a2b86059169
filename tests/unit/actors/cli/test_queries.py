"""Queries over a data folder that a platform left, with nothing running."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.local.platform_lock import PlatformAddress, PlatformLock
from pipeline.instant import later
from pipeline.lane.takeover import GONE
from pipeline.lifecycle import Event, MessageState
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import Beat
from tests.support.cli_answer import Fill, Shardpost
from tests.support.everything import everything
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder, owner_of


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
        "not_due": 0,
        "oldest_in_lag_at": "2023-11-14T22:13:20.291+00:00",
        "oldest_in_lag_ms": 59_709,
        "lanes": 4,
        "lanes_lagging": 2,
        "rows_missed": 0,
        "lanes_set_aside": [],
        "owners_alive": 0,
        "troubles": [],
        "warnings": [],
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
        "scheduled": 0,
        "not_due": 0,
        "closes": True,
    }
    spring = shardpost("group", "spring", "--data", data, "--json").json
    assert (spring["accepted"], spring["lag"], spring["open"]) == (8, 0, 0)
    assert spring["states"] == counted(sent=6, uncertain=2)


async def schedule(folder: FilledFolder, ids: Sequence[MessageId]) -> None:
    """Let messages have a timer for their first attempt."""
    store = await folder.store()
    for id_ in ids:
        message = folder.messages[id_]
        row = (later(NOW, 10**9), id_, PartitionKey(id_), message.born, 1, message.group)
        await store.write_timers(message.lane, [row])


def test_a_group_that_waits_in_timers_is_known_and_not_said_to_be_broken(
    shardpost: Shardpost, fill: Fill
) -> None:
    async def scheduled(folder: FilledFolder) -> None:
        await schedule(folder, await folder.accept(3, group="spring", is_buffered=False))
        cancelled = await folder.accept(1, group="spring", is_buffered=False)
        await schedule(folder, cancelled)
        await folder.append(cancelled, Event.CANCEL)
        await folder.finish()

    path = fill(scheduled).path
    told = shardpost("group", "spring", "--data", path, "--json").json
    assert (told["accepted"], told["lag"]) == (1, 0)
    assert (told["scheduled"], told["not_due"]) == (4, 3)
    assert told["closes"] is True
    assert "wait for their time  3\n" in shardpost("group", "spring", "--data", path).out
    assert "not due yet   3\n" in shardpost("status", "--data", path).out


def test_a_group_that_lost_one_of_those_that_were_scheduled_does_not_close(
    shardpost: Shardpost, fill: Fill
) -> None:
    async def lossy(folder: FilledFolder) -> None:
        ids = await folder.accept(3, group="spring", is_buffered=False)
        await schedule(folder, ids)
        await folder.append(ids[:1], Event.CANCEL)
        await folder.finish()
        core = folder.core_of(ids[0])
        await folder.close()
        assert folder.damage(core, "DELETE FROM books WHERE book = 'group:default/spring'")

    path = fill(lossy).path
    assert shardpost("group", "spring", "--data", path, "--json").json["closes"] is False


def test_what_was_scheduled_and_sent_closes(shardpost: Shardpost, fill: Fill) -> None:
    async def sent(folder: FilledFolder) -> None:
        ids = await folder.accept(2, group="spring", is_buffered=False)
        await schedule(folder, ids)
        await folder.send(ids)

    path = fill(sent).path
    assert shardpost("group", "spring", "--data", path, "--json").json["closes"] is True


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
