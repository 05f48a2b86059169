import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cluster.local import listing
from cluster.local.bodies import StoredMessage
from cluster.local.inspection import LocalInspection
from cluster.local.queries import LocalQueries
from cluster.local.schema import connect_to_read
from cluster.local.store import LocalStore
from cluster.topology.generation import Core, CoreUnknown
from pipeline.errors import DataFolderUnusable, StoreUnavailable
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.message import AT_ONCE, Body, MessageId, PartitionKey
from tests.support.local_data import LocalData, writer_of

REPOSITORY = Path(__file__).parents[4]
NOBODY = 65_534


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[LocalData]:
    data = LocalData(tmp_path / "data")
    yield data
    await data.close()


async def announce(store: LocalStore, *, band: str = "urgent") -> LaneId:
    [generation] = await store.read_generations()
    core = generation.cores[0]
    lane = LaneId(1, core.node, core.shard, "sms", band)
    await store.announce_lane(lane)
    return lane


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_questions_make_no_file(data: LocalData) -> None:
    queries = await data.open_queries()
    assert await queries.list_lanes() == []
    assert await queries.trace(MessageId(bytes(16))) is None
    await data.close()
    assert set(contents(data.folder.path)) == {"format.json"}


async def test_questions_change_nothing_that_a_platform_left(data: LocalData) -> None:
    lane = await announce(await data.open())
    await data.close()
    before = contents(data.folder.path)
    queries = LocalQueries.open(data.folder.path)
    assert await queries.list_lanes() == [lane]
    await queries.close()
    after = contents(data.folder.path)
    # SQLite leaves its own bookkeeping beside the file: an empty log, and the index of it.
    assert not after.pop("n1-0.db-wal")
    del after["n1-0.db-shm"]
    assert after == before


async def test_questions_are_answered_after_a_crash_from_the_log_it_left(
    data: LocalData, tmp_path: Path
) -> None:
    store = await data.open()
    lane = await announce(store)
    crashed = tmp_path / "crashed"
    shutil.copytree(data.folder.path, crashed)  # as a kill would leave it
    assert (crashed / "n1-0.db-wal").stat().st_size > 0
    queries = LocalQueries.open(crashed)
    assert await queries.list_lanes() == [lane]
    await queries.close()


async def test_a_core_that_is_not_here_is_unknown(data: LocalData) -> None:
    queries = await data.open_queries()
    with pytest.raises(CoreUnknown):
        await queries.read_owners(Core("n9", 0))
    store = LocalStore.open(
        data.folder.path,
        cores=data.generation.cores[:1],
        clock=data.clock,
        windows=data.windows,
    )
    with pytest.raises(CoreUnknown, match="does not serve"):
        await store.read_owners(data.generation.cores[1])
    assert await store.read_owners(data.generation.cores[0]) == []
    await store.close()


async def test_a_folder_that_is_none_has_no_queries(tmp_path: Path) -> None:
    with pytest.raises(DataFolderUnusable):
        LocalQueries.open(tmp_path / "missing")


async def test_a_file_that_is_damaged_is_told_in_one_line(data: LocalData) -> None:
    data.folder.core_path(data.generation.cores[0]).write_bytes(b"no database" * 1_000)
    queries = await data.open_queries()
    with pytest.raises(StoreUnavailable, match="is damaged") as refused:
        await queries.list_lanes()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("is_log_begun", [False, True])
async def test_a_file_whose_maker_died_before_its_tables_holds_nothing(
    data: LocalData, is_log_begun: bool
) -> None:
    lane = await announce(await data.open())
    path = data.folder.core_path(data.generation.cores[1])
    path.touch()
    if is_log_begun:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    queries = LocalInspection(data.folder)
    assert await queries.list_lanes() == [lane]
    assert await queries.heard(data.generation.cores[1]) == {}
    with queries.snapshot(data.generation.cores[1]) as view:
        assert view is None
    await queries.close()


async def test_open_questions_are_found_by_their_index(data: LocalData) -> None:
    await announce(await data.open())
    connection = connect_to_read(data.folder.core_path(data.generation.cores[0]))
    plan = connection.execute(
        f"EXPLAIN QUERY PLAN {listing._IN_STATE_INDEXED}", (6, b"", 10)
    ).fetchall()
    connection.close()
    assert any("open_questions" in row[3] for row in plan)
    assert not any("TEMP B-TREE" in row[3] for row in plan), "no sort"


async def test_a_row_that_lies_before_its_born_is_found_all_the_same(data: LocalData) -> None:
    store = await data.open()
    lane = await announce(store)
    message_id = MessageId(data.generation.forged_key(data.generation.cores[0], 1))
    late = Instant(data.clock.now() + 60_000_000)
    await store.write_buffer(
        lane, [(message_id, PartitionKey(message_id), late, 1, AT_ONCE, "acme/")]
    )
    connection = connect_to_read(data.folder.core_path(data.generation.cores[0]))
    message = StoredMessage(message_id, late, "acme/", Body(b""))
    assert listing._is_waiting(connection, lane, message)
    connection.close()


# --- a folder that cannot be written ------------------------------------------------------------

ASK = """
import asyncio, os, sys
from pathlib import Path
from cluster.local.inspection import LocalInspection
from cluster.local.queries import LocalQueries

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))

async def ask():
    queries = LocalQueries.open(Path(sys.argv[1]))
    try:
        print(*await queries.list_lanes())
    except Exception as error:
        print(type(error).__name__, error)
    await queries.close()

asyncio.run(ask())
"""


@pytest.fixture
def readable() -> Iterator[Path]:
    """Return a place that any user may look into."""
    # The root of everything may write everywhere, so the question is asked by somebody else.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def ask_read_only(folder: Path) -> str:
    for path in [folder, *folder.iterdir()]:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        path.chmod(0o500 if path.is_dir() else 0o400)
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(folder), str(NOBODY)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    folder.chmod(0o700)
    assert asked.returncode == 0, asked.stderr
    return asked.stdout.strip()


async def test_a_read_only_folder_is_read(data: LocalData, readable: Path) -> None:
    lane = await announce(await data.open())
    await data.close()
    folder = shutil.copytree(data.folder.path, readable / "data")
    assert not list(folder.glob("*-wal"))
    assert ask_read_only(folder) == str(lane)


async def test_a_read_only_folder_is_read_with_the_log_that_a_crash_left(
    data: LocalData, readable: Path
) -> None:
    lane = await announce(await data.open())
    folder = shutil.copytree(data.folder.path, readable / "data")
    assert ask_read_only(folder) == str(lane)


async def test_a_read_only_folder_whose_log_cannot_be_read_is_not_half_read(
    data: LocalData, readable: Path
) -> None:
    await announce(await data.open())
    folder = shutil.copytree(data.folder.path, readable / "data")
    (folder / "n1-0.db-shm").unlink()
    answer = ask_read_only(folder)
    assert answer.startswith("StoreUnavailable")
    assert "changes lie in its log" in answer


async def test_a_folder_stays_readable_while_its_log_is_moved(data: LocalData) -> None:
    store = await data.open()
    lane = await announce(store)
    queries = await data.open_queries()
    assert await queries.list_lanes() == [lane]
    writer = writer_of(store, data.generation.cores[0])
    await writer.checkpoint()
    other = await announce(store, band="normal-1")
    assert set(await queries.list_lanes()) == {lane, other}
