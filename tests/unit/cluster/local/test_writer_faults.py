"""What a writer says when files, disks and operations fail."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from cluster.local import schema
from cluster.local.schema import connect
from cluster.local.turnstile import Turnstile
from cluster.local.writer import Transaction, Writer
from pipeline.errors import StoreUnavailable, WriteUnknown
from tests.support.fake_clock import FakeClock
from tests.support.noted_lanes import noted, noting


async def test_an_operation_that_fails_takes_no_neighbour_with_it(file: Writer, path: Path) -> None:
    class Bug(Exception):
        pass

    def bug(transaction: Transaction) -> None:
        noting("of the bug")(transaction)
        raise Bug

    def no_table(transaction: Transaction) -> None:
        noting("of the fault")(transaction)
        transaction.connection.execute("INSERT INTO no_table VALUES (1)")

    await file.write(noting("first"))
    operations = [noting(f"{n}") for n in range(9)]
    with Turnstile(path):
        writing = asyncio.gather(
            *(file.write(operation) for operation in operations[:3]),
            file.write(bug),
            *(file.write(operation) for operation in operations[3:6]),
            file.write(no_table),
            *(file.write(operation) for operation in operations[6:]),
            return_exceptions=True,
        )
        await asyncio.sleep(0)
    answers = await writing
    assert isinstance(answers[3], Bug)
    assert isinstance(answers[7], StoreUnavailable)
    assert "no such table: no_table" in str(answers[7])
    assert [a for a in answers if not isinstance(a, Exception)] == [f"{n}" for n in range(9)]
    assert noted(path) == {"first"} | {f"{n}" for n in range(9)}


async def test_a_commit_that_fails_leaves_its_whole_group_unknown(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    await file.write(noting("first"))
    monkeypatch.setattr(file, "_commit", fail)
    with Turnstile(path):
        writing = asyncio.gather(
            *(file.write(noting(f"{n}")) for n in range(3)), return_exceptions=True
        )
        await asyncio.sleep(0)
    answers = await writing
    assert [type(answer) for answer in answers] == [WriteUnknown] * 3
    assert "disk I/O error" in str(answers[0])
    monkeypatch.undo()
    assert await file.write(noting("next")) == "next"
    assert noted(path) == {"first", "next"}


async def test_a_file_that_cannot_be_opened_refuses(path: Path) -> None:
    path.mkdir()  # noqa: ASYNC240
    file = Writer(path, clock=FakeClock())
    with pytest.raises(StoreUnavailable, match=r"n1-0\.db: the file cannot be opened"):
        await file.write(noting("a"))
    await file.close()


async def test_lock_files_that_cannot_be_made_refuse(tmp_path: Path) -> None:
    file = Writer(tmp_path / "missing" / "n1-0.db", clock=FakeClock())
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        await file.write(noting("a"))
    await file.close()


async def test_a_file_of_something_else_is_called_damaged(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1_000)  # noqa: ASYNC240
    file = Writer(path, clock=FakeClock())
    with pytest.raises(StoreUnavailable, match="is damaged: stop the platform and restore it"):
        await file.write(noting("a"))
    await file.close()


async def test_a_file_of_a_newer_release_is_left_alone(file: Writer, path: Path) -> None:
    await file.write(noting("a"))
    await file.close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    newer = Writer(path, clock=FakeClock())
    with pytest.raises(StoreUnavailable, match="run the release that made it, or a newer one"):
        await newer.write(noting("b"))
    await newer.close()


async def test_a_full_disk_refuses_and_says_so(file: Writer, path: Path) -> None:
    def limit(transaction: Transaction) -> None:
        transaction.connection.execute("PRAGMA max_page_count = 1")

    def fill(transaction: Transaction) -> None:
        noting("not there")(transaction)
        transaction.connection.execute("INSERT INTO books VALUES ('b', 'l', 1, zeroblob(1000000))")

    await file.write(limit)
    with pytest.raises(StoreUnavailable, match="the disk is full: make room"):
        await file.write(fill)
    assert await file.write(noting("small")) == "small"
    assert noted(path) == {"small"}


async def test_a_lock_that_someone_else_holds_refuses_after_a_while(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(noting("first"))
    await file.write(lambda t: t.connection.execute("PRAGMA busy_timeout = 1").fetchall())
    stranger = connect(path)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another program holds the file: close it"):
        await file.write(noting("a"))
    stranger.close()
    assert await file.write(noting("b")) == "b"
