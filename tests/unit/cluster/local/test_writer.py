import asyncio
import sqlite3
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from cluster.local import errand, writer
from cluster.local.errand import Errand
from cluster.local.turnstile import Turnstile
from cluster.local.writer import Transaction, Writer
from pipeline.errors import StoreUnavailable, WriteUnknown
from tests.support.fake_clock import NOW, FakeClock
from tests.support.noted_lanes import noted, noting


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
