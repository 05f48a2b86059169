"""A core's file that was made and is gone is a loss that everybody hears of."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from cluster.local.data_folder import DataFolder
from cluster.local.inspection import LocalInspection
from cluster.local.queries import LocalQueries
from pipeline.errors import DataFolderUnusable, StoreUnavailable
from pipeline.lane_id import LaneId
from tests.support.local_data import WINDOWS, LocalData

Loss = Callable[[Path], object]


def without_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


LOSSES = [
    pytest.param(Path.unlink, id="deleted"),
    pytest.param(lambda path: path.write_bytes(b""), id="empty"),
]


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[LocalData]:
    """A folder on whose first core something was written."""
    data = LocalData(tmp_path / "data")
    store = await data.open()
    core = data.generation.cores[0]
    await store.announce_lane(LaneId(1, core.node, core.shard, "sms", "bulk-0"))
    await data.close()
    yield data
    await data.close()


@pytest.fixture
def path(data: LocalData) -> Path:
    return data.folder.core_path(data.generation.cores[0])


@pytest.mark.parametrize("lose", LOSSES)
def test_who_starts_or_asks_is_refused_in_one_line(data: LocalData, path: Path, lose: Loss) -> None:
    lose(path)
    opens: list[Callable[[], object]] = [
        lambda: DataFolder.create_or_open(
            data.folder.path, shape=None, windows=WINDOWS, now=data.clock.now()
        ),
        lambda: LocalQueries.open(data.folder.path),
    ]
    for open_ in opens:
        with pytest.raises(DataFolderUnusable, match="gone or empty") as refused:
            open_()
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("lose", [*LOSSES, pytest.param(without_tables, id="without tables")])
async def test_who_opened_the_folder_before_makes_no_new_file_and_reads_none(
    data: LocalData, path: Path, lose: Loss
) -> None:
    store = await data.open()
    inspection = LocalInspection(data.folder)
    lose(path)
    found = path.read_bytes() if path.exists() else None  # noqa: ASYNC240
    core = data.generation.cores[0]
    lane = LaneId(1, core.node, core.shard, "sms", "bulk-1")
    with pytest.raises(StoreUnavailable, match="gone or empty"):
        await store.announce_lane(lane)
    with pytest.raises(StoreUnavailable, match="gone or empty"):
        await store.read_lanes(core, 1)
    with pytest.raises(StoreUnavailable, match="gone or empty"):
        await inspection.list_lanes()
    with pytest.raises(StoreUnavailable, match="gone or empty"), inspection.snapshot(core):
        pass
    await inspection.close()
    # Whoever restores it finds everything as it was.
    assert found == (path.read_bytes() if path.exists() else None)  # noqa: ASYNC240


async def test_a_core_that_nobody_ever_wrote_to_is_no_loss(data: LocalData) -> None:
    untouched = data.folder.core_path(data.generation.cores[1])
    assert not untouched.exists()
    queries = await data.open_queries()
    assert len(await queries.list_lanes()) == 1


async def test_a_folder_without_marks_opens_and_gets_them(data: LocalData, path: Path) -> None:
    path.with_suffix(".made").unlink()  # as an older release leaves it
    queries = await data.open_queries()
    assert len(await queries.list_lanes()) == 1
    store = await data.open()
    core = data.generation.cores[0]
    await store.announce_lane(LaneId(1, core.node, core.shard, "sms", "bulk-1"))
    await data.close()
    path.unlink()  # noqa: ASYNC240
    with pytest.raises(DataFolderUnusable, match="gone or empty"):
        DataFolder.open(data.folder.path)
