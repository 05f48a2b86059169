from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.local import disk_room
from cluster.local.store import LocalStore
from pipeline.errors import StoreUnavailable
from pipeline.lifecycle import Event, step_of
from pipeline.limits import DISK_FREE_BYTES_MIN, DISK_LOOK_INTERVAL_MS
from pipeline.message import PartitionKey
from pipeline.ports import BookCell, IdempotencyRow
from tests.contract.commands import cancel
from tests.contract.store_under_test import (
    BORN,
    OWNER_A,
    Rows,
    buffer_entry,
    keys_of,
    message_row,
)
from tests.contract.timers import timer
from tests.support.local_data import LocalData

CLAIM = step_of(attempt=1, try_no=1, event=Event.CLAIM)


class Disk:
    def __init__(self) -> None:
        self.free = DISK_FREE_BYTES_MIN
        self.looks = 0

    def free_bytes(self, _folder: Path) -> int:
        self.looks += 1
        return self.free


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(disk_room, "free_bytes", disk.free_bytes)
    return disk


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[LocalData]:
    data = LocalData(tmp_path / "data")
    yield data
    await data.close()


@pytest.fixture
async def store(disk: Disk, data: LocalData) -> LocalStore:
    return await data.open()


@pytest.fixture
def rows(data: LocalData) -> Rows:
    return Rows(data.generation, data.generation.cores[0])


async def test_below_the_mark_nothing_is_accepted_and_what_was_is_carried_on(
    store: LocalStore, disk: Disk, rows: Rows
) -> None:
    disk.free -= 1
    lane, [id_] = rows.lane(), rows.ids(1)
    for accept in (
        store.put_idempotency([IdempotencyRow(id_, id_, BORN)]),
        store.write_messages(rows.core, [message_row(id_)]),
        store.write_commands(lane, [cancel(id_)]),
    ):
        with pytest.raises(StoreUnavailable, match="disk nearly full: 511 MiB are free"):
            await accept
    await store.announce_lane(lane)
    assert await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
    assert await store.append(lane, 0, epoch=1, seq=0, body=b"outcomes")
    await store.project(rows.core, [(id_, PartitionKey(id_), CLAIM, BORN, "")])
    await store.write_books(lane, [BookCell("group:acme/", 0, b"")])
    # Retries of what was accepted: an outcome is journaled after its retry was written.
    await store.write_timers(lane, [timer(id_, attempt=2)])
    await store.write_buffer(lane, [buffer_entry(id_, attempt=2)])
    assert await store.read_bodies(rows.core, keys_of([id_])) == {}


async def test_it_is_accepted_again_when_there_is_room(
    data: LocalData, store: LocalStore, disk: Disk, rows: Rows
) -> None:
    disk.free -= 1
    written = [message_row(id_) for id_ in rows.ids(1)]
    with pytest.raises(StoreUnavailable):
        await store.write_messages(rows.core, written)
    disk.free += 1
    data.clock.advance(DISK_LOOK_INTERVAL_MS)
    await store.write_messages(rows.core, written)


async def test_the_disk_is_looked_at_now_and_then_only(
    data: LocalData, store: LocalStore, disk: Disk, rows: Rows
) -> None:
    for _ in range(20):
        await store.write_messages(rows.core, [message_row(id_) for id_ in rows.ids(1)])
        data.clock.advance(DISK_LOOK_INTERVAL_MS // 10)
    assert disk.looks == 2
    data.clock.step_wall(-86_400_000)
    data.clock.advance(DISK_LOOK_INTERVAL_MS)
    await store.write_messages(rows.core, [message_row(id_) for id_ in rows.ids(1)])
    assert disk.looks == 3


async def test_a_disk_that_cannot_be_asked_is_no_disk_to_accept_on(
    data: LocalData, store: LocalStore, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write_messages(rows.core, [message_row(id_) for id_ in rows.ids(1)])
    data.clock.advance(DISK_LOOK_INTERVAL_MS)

    def gone(_folder: Path) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk_room, "free_bytes", gone)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            await store.write_messages(rows.core, [message_row(id_) for id_ in rows.ids(1)])


def test_the_real_disk_has_room(tmp_path: Path) -> None:
    assert disk_room.free_bytes(tmp_path) > 0
