"""A file that an older release made is brought to what it lacks, once, and loses nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cluster.local import schema
from cluster.local.core_snapshot import open_snapshot
from cluster.local.inspection import LocalInspection
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import EditionKey, EditionRow
from pipeline.message import PartitionKey, TimerRow
from tests.contract.store_under_test import (
    EVER,
    NEVER,
    Rows,
    buffer_entry,
    make_body,
    message_row,
    read_all,
)
from tests.support.fake_clock import NOW
from tests.support.local_data import LocalData


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return schema.schema_version(connection)


@pytest.fixture
async def made_by_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalData:
    data = LocalData(tmp_path / "data")
    rows = Rows(data.generation, data.generation.cores[0])
    path = data.folder.core_path(rows.core)
    with monkeypatch.context() as older:
        older.setattr(schema, "SCHEMA_VERSION", 1)
        older.setattr(schema, "_SCHEMA_2", "")
        older.setattr(schema, "_SCHEMA_3", "")
        older.setattr(schema, "_SCHEMA_4", "")
        older.setattr(schema, "_SCHEMA_5", "")
        store = await data.open()
        await store.announce_lane(rows.lane())
        [id_] = rows.ids(1)
        await store.write_messages(rows.core, [message_row(id_)])
        await store.write_buffer(rows.lane(), [buffer_entry(id_)])
        await data.close()
    assert version_of(path) == 1
    return data


@pytest.mark.parametrize("is_read_first", [True, False], ids=["read first", "written first"])
async def test_what_it_holds_is_there_and_what_is_new_can_be_written(
    made_by_version_1: LocalData, is_read_first: bool
) -> None:
    data = made_by_version_1
    rows = Rows(data.generation, data.generation.cores[0])
    [id_] = rows.ids(1)
    store, lane = await data.open(), rows.lane()
    if is_read_first:
        page = await store.read_timers(lane, from_due=NEVER, through_due=EVER, limit=1, resume=None)
        assert page.rows == []
    timer: TimerRow = (NOW, id_, PartitionKey(id_), NOW, 1, "acme/")
    await store.write_timers(lane, [timer])
    page = await store.read_timers(lane, from_due=NEVER, through_due=EVER, limit=1, resume=None)
    assert page.rows == [timer]
    assert [row[1] for row in await read_all(store, lane)] == [id_]
    assert version_of(data.folder.core_path(rows.core)) == schema.SCHEMA_VERSION
    await data.close()


async def test_queries_answer_and_leave_it_as_it_is(made_by_version_1: LocalData) -> None:
    data = made_by_version_1
    rows = Rows(data.generation, data.generation.cores[0])
    [id_] = rows.ids(1)
    queries = LocalInspection(data.folder)
    lane: LaneId = rows.lane()
    assert await queries.timers_of(lane, id_) == []
    assert await queries.count_timers(lane, from_due=NEVER) == {}
    assert (await queries.trace(rows.ids(1)[0])) is None
    assert (await queries.trace(id_)) is not None
    await queries.close()
    path = data.folder.core_path(rows.core)
    with open_snapshot(path) as view:
        assert view.used_lanes() == {str(lane)}
        assert list(view.timers(str(lane))) == []
    assert version_of(path) == 1


async def test_an_edit_of_an_older_release_counts_and_is_followed_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LocalData(tmp_path / "data")
    rows = Rows(data.generation, data.generation.cores[0])
    [id_] = rows.ids(1)
    with monkeypatch.context() as older:
        older.setattr(schema, "SCHEMA_VERSION", 4)
        older.setattr(schema, "_SCHEMA_5", "")
        store = await data.open()
        await store.write_messages(rows.core, [message_row(id_)])
        await data.close()
    with closing(sqlite3.connect(data.folder.core_path(rows.core))) as connection, connection:
        old = (id_, NOW, make_body("of the older release"))
        connection.execute("INSERT INTO editions (id, at, body) VALUES (?, ?, ?)", old)
    store = await data.open()
    keys = [(PartitionKey(id_), id_)]
    assert await store.read_bodies(rows.core, keys) == {id_: make_body("of the older release")}
    key = EditionKey(id_, PartitionKey(id_), Instant(NOW + 1))
    await store.write_editions(rows.core, [EditionRow(*key, make_body("newer"))])
    await store.confirm_editions(rows.core, [key])
    assert await store.read_bodies(rows.core, keys) == {id_: make_body("newer")}
    await data.close()
