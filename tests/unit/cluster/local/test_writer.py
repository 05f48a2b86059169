import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cluster.local import errand, found_log, schema, writer
from cluster.local.errand import Errand
from cluster.local.found_log import make_log_durable
from cluster.local.schema import connect
from cluster.local.turnstile import Turnstile
from cluster.local.writer import Transaction, Writer
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.limits import FILE_BUSY_MS_MAX
from tests.support.fake_clock import NOW, FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "n1-0.db"


@pytest.fixture
async def file(path: Path) -> AsyncIterator[Writer]:
    file = Writer(path, clock=FakeClock())
    yield file
    await file.close()


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


def noting(lane: str) -> Callable[[Transaction], str]:
    """Return an operation that leaves a row."""

    def note(transaction: Transaction) -> str:
        transaction.connection.execute("INSERT INTO lanes VALUES (?, 1)", (lane,))
        return lane

    return note


def noted(path: Path) -> set[str]:
    connection = connect(path)
    try:
        return {lane for (lane,) in connection.execute("SELECT lane FROM lanes")}
    finally:
        connection.close()


def count_calls(
    monkeypatch: pytest.MonkeyPatch, file: Writer, statement: str = "COMMIT"
) -> list[str]:
    """Return a list that grows with every commit of the writer."""
    commits: list[str] = []
    commit = file._commit

    def note(connection: sqlite3.Connection) -> None:
        commits.append(statement)
        commit(connection)

    monkeypatch.setattr(file, "_commit", note)
    return commits


async def test_an_operation_returns_what_it_made(file: Writer, path: Path) -> None:
    assert await file.write(noting("a")) == "a"
    assert noted(path) == {"a"}


async def test_what_waits_is_committed_together(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(noting("first"))
    commits = count_calls(monkeypatch, file)
    names = {f"{n}" for n in range(40)}
    with Turnstile(path):  # meanwhile the writer waits for its turn
        early = asyncio.create_task(file.write(noting("early")))
        while not file._pending_count or not file._queue.empty():  # noqa: ASYNC110
            await asyncio.sleep(0)
        writing = asyncio.gather(*(file.write(noting(name)) for name in names))
        await asyncio.sleep(0)
    await early
    await writing
    assert len(commits) == 2
    assert noted(path) == {"first", "early"} | names


async def test_a_group_is_answered_by_one_wake_up_of_the_loop(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(noting("first"))
    loop = asyncio.get_running_loop()
    wake_ups: list[object] = []
    wake_up = loop.call_soon_threadsafe

    def note(callback: Callable[[], None]) -> object:
        wake_ups.append(callback)
        return wake_up(callback)

    monkeypatch.setattr(loop, "call_soon_threadsafe", note)
    with Turnstile(path):
        writing = asyncio.gather(*(file.write(noting(f"{n}")) for n in range(30)))
        await asyncio.sleep(0)
    await writing
    assert len(wake_ups) <= 2


async def test_a_group_is_not_larger_than_another_process_may_wait_for(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(noting("first"))
    monkeypatch.setattr(writer, "COMMIT_OPERATIONS_MAX", 10)
    monkeypatch.setattr(writer, "COMMIT_ROWS_MAX", 100)
    commits = count_calls(monkeypatch, file)
    with Turnstile(path):
        writing = asyncio.gather(*(file.write(noting(f"{n}")) for n in range(40)))
        await asyncio.sleep(0)
    await writing
    assert len(commits) >= 4
    commits.clear()
    with Turnstile(path):
        writing = asyncio.gather(
            *(file.write(noting(f"large {n}"), row_count=60) for n in range(8))
        )
        await asyncio.sleep(0)
    await writing
    assert len(commits) >= 4


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


async def test_who_waits_too_long_for_its_turn_is_told_a_definite_no(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(noting("first"))
    with Turnstile(path):
        monkeypatch.setattr(errand, "_ANSWER_S_MAX", 0.001)
        with pytest.raises(StoreUnavailable, match="no answer after"):
            await file.write(noting("given up"))
        monkeypatch.undo()
    await file.write(noting("next"))
    assert noted(path) == {"first", "next"}


async def test_who_waits_too_long_for_a_commit_is_told_that_it_is_unknown(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    drop = Errand.drop

    def hang(transaction: Transaction) -> None:
        noting("slow")(transaction)
        begun.set()
        may_end.wait()

    await file.write(noting("first"))
    monkeypatch.setattr(errand, "_ANSWER_S_MAX", 0.001)
    monkeypatch.setattr(Errand, "drop", lambda self: begun.wait() and drop(self))
    with pytest.raises(WriteUnknown, match="no answer after"):
        await file.write(hang)
    may_end.set()
    monkeypatch.undo()
    await file.write(noting("next"))
    assert noted(path) == {"first", "slow", "next"}


async def test_what_its_caller_cancelled_before_it_began_is_not_written(
    file: Writer, path: Path
) -> None:
    await file.write(noting("first"))
    with Turnstile(path):
        writing = asyncio.create_task(file.write(noting("cancelled")))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await file.write(noting("next"))
    assert noted(path) == {"first", "next"}


async def test_a_caller_that_went_away_while_its_write_ran_keeps_no_answer_from_others(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def hang(transaction: Transaction) -> None:
        noting("slow")(transaction)
        begun.set()
        may_end.wait()

    await file.write(noting("first"))
    with Turnstile(path):
        alone = asyncio.create_task(file.write(noting("alone")))
        while not file._pending_count or not file._queue.empty():  # noqa: ASYNC110
            await asyncio.sleep(0)
        leaving = asyncio.create_task(file.write(hang))
        staying = asyncio.create_task(file.write(noting("neighbour")))
        await asyncio.sleep(0)
    while not begun.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    may_end.set()
    assert (await alone, await staying) == ("alone", "neighbour")
    assert noted(path) == {"first", "alone", "slow", "neighbour"}


async def test_a_queue_that_is_full_refuses(
    file: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(noting("first"))
    monkeypatch.setattr(errand, "WRITER_QUEUE_OPERATIONS_MAX", 3)
    with Turnstile(path):
        writing = asyncio.gather(*(file.write(noting(f"{n}")) for n in range(3)))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="3 operations wait already"):
            await file.write(noting("too much"))
    await writing
    assert await file.write(noting("room again")) == "room again"


async def test_closing_makes_what_waits_and_refuses_what_comes(file: Writer, path: Path) -> None:
    await file.write(noting("first"))
    writing = asyncio.gather(*(file.write(noting(f"{n}")) for n in range(5)))
    await asyncio.sleep(0)
    await asyncio.gather(file.close(), file.close())
    await writing
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        await file.write(noting("too late"))
    assert noted(path) == {"first", *"01234"}


async def test_a_writer_that_never_wrote_makes_no_file(path: Path) -> None:
    file = Writer(path, clock=FakeClock())
    await file.close()
    assert list(path.parent.iterdir()) == []


async def test_at_grows_though_the_clock_is_set_back_and_the_process_starts_again(
    path: Path,
) -> None:
    clock = FakeClock()
    given: list[int] = []
    for step_ms in (0, -60_000, 0, 60_001, -5):
        clock.step_wall(step_ms)
        file = Writer(path, clock=clock)
        given.append(await file.write(lambda transaction: transaction.give_at(10)))
        given.append(await file.write(lambda transaction: transaction.give_at(1)))
        await file.close()
    steps = [later - earlier for earlier, later in pairwise(given)]
    assert given[0] == NOW
    assert all(step >= (10, 1)[n % 2] for n, step in enumerate(steps))
    assert given[6] == NOW + 1_000, "the clock is followed where it goes on"


async def test_at_that_was_given_in_a_transaction_that_failed_may_be_given_again(
    file: Writer,
) -> None:
    def fail(transaction: Transaction) -> None:
        transaction.give_at(1_000)
        raise KeyError

    assert await file.write(lambda transaction: transaction.give_at(1)) == NOW
    with pytest.raises(KeyError):
        await file.write(fail)
    assert await file.write(lambda transaction: transaction.give_at(1)) == NOW + 1


async def test_operations_of_one_group_share_no_at(file: Writer, path: Path) -> None:
    await file.write(noting("first"))
    with Turnstile(path):
        writing = asyncio.gather(
            *(file.write(lambda transaction: transaction.give_at(3)) for _ in range(5))
        )
        await asyncio.sleep(0)
    assert await writing == [NOW + 3 * n for n in range(5)]


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
