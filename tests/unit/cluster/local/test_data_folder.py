import errno
import json
import multiprocessing.pool
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.local.data_folder import DataFolder, Shape
from cluster.topology.generation import Core, CoreUnknown
from pipeline.errors import DataFolderUnusable
from pipeline.instant import DurationMs, Instant
from pipeline.limits import Windows
from tests.support.fake_clock import NOW

WINDOWS = Windows()
OTHER_WINDOWS = Windows(clock_skew_ms_max=DurationMs(400))


def make(path: Path, *, shape: Shape | None = None, now: Instant = NOW) -> DataFolder:
    return DataFolder.create_or_open(path, shape=shape, windows=WINDOWS, now=now)


def edit(path: Path, **fields: object) -> None:
    stored = json.loads((path / "format.json").read_text())
    (path / "format.json").write_text(json.dumps(stored | fields))


def test_a_new_folder_has_one_generation_of_the_shape_that_was_asked_for(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", shape=Shape(node_count=3, shard_count=2))
    generation = folder.generation
    assert (generation.number, generation.starts_at) == (1, NOW)
    assert generation.prompt_ms == WINDOWS.prompt_ms
    assert generation.cores == tuple(
        Core(node, shard) for node in ("n1", "n2", "n3") for shard in (0, 1)
    )
    assert not [core for core in generation.cores if generation.owns_nothing(core)]


def test_a_folder_has_two_nodes_of_two_shards_unless_told_otherwise(tmp_path: Path) -> None:
    assert len(make(tmp_path / "data").generation.cores) == 4


def test_only_its_user_may_look_into_the_folder(tmp_path: Path) -> None:
    make(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "format.json").stat().st_mode & 0o077 == 0
    (tmp_path / "empty").mkdir(mode=0o755)
    make(tmp_path / "empty")
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700


def test_what_was_made_once_is_found_again_later(tmp_path: Path) -> None:
    made = make(tmp_path / "data", shape=Shape(node_count=1, shard_count=3))
    again = make(tmp_path / "data", now=Instant(NOW + 10))
    assert again == made
    assert make(tmp_path / "data", shape=Shape(node_count=1, shard_count=3)) == made
    assert DataFolder.open(tmp_path / "data") == made


def test_of_many_that_make_a_folder_at_once_all_find_the_same(tmp_path: Path) -> None:
    with multiprocessing.pool.ThreadPool(8) as pool:
        folders = pool.map(
            lambda n: make(tmp_path / "data", now=Instant(NOW + n)), range(16), chunksize=1
        )
    assert len({folder.generation.starts_at for folder in folders}) == 1


def test_a_crash_while_it_is_made_leaves_a_folder_that_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    for step in ("os.fsync", "pathlib.Path.rename"):
        path = tmp_path / step
        with monkeypatch.context() as patch:
            patch.setattr(step, crash)
            with pytest.raises(Crash):
                make(path)
        assert not (path / "format.json").exists()
        assert make(path).generation.number == 1
        assert os.listdir(path) == ["format.json"]


def test_the_form_is_on_the_disk_before_it_has_its_name_and_its_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts: list[str] = []
    sync, rename = os.fsync, Path.rename

    def note_sync(descriptor: int) -> None:
        acts.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def note_rename(path: Path, target: Path) -> None:
        acts.append(f"rename {path.name}")
        rename(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    make(tmp_path / "data")
    assert acts == ["sync format.json.begun", "rename format.json.begun", "sync data"]


def file_in_its_place(path: Path) -> None:
    path.write_text("")


def something_else(path: Path) -> None:
    path.mkdir()
    (path / "holiday.jpg").touch()


def newer_format(path: Path) -> None:
    make(path)
    edit(path, format=3, whatever={})


def newer_generation(path: Path) -> None:
    make(path)
    edit(path, generation={"version": 2, "anything": 1})


def no_json(path: Path) -> None:
    make(path)
    (path / "format.json").write_text('{"format": 1, "generation"')


def no_text(path: Path) -> None:
    make(path)
    (path / "format.json").write_bytes(b"\xff\xfe\0")


def nothing_in_it(path: Path) -> None:
    make(path)
    (path / "format.json").write_bytes(b"")


def no_generation(path: Path) -> None:
    make(path)
    edit(path, generation={"version": 1})


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(file_in_its_place, "is not a folder: name another", id="a file"),
        pytest.param(something_else, "holds 'holiday.jpg'", id="a folder of something else"),
        pytest.param(newer_format, "format 3, this release reads up to 2", id="newer"),
        pytest.param(newer_generation, "a newer one", id="a newer generation"),
        pytest.param(no_json, "format.json is damaged", id="half a file"),
        pytest.param(no_text, "format.json is damaged", id="no text"),
        pytest.param(nothing_in_it, "format.json is damaged", id="an empty file"),
        pytest.param(no_generation, "format.json is damaged", id="no generation"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "data"
    spoil(path)
    with pytest.raises(DataFolderUnusable) as refused:
        make(path)
    assert told in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_whose_parent_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataFolderUnusable, match="missing does not exist: make it"):
        make(tmp_path / "missing" / "data")
    assert not (tmp_path / "missing").exists()


def test_another_shape_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "data", shape=Shape(node_count=2, shard_count=1))
    for shape in (Shape(node_count=1, shard_count=2), Shape(node_count=2, shard_count=2)):
        with pytest.raises(DataFolderUnusable, match="made with 2 nodes x 1 shards, not"):
            make(tmp_path / "data", shape=shape)


def test_another_promptness_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataFolderUnusable, match="= 3000, not 2800: set them as they were"):
        DataFolder.create_or_open(tmp_path / "data", shape=None, windows=OTHER_WINDOWS, now=NOW)
    with pytest.raises(DataFolderUnusable, match="= 3000, not 2800"):
        DataFolder.open(tmp_path / "data", windows=OTHER_WINDOWS)


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "data")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataFolderUnusable, match="cannot be written: give this user the folder"):
        make(tmp_path / "data")


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only file system"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_refuses_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataFolderUnusable, match=told):
        make(tmp_path / "data")


@pytest.mark.parametrize("name", ["data", "missing/data"])
def test_a_folder_that_is_not_there_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataFolderUnusable, match="does not exist: start the platform"):
        DataFolder.open(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_of_something_else_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataFolderUnusable, match="is no data folder"):
        DataFolder.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataFolderUnusable, match="is not a folder"):
        DataFolder.open(tmp_path / "file")


def test_each_core_has_a_file_of_its_own(tmp_path: Path) -> None:
    folder = make(tmp_path / "data")
    paths = {folder.core_path(core) for core in folder.generation.cores}
    assert {path.name for path in paths} == {"n1-0.db", "n1-1.db", "n2-0.db", "n2-1.db"}
    with pytest.raises(CoreUnknown):
        folder.core_path(Core("n3", 0))
