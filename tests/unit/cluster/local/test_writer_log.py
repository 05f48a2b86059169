"""The write-ahead log: moved, cut, and made durable before it is answered for."""

import asyncio
import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cluster.local import found_log, writer
from cluster.local.found_log import make_log_durable
from cluster.local.schema import connect
from cluster.local.turnstile import Turnstile
from cluster.local.writer import Transaction, Writer
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.limits import FILE_BUSY_MS_MAX
from tests.support.fake_clock import FakeClock
from tests.support.noted_lanes import noted, noting


class SyncedFiles:
    """The operating system, as far as a log is made durable by it."""

    def __init__(self, *, sync_fails: bool = False) -> None:
        self.said: list[str] = []
        self.sync_fails = sync_fails

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, file: int, data: bytes, place: int) -> int:
        self.said.append(f"written {place + len(data)}")
        return os.pwrite(file, data, place)

    def fsync(self, file: int) -> None:
        if self.sync_fails:
            raise OSError(errno.EIO, "Input/output error")
        self.said.append("synced")
        os.fsync(file)


async def test_every_commit_waits_for_the_disk_and_makes_no_other_file(file: Writer) -> None:
    def settings(transaction: Transaction) -> list[object]:
        return [
            transaction.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in (
                *("journal_mode", "synchronous", "wal_autocheckpoint", "fullfsync"),
                "temp_store",
            )
        ]

    await file.write(noting("first"))
    assert await file.write(settings) == ["wal", 2, 0, 1, 2]


def grow(transaction: Transaction) -> None:
    transaction.connection.execute(
        "INSERT OR REPLACE INTO books VALUES ('b', 'l', 1, zeroblob(200000))"
    )


async def test_a_short_log_is_moved_and_a_long_one_is_cut(
    file: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(grow)
    length = file.wal_bytes()
    assert length > 200_000
    await file.checkpoint()
    assert file.wal_bytes() == length
    await file.write(noting("over the moved frames"))
    assert file.wal_bytes() == length
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 100_000)
    await file.checkpoint()
    assert file.wal_bytes() == 0

    def patience_ms(transaction: Transaction) -> int:
        patience: int = transaction.connection.execute("PRAGMA busy_timeout").fetchone()[0]
        return patience

    assert await file.write(patience_ms) == FILE_BUSY_MS_MAX, "short for readers only"


async def test_a_checkpoint_stands_between_the_writes_that_wait_with_it(
    file: Writer, path: Path
) -> None:
    await file.write(noting("first"))
    with Turnstile(path):
        waiting = asyncio.gather(
            file.write(noting("a")),
            file.checkpoint(),
            file.write(noting("b")),
            file.checkpoint(),
            file.checkpoint(),
        )
        await asyncio.sleep(0)
    await waiting
    assert noted(path) == {"first", "a", "b"}


async def test_a_log_that_nobody_sweeps_does_not_grow_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 300_000)
    file = Writer(path, clock=FakeClock())
    for _ in range(20):
        await file.write(grow)
        assert file.wal_bytes() < 1_000_000
    await file.close()


async def test_a_reader_of_old_pages_delays_no_write_for_long_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 300_000)
    monkeypatch.setattr(writer, "_READERS_BUSY_MS_MAX", 1)
    moves: list[int] = []
    file = Writer(path, clock=FakeClock())
    await file.write(noting("first"))
    move = file._move_wal

    def note() -> None:
        moves.append(1)
        move()

    monkeypatch.setattr(file, "_move_wal", note)
    reader = connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM lanes").fetchall()
    for n in range(12):
        await file.write(grow)
        await file.write(noting(f"{n}"))
    # Left alone until it has grown by as much again, not tried at every commit.
    assert len(moves) <= 4
    reader.execute("COMMIT")
    reader.close()
    await file.close()
    assert noted(path) == {"first", *(f"{n}" for n in range(12))}


async def test_what_a_failed_commit_left_is_synced_before_it_is_answered_for(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note_once(transaction: Transaction) -> int:
        # As every write that may be repeated: made already, it writes nothing.
        return transaction.connection.execute(
            "INSERT OR IGNORE INTO lanes VALUES ('a', 1)"
        ).rowcount

    def fail_after_frames(connection: sqlite3.Connection) -> None:
        # The frames are in the log, and no sync followed.
        connection.execute("COMMIT")
        raise sqlite3.OperationalError("disk I/O error")

    await file.write(noting("first"))
    log = path.with_name("n1-0.db-wal")
    onlooker = connect(path)  # so that the log is not moved when the writer lets go
    with monkeypatch.context() as failing:
        failing.setattr(file, "_commit", fail_after_frames)
        with pytest.raises(WriteUnknown):
            await file.write(note_once)
    calls = SyncedFiles()
    monkeypatch.setattr(found_log, "os", calls)
    assert await file.write(note_once) == 0
    assert calls.said == [f"written {log.stat().st_size}", "synced"]
    onlooker.close()


async def test_a_log_that_cannot_be_synced_is_not_answered_for(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Writer(path, clock=FakeClock())
    await other.write(noting("first"))
    calls = SyncedFiles(sync_fails=True)
    monkeypatch.setattr(found_log, "os", calls)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            await file.write(noting("next"))
    assert noted(path) == {"first"}
    calls.sync_fails = False
    assert await file.write(noting("next")) == "next"
    await other.close()


async def test_the_log_keeps_its_bytes_when_it_is_made_durable(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_log, "_PIECE_BYTES", 1_000)
    await file.write(grow)
    log = path.with_name("n1-0.db-wal")
    before = log.read_bytes()
    make_log_durable(log)
    assert log.read_bytes() == before
    make_log_durable(path.with_name("no log"))
