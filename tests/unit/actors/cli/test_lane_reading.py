"""The figures of lanes fit together while a platform goes on working between two reads."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.cli import lane_reading
from actors.cli.lane_reading import look_at_lanes, sum_of
from cluster.local.data_folder import DataFolder
from cluster.local.inspection import LocalInspection
from pipeline.lane.books import group_book
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.ports import QueryStore
from tests.support.filled_folder import FilledFolder
from tests.support.seed import seeded_random

GROUP = "default/g"


class Moving:
    """A store in which something happens before every read."""

    def __init__(self, store: LocalInspection, happen: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._happen = happen

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        verb = getattr(self._store, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            await self._happen(name)
            return await verb(*arguments, **named)

        return call


async def work_on(folder: FilledFolder, chance: random.Random, *, accepts: bool) -> None:
    """Let one thing happen that a platform does."""
    unclaimed = [id_ for id_, message in folder.messages.items() if message.fold is None]
    claimed = [
        id_
        for id_, message in folder.messages.items()
        if message.fold is not None and message.fold & EVENT_MASK == Event.CLAIM
    ]
    folder.clock.advance(chance.randrange(20))
    match chance.randrange(7):
        case 0 if accepts:
            await folder.accept(chance.randrange(1, 6))
        case 1 if unclaimed:
            await folder.append(unclaimed[: chance.randrange(1, 3)], Event.CLAIM)
        case 2 if claimed:
            await folder.append(claimed[: chance.randrange(1, 3)], Event.TAKE)
        case 3:
            await folder.project()
        case 4:
            await folder.write_books()
        case 6 if folder.lanes:
            await folder.roll(chance.choice(list(folder.lanes)))
        case 5 if not unclaimed and not claimed:
            await folder.finish()


@pytest.mark.parametrize("accepts", [False, True], ids=["nothing comes", "more comes"])
async def test_every_message_is_named_or_lags_whatever_happens_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accepts: bool
) -> None:
    monkeypatch.setattr(lane_reading, "JOURNAL_PAGE_ENTRIES_MAX", 2)
    chance = seeded_random()
    folder = FilledFolder(tmp_path / "data")
    store = LocalInspection(DataFolder.open(folder.path))

    left = 0

    async def happen(_verb: str) -> None:
        nonlocal left
        for _ in range(min(left, chance.randrange(10))):
            left -= 1
            await work_on(folder, chance, accepts=accepts)

    try:
        moving: Any = Moving(store, happen)
        for _ in range(12):
            for _ in range(6):
                await work_on(folder, chance, accepts=True)
            before, left = len(folder.messages), 30
            view = await look_at_lanes(moving, book_prefix=group_book(GROUP), group=GROUP)
            told = sum_of(view.books).total() + view.unnamed_count
            assert before <= told <= len(folder.messages)
            assert all(n >= 0 for n in sum_of(view.books).values())
        view = await look_at_lanes(store, book_prefix=group_book(GROUP), group=GROUP)
        assert sum_of(view.books).total() + view.unnamed_count == len(folder.messages)
    finally:
        await store.close()
        await folder.close()


@pytest.mark.parametrize("verb", ["read_journal", "unprojected", "books"])
async def test_a_message_that_is_named_between_two_reads_is_counted_once(
    tmp_path: Path, verb: str
) -> None:
    folder = FilledFolder(tmp_path / "data")
    store = LocalInspection(DataFolder.open(folder.path))
    ids = await folder.accept(3)

    async def name_and_count(read: str) -> None:
        if read == verb and folder.messages[ids[0]].fold is None:
            await folder.append(ids, Event.CLAIM)
            await folder.project()
            await folder.write_books()

    try:
        moving: Any = Moving(store, name_and_count)
        view = await look_at_lanes(moving, book_prefix=group_book(GROUP))
        assert sum_of(view.books).total() + view.unnamed_count == len(ids)
        assert folder.messages[ids[0]].fold is not None
    finally:
        await store.close()
        await folder.close()


async def test_a_backlog_longer_than_a_page_is_counted_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_reading, "UNNAMED_PAGE_ROWS_MAX", 3)
    monkeypatch.setattr(lane_reading, "JOURNAL_PAGE_ENTRIES_MAX", 2)
    folder = FilledFolder(tmp_path / "data")
    store: QueryStore = LocalInspection(DataFolder.open(folder.path))
    try:
        ids = await folder.accept(20)
        for start in range(0, 10, 2):
            await folder.append(ids[start : start + 2], Event.CLAIM)
        view = await look_at_lanes(store, book_prefix=group_book(GROUP))
        assert (sum_of(view.books).total(), view.unnamed_count) == (10, 10)
    finally:
        await store.close()  # type: ignore[attr-defined]
        await folder.close()


async def test_a_row_that_was_written_twice_lags_once(tmp_path: Path) -> None:
    folder = FilledFolder(tmp_path / "data")
    store = LocalInspection(DataFolder.open(folder.path))
    try:
        [id_] = await folder.accept(1)
        message = folder.messages[id_]
        row: Any = (id_, id_, message.born, 1, 0, message.group)
        await (await folder.store()).write_buffer(message.lane, [row])
        view = await look_at_lanes(store, book_prefix=None)
        assert view.unnamed_count == 1
        assert [lane.oldest_unnamed for lane in view.lanes] == [message.born]
        assert view.books == {}
    finally:
        await store.close()
        await folder.close()


async def test_what_lags_of_other_groups_is_not_counted(tmp_path: Path) -> None:
    folder = FilledFolder(tmp_path / "data")
    store = LocalInspection(DataFolder.open(folder.path))
    try:
        await asyncio.gather(folder.accept(2, group="g"))
        await folder.accept(3, group="h")
        view = await look_at_lanes(store, book_prefix=None, group=GROUP)
        assert view.unnamed_count == 2
    finally:
        await store.close()
        await folder.close()
