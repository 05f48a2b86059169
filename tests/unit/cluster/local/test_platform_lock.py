import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from cluster.local.platform_lock import PlatformAddress, PlatformLock, read_platform, takes_messages
from pipeline.errors import DataFolderUnusable, PlatformHeld, PlatformNotRunning

ADDRESS = PlatformAddress(
    ray_address="127.0.0.1:6379",
    namespace="shardpost",
    dashboard_url="http://127.0.0.1:8265",
    pid=42,
)


def test_one_platform_holds_a_folder_and_another_is_told_which(tmp_path: Path) -> None:
    lock = PlatformLock.take(tmp_path)
    with pytest.raises(PlatformHeld, match=rf"held by another platform, process {os.getpid()}:"):
        PlatformLock.take(tmp_path)
    lock.release()
    lock.release()
    PlatformLock.take(tmp_path).release()


def test_what_an_earlier_holder_wrote_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789012\n")
    lock = PlatformLock.take(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_file_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataFolderUnusable, match="cannot be written"):
        PlatformLock.take(tmp_path / "missing")


def test_an_address_is_read_as_it_was_published(tmp_path: Path) -> None:
    lock = PlatformLock.take(tmp_path)
    lock.publish(ADDRESS)
    assert read_platform(tmp_path) == ADDRESS
    lock.release()
    assert not (tmp_path / "platform.json").exists()


def test_a_platform_that_ends_still_runs_and_takes_nothing_more(tmp_path: Path) -> None:
    assert not takes_messages(tmp_path)
    lock = PlatformLock.take(tmp_path)
    lock.announce_end()
    assert not takes_messages(tmp_path), "nothing was published"
    lock.publish(ADDRESS)
    assert takes_messages(tmp_path)
    lock.announce_end()
    assert not takes_messages(tmp_path)
    assert read_platform(tmp_path).pid == ADDRESS.pid
    lock.release()
    lock.announce_end()
    assert not (tmp_path / "platform.json").exists()


def test_a_disk_that_is_full_keeps_no_platform_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = PlatformLock.take(tmp_path)
    lock.publish(ADDRESS)
    monkeypatch.setattr("cluster.local.platform_lock.write_whole", Mock(side_effect=OSError))
    lock.announce_end()
    lock.release()


def test_no_platform_runs_where_nothing_was_published(tmp_path: Path) -> None:
    with pytest.raises(PlatformNotRunning, match="start it with"):
        read_platform(tmp_path)
    lock = PlatformLock.take(tmp_path)
    with pytest.raises(PlatformNotRunning):
        read_platform(tmp_path)
    (tmp_path / "platform.json").write_text("{")
    with pytest.raises(PlatformNotRunning):
        read_platform(tmp_path)
    lock.release()


def test_what_a_killed_platform_published_does_not_count(tmp_path: Path) -> None:
    lock = PlatformLock.take(tmp_path)
    lock.publish(ADDRESS)
    published = (tmp_path / "platform.json").read_bytes()
    lock.release()
    (tmp_path / "platform.json").write_bytes(published)
    with pytest.raises(PlatformNotRunning):
        read_platform(tmp_path)


def test_looking_for_a_platform_leaves_the_lock_free(tmp_path: Path) -> None:
    PlatformLock.take(tmp_path).release()
    with pytest.raises(PlatformNotRunning):
        read_platform(tmp_path)
    PlatformLock.take(tmp_path).release()


HOLDER = """
import os, subprocess, sys
from pathlib import Path
from cluster.local.platform_lock import PlatformLock
lock = PlatformLock.take(Path(sys.argv[1]))
if sys.argv[2] == "fork":
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
else:
    # Whatever the program that is started inherits, it would keep.
    child = subprocess.Popen(["cat"], close_fds=False).pid
print(child, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("way", ["fork", "program"])
def test_a_child_that_outlives_its_platform_does_not_hold_the_folder(
    tmp_path: Path, way: str
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    holder.wait()
    os.kill(child, 0)  # it lives
    PlatformLock.take(tmp_path).release()
    holder.communicate()
