import asyncio
import sqlite3
from pathlib import Path

import pytest

from cluster.local.core_file import CoreFile
from cluster.local.writer import Transaction
from tests.support.fake_clock import FakeClock


def note(transaction: Transaction) -> None:
    transaction.connection.execute("INSERT INTO lanes VALUES ('a', 1)")


def rewrite(transaction: Transaction) -> None:
    transaction.connection.execute("DELETE FROM lanes")
    note(transaction)


def lanes(connection: sqlite3.Connection) -> list[tuple[str]]:
    return connection.execute("SELECT lane FROM lanes").fetchall()


async def test_what_was_written_lies_in_the_file_alone_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "n1-0.db"
    for _ in range(3):
        file = CoreFile(path, clock=FakeClock())
        await file.writer.write(rewrite)
        assert await file.reader.read(lanes) == [("a",)]
        await file.close()
        assert not path.with_name("n1-0.db-wal").exists()
        assert not path.with_name("n1-0.db-shm").exists()


async def test_the_writer_is_closed_when_nobody_reads_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CoreFile(tmp_path / "n1-0.db", clock=FakeClock())
    said: list[str] = []

    def close_slowly(who: str) -> None:
        async def close() -> None:
            said.append(f"{who} begins")
            await asyncio.sleep(0)
            said.append(f"{who} ends")

        monkeypatch.setattr(getattr(file, who), "close", close)

    close_slowly("reader")
    close_slowly("writer")
    await file.close()
    assert said == ["reader begins", "reader ends", "writer begins", "writer ends"]
