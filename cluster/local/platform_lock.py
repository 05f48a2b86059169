"""Who runs the platform on a data folder, and where it answers.

`flock` on the file `lock` lets one platform run at a time; it ends with its process, however that
ends.  It is a courtesy: lanes are fenced by their epochs, whoever holds the lock.  `platform.json`
tells clients where to join; it outlives a platform that was killed, so it counts only while the
lock is held.
"""

import fcntl
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet

import msgspec
from msgspec import structs

from cluster.local.data_folder import FILE_MODE, write_whole
from pipeline.errors import DataFolderUnusable, PlatformHeld, PlatformNotRunning

_LOCK_FILE: Final = "lock"
_ADDRESS_FILE: Final = "platform.json"
_BEGUN_FILE: Final = "platform.json.begun"

# Clients look whether the lock is held by taking it, shared, for an instant.
_TRIES_MAX: Final = 10
_TRY_PAUSE_S: Final = 0.01


class PlatformAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the running platform answers."""

    ray_address: str
    namespace: str
    dashboard_url: str
    pid: int
    is_ending: bool = False  # it takes nothing more
    logs: str = ""  # the folder where its processes log
    troubles: tuple[str, ...] = ()  # what somebody should look at, a line each
    warnings: tuple[str, ...] = ()  # and what though work goes on


class PlatformLock:
    """The lock, held.  It is not inherited by child processes."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._published: PlatformAddress | None = None
        _held.add(self)

    @classmethod
    def take(cls, folder: Path) -> "PlatformLock":
        """Take the lock, or raise `PlatformHeld`, which names the process that holds it.

        Raises `DataFolderUnusable` if the file cannot be written.
        """
        try:
            # Python opens files so that no program started from here inherits them.
            descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, FILE_MODE)
        except OSError as error:
            raise DataFolderUnusable(
                f"{folder / _LOCK_FILE} cannot be written ({error.strerror}):"
                " give this user the folder, or name another"
            ) from error
        pause = threading.Event()
        for _ in range(_TRIES_MAX):
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            pause.wait(_TRY_PAUSE_S)
        else:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise PlatformHeld(
                f"{folder} is held by another platform, process {holder or 'unknown'}:"
                " stop it, or name another data folder"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(folder, descriptor)

    def publish(self, address: PlatformAddress) -> None:
        """Tell clients where the platform answers."""
        self._published = address
        write_whole(
            self._folder / _ADDRESS_FILE,
            msgspec.json.encode(address),
            begun=self._folder / _BEGUN_FILE,
        )

    def announce_end(self) -> None:
        """Tell clients that the platform takes nothing more, though it still runs.

        Does nothing if they cannot be told: the disk may be full.
        """
        if self._published is not None and self._descriptor >= 0:
            with suppress(OSError):
                self.publish(structs.replace(self._published, is_ending=True))

    def tell_troubles(self, troubles: Sequence[str], warnings: Sequence[str] = ()) -> None:
        """Tell clients what somebody should look at; does nothing if they cannot be told."""
        if self._published is not None and self._descriptor >= 0:
            with suppress(OSError):
                self.publish(
                    structs.replace(
                        self._published, troubles=tuple(troubles), warnings=tuple(warnings)
                    )
                )

    def release(self) -> None:
        """Give the lock up and withdraw the address.  May come twice."""
        if self._descriptor < 0:
            return
        (self._folder / _ADDRESS_FILE).unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def read_platform(folder: Path) -> PlatformAddress:
    """Return where the platform of this folder answers; raises `PlatformNotRunning`.

    It may have ended since: who cannot join it says the same.
    """
    not_running = PlatformNotRunning(
        f"no platform runs on {folder}: start it with `shardpost up --data {folder}`"
    )
    if not is_held(folder):
        raise not_running
    try:
        encoded = (folder / _ADDRESS_FILE).read_bytes()
        return msgspec.json.decode(encoded, type=PlatformAddress)
    except (OSError, msgspec.DecodeError) as error:
        # It is starting, and has not published yet.
        raise not_running from error


def takes_messages(folder: Path) -> bool:
    """Return whether a platform runs on this folder and has not begun to end."""
    try:
        return not read_platform(folder).is_ending
    except PlatformNotRunning:
        return False


def is_held(folder: Path) -> bool:
    """Return whether somebody holds the lock of the folder."""
    try:
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


_held: WeakSet[PlatformLock] = WeakSet()


def _close_all() -> None:
    # A child that is forked without starting a program would keep the lock after its parent.
    for lock in list(_held):
        lock._close()


os.register_at_fork(after_in_child=_close_all)
