"""A view of a core's file stands still, however long it is looked at."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.local.core_snapshot import open_snapshot
from pipeline.errors import StoreUnavailable
from pipeline.lifecycle import Event
from pipeline.limits import QUERY_PAGE_ROWS_MAX
from pipeline.message import PartitionKey, TimerRow
from tests.contract.store_under_test import Rows
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder
from tests.support.local_data import LocalData


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[FilledFolder]:
    folder = FilledFolder(tmp_path / "data")
    yield folder
    await folder.close()


async def test_nothing_that_is_written_meanwhile_is_seen(folder: FilledFolder) -> None:
    first = await folder.accept(4)
    core = folder.core_of(first[0])
    [lane] = {message.lane for id_, message in folder.messages.items() if id_ == first[0]}
    with open_snapshot(folder.folder.core_path(core)) as view:
        before = [len(block.ids) for block in view.messages()]
        await folder.send(first)
        await folder.accept(4)
        assert [len(block.ids) for block in view.messages()] == before
        assert view.steps_of([first[0]]) == [None]
        assert list(view.entries(str(lane))) == []
        assert list(view.timelines()) == []
        assert view.cells() == []
    with open_snapshot(folder.folder.core_path(core)) as view:
        assert view.steps_of([first[0]]) != [None]


async def test_steps_come_in_the_order_of_the_ids_that_were_asked_for(
    folder: FilledFolder,
) -> None:
    ids = await folder.accept(8)
    core = folder.core_of(ids[0])
    mine = [id_ for id_ in ids if folder.core_of(id_) == core]
    await folder.append(mine[:1], Event.CLAIM)
    await folder.project()
    with open_snapshot(folder.folder.core_path(core)) as view:
        steps = view.steps_of(mine)
        assert view.steps_of(mine[::-1]) == steps[::-1]
        assert [step is None for step in steps] == [False] + [True] * (len(mine) - 1)
        assert view.bodiless([*mine, bytes(16)]) == {bytes(16)}  # type: ignore[list-item]
        assert view.announced_lanes() == sorted(view.used_lanes())


async def test_what_is_no_file_of_ours_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"hello" * 1_000)
    with (
        pytest.raises(StoreUnavailable, match="restore it from a copy"),
        open_snapshot(tmp_path / "x.db"),
    ):
        raise AssertionError


async def test_a_lane_that_has_timers_alone_is_seen_with_all_of_them(tmp_path: Path) -> None:
    data = LocalData(tmp_path / "data")
    rows = Rows(data.generation, data.generation.cores[0])
    store, lane = await data.open(), rows.lane()
    ids = sorted(rows.ids(QUERY_PAGE_ROWS_MAX + 1))
    timers: list[TimerRow] = [(NOW, id_, PartitionKey(id_), NOW, 1, "acme/") for id_ in ids]
    await store.write_timers(lane, timers)
    with open_snapshot(data.folder.core_path(rows.core)) as view:
        assert view.used_lanes() == {str(lane)}
        assert [row for page in view.timers(str(lane)) for row in page] == timers
    await data.close()
