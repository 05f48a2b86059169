import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.local.core_file import CoreFile
from cluster.local.errand import Errand
from cluster.local.reader import Reader
from cluster.local.schema import connect, connect_to_read
from pipeline.errors import StoreUnavailable
from tests.support.fake_clock import FakeClock


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[CoreFile]:
    file = CoreFile(tmp_path / "n1-0.db", clock=FakeClock())
    yield file
    await file.close()


def lanes(connection: sqlite3.Connection) -> list[str]:
    return [lane for (lane,) in connection.execute("SELECT lane FROM lanes ORDER BY lane")]


async def note(file: CoreFile, lane: str) -> None:
    await file.writer.write(
        lambda transaction: (
            transaction.connection.execute("INSERT INTO lanes VALUES (?, 1)", (lane,)).rowcount
        )
    )


async def test_a_file_that_nobody_wrote_is_empty(file: CoreFile) -> None:
    assert await file.reader.read(lanes) == []


async def test_a_read_sees_every_commit_before_it(file: CoreFile) -> None:
    for n in range(5):
        await note(file, f"{n}")
        assert await file.reader.read(lanes) == [f"{m}" for m in range(n + 1)]


async def test_a_read_that_takes_long_delays_no_write(file: CoreFile) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def read_slowly(connection: sqlite3.Connection) -> list[str]:
        rows = connection.execute("SELECT lane FROM lanes")
        first = rows.fetchone()
        begun.set()
        may_end.wait()
        return [*first, *(lane for (lane,) in rows)]

    for lane in ("a", "b"):
        await note(file, lane)
    reading = asyncio.create_task(file.reader.read(read_slowly))
    while not begun.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0)
    await note(file, "c")
    may_end.set()
    assert await reading == ["a", "b"]
    assert await file.reader.read(lanes) == ["a", "b", "c"]


async def test_nothing_can_be_written_through_a_reader(file: CoreFile) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await file.reader.read(lambda connection: connection.execute("DELETE FROM lanes"))


async def test_an_error_in_a_read_is_its_callers_alone(file: CoreFile) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise KeyError

    answers = await asyncio.gather(
        file.reader.read(fail), file.reader.read(lanes), return_exceptions=True
    )
    assert isinstance(answers[0], KeyError)
    assert answers[1] == []


async def test_a_file_that_is_damaged_refuses_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "n1-0.db"
    path.write_bytes(b"no database at all" * 1_000)
    reader = Reader(path, connect_to_read)
    with pytest.raises(StoreUnavailable, match="is damaged"):
        await reader.read(lanes)
    path.unlink()
    assert await reader.read(lanes) == []
    await reader.close()


async def test_a_file_that_was_restored_is_read_anew(file: CoreFile, tmp_path: Path) -> None:
    path = tmp_path / "n1-0.db"
    await note(file, "a")
    await file.writer.close()
    reader = Reader(path, connect_to_read)
    assert await reader.read(lanes) == ["a"]
    copy = path.read_bytes()
    with pytest.raises(StoreUnavailable):
        await reader.read(lambda connection: connection.execute("SELECT * FROM no_table"))
    path.rename(tmp_path / "damaged")
    path.write_bytes(copy)
    connection = connect(path)
    connection.execute("DELETE FROM lanes")
    connection.close()
    assert await reader.read(lanes) == []
    await reader.close()


async def test_a_read_that_does_not_end_is_unavailable_not_unknown(
    file: CoreFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    drop = Errand.drop

    def hang(_: sqlite3.Connection) -> None:
        begun.set()
        may_end.wait()

    await file.reader.read(lanes)
    monkeypatch.setattr("cluster.local.errand._ANSWER_S_MAX", 0.001)
    monkeypatch.setattr(Errand, "drop", lambda self: begun.wait() and drop(self))
    with pytest.raises(StoreUnavailable, match="no answer after"):
        await file.reader.read(hang)
    may_end.set()


async def test_readers_and_writers_that_begin_at_once_make_one_file(tmp_path: Path) -> None:
    for n in range(10):
        path = tmp_path / f"n{n}-0.db"
        files = [CoreFile(path, clock=FakeClock()) for _ in range(3)]
        await asyncio.gather(
            *(note(file, f"{m}") for m, file in enumerate(files)),
            *(file.reader.read(lanes) for file in files),
        )
        assert await files[0].reader.read(lanes) == ["0", "1", "2"]
        for file in files:
            await file.close()
