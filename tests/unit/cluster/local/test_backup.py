import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.local.backup import BACKUP_FILE, back_up, restore
from cluster.local.data_folder import DataFolder
from cluster.local.queries import LocalQueries
from cluster.local.store import LocalStore
from pipeline.errors import DataFolderUnusable, StoreUnavailable
from pipeline.instant import Instant, later
from tests.contract.store_under_test import (
    OWNER_A,
    Rows,
    buffer_entry,
    keys_of,
    message_row,
    read_all,
)
from tests.support.local_data import WINDOWS, LocalData


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[LocalData]:
    data = LocalData(tmp_path / "data")
    yield data
    await data.close()


@pytest.fixture
def rows(data: LocalData) -> Rows:
    return Rows(data.generation, data.generation.cores[0])


def opened(data: LocalData, folder: Path) -> LocalStore:
    return LocalStore.open(folder, cores=None, clock=data.clock, windows=WINDOWS)


async def accept(store: LocalStore, rows: Rows, count: int) -> None:
    ids = rows.ids(count)
    await store.announce_lane(rows.lane())
    await store.write_messages(rows.core, [message_row(i) for i in ids])
    await store.write_buffer(rows.lane(), [buffer_entry(i) for i in ids])


async def test_what_was_there_is_there_again_and_says_since_when(
    data: LocalData, rows: Rows, tmp_path: Path
) -> None:
    store = await data.open()
    await accept(store, rows, 5)
    await store.open_segment(rows.lane(), 0, epoch=7, owner=OWNER_A)
    expected = await read_all(store, rows.lane())
    taken = back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    assert taken.length_bytes == sum(
        (tmp_path / "copy" / name).stat().st_size
        for name in os.listdir(tmp_path / "copy")
        if name.endswith(".db")
    )
    await accept(store, rows, 3)
    data.clock.advance(60_000)
    folder = restore(tmp_path / "copy", tmp_path / "restored", now=data.clock.now())
    assert folder.restored_at == data.clock.now()
    assert folder.generation == data.generation
    restored = opened(data, folder.path)
    assert await read_all(restored, rows.lane()) == expected
    ids = [row[1] for row in expected]
    assert len(await restored.read_bodies(rows.core, keys_of(ids))) == 5
    ownership = await restored.read_ownership(rows.lane(), 0)
    assert ownership is not None
    assert ownership.epoch == 7
    queries = LocalQueries(folder)
    assert await restored.read_restored_at() == folder.restored_at
    assert await queries.read_restored_at() == folder.restored_at
    assert await store.read_restored_at() is None
    await queries.close()
    await restored.close()


@pytest.mark.parametrize("clock_ms", [60_000, -86_400_000], ids=["clock", "clock set back"])
async def test_every_row_of_the_backup_lies_before_that_instant_and_every_new_one_after(
    data: LocalData, rows: Rows, tmp_path: Path, clock_ms: int
) -> None:
    store = await data.open()
    await accept(store, rows, 5)
    back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    data.clock.step_wall(clock_ms)
    folder = restore(tmp_path / "copy", tmp_path / "restored", now=data.clock.now())
    data.clock.step_wall(-30_000)
    restored = opened(data, folder.path)
    await accept(restored, rows, 2)
    ats = [row[0] for row in await read_all(restored, rows.lane())]
    assert folder.restored_at is not None
    assert [at <= folder.restored_at for at in ats] == [True] * 5 + [False] * 2
    await restored.close()


async def test_the_operator_may_say_that_nothing_was_sent_since(
    data: LocalData, rows: Rows, tmp_path: Path
) -> None:
    await accept(await data.open(), rows, 1)
    back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    trusted = restore(
        tmp_path / "copy", tmp_path / "trusted", now=data.clock.now(), is_nothing_sent_since=True
    )
    assert trusted.restored_at is None
    # But not that nothing was sent after a backup before that.
    held = restore(tmp_path / "copy", tmp_path / "held", now=data.clock.now())
    back_up(held, tmp_path / "second", now=data.clock.now())
    again = restore(
        tmp_path / "second",
        tmp_path / "again",
        now=later(data.clock.now(), 1_000),
        is_nothing_sent_since=True,
    )
    assert again.restored_at == held.restored_at


async def test_a_backup_that_is_taken_while_others_write_has_whole_writes_and_no_gap(
    data: LocalData, rows: Rows, tmp_path: Path
) -> None:
    store, lane = await data.open(), rows.lane()
    await store.announce_lane(lane)

    async def write_on() -> None:
        for _ in range(60):
            await store.write_buffer(lane, [buffer_entry(i) for i in rows.ids(20)])

    writing = asyncio.create_task(write_on())
    await asyncio.sleep(0)
    copies = 0
    while not writing.done():
        copy = tmp_path / f"copy-{copies}"
        await asyncio.to_thread(back_up, data.folder, copy, now=data.clock.now())
        copies += 1
    everything = await read_all(store, lane)
    for number in range(copies):
        folder = restore(
            tmp_path / f"copy-{number}", tmp_path / f"restored-{number}", now=data.clock.now()
        )
        restored = opened(data, folder.path)
        found = await read_all(restored, lane)
        assert len(found) % 20 == 0
        assert found == everything[: len(found)]
        await restored.close()
    assert copies


async def test_a_backup_is_no_data_folder(data: LocalData, rows: Rows, tmp_path: Path) -> None:
    await accept(await data.open(), rows, 1)
    back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    with pytest.raises(DataFolderUnusable, match="is no data folder"):
        DataFolder.open(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0


async def test_nothing_is_written_over(data: LocalData, rows: Rows, tmp_path: Path) -> None:
    await accept(await data.open(), rows, 1)
    back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    with pytest.raises(DataFolderUnusable, match="name an empty folder"):
        back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    with pytest.raises(DataFolderUnusable, match="name an empty folder"):
        restore(tmp_path / "copy", data.folder.path, now=data.clock.now())


async def test_a_backup_that_is_not_whole_is_not_restored(
    data: LocalData, rows: Rows, tmp_path: Path
) -> None:
    await accept(await data.open(), rows, 1)
    now, copy = data.clock.now(), tmp_path / "copy"
    back_up(data.folder, copy, now=now)
    content, core = (copy / BACKUP_FILE).read_bytes(), copy / data.folder.core_path(rows.core).name
    stored = core.read_bytes()

    def refused(match: str, target: str) -> None:
        with pytest.raises(DataFolderUnusable, match=match):
            restore(copy, tmp_path / target, now=now)
        assert not (tmp_path / target / "format.json").exists()

    (copy / BACKUP_FILE).unlink()
    refused("not finished", "1")
    (copy / BACKUP_FILE).write_bytes(content[:-5])
    refused("damaged", "2")
    newer = json.loads(content)
    newer["folder"]["format"] = 99
    (copy / BACKUP_FILE).write_text(json.dumps(newer))
    refused("has format 99", "3")
    (copy / BACKUP_FILE).write_bytes(content)
    core.write_bytes(stored[: len(stored) // 2])
    refused("damaged", "4")
    core.unlink()
    refused("is missing", "5")
    core.write_bytes(stored)
    assert restore(copy, tmp_path / "6", now=now).restored_at is not None


async def test_a_file_that_is_damaged_is_not_copied_in_silence(
    data: LocalData, rows: Rows, tmp_path: Path
) -> None:
    await accept(await data.open(), rows, 2_000)
    await data.close()
    path = data.folder.core_path(rows.core)
    stored = bytearray(path.read_bytes())
    stored[8_192:40_960] = bytes(range(256)) * 128
    path.write_bytes(stored)
    with pytest.raises(StoreUnavailable, match="restore it from a copy"):
        back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    assert not (tmp_path / "copy" / BACKUP_FILE).exists()


async def test_a_folder_of_the_format_before_opens_as_never_restored(data: LocalData) -> None:
    file = data.folder.path / "format.json"
    stored = json.loads(file.read_text())
    assert stored["format"] == 2
    file.write_text(json.dumps({"format": 1, "generation": stored["generation"]}))
    folder = DataFolder.open(data.folder.path)
    assert folder.restored_at is None
    assert folder.generation == data.generation
    assert folder.at_min == Instant(data.generation.starts_at)


async def test_a_file_whose_maker_died_before_it_had_tables_is_left_out(
    data: LocalData, rows: Rows, tmp_path: Path
) -> None:
    await accept(await data.open(), rows, 1)
    begun = data.folder.core_path(data.generation.cores[1])
    begun.touch()
    back_up(data.folder, tmp_path / "copy", now=data.clock.now())
    folder = restore(tmp_path / "copy", tmp_path / "restored", now=data.clock.now())
    restored = opened(data, folder.path)
    assert len(await read_all(restored, rows.lane())) == 1
    await accept(restored, Rows(data.generation, data.generation.cores[1]), 1)
    await restored.close()
