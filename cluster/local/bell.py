"""The bell of a core: how another program of this machine says that lanes have commands to read.

A socket in the data folder, held by the core's scheduler.  Whoever wrote commands sends the names
of their lanes, and hears nothing back; a command line that joined Ray instead would be seconds
late.  It is a hint, as a doorbell is: where it cannot be heard (another machine, a file system
without sockets, a scheduler that ends) the lane finds its commands when it looks next, within a
second.  The folder is its owner's alone, so nobody else can ring.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from cluster.local.data_folder import FILE_MODE, FOLDER_MODE
from cluster.topology.generation import Core
from pipeline.limits import BELL_BYTES_MAX

log = structlog.get_logger(__name__)

_FOLDER: Final = "bells"
_SUFFIX: Final = ".sock"
_END: Final = "\n"

# A socket's path has room for about a hundred bytes, whatever the file system allows.  Where the
# kernel names open folders, the path begins with such a name instead.
_OPEN_FOLDERS: Final = Path("/proc/self/fd")


class CoreBell:
    """Held by one scheduler of a core; `part` tells it from others of the same core."""

    def __init__(self, folder: Path, core: Core, *, part: int = 0) -> None:
        self._folder = folder / _FOLDER
        self._name = f"{_stem(core)}+{part}{_SUFFIX}"
        self._socket: socket.socket | None = None
        self._inode = 0

    def hang(self, on_ring: Callable[[Sequence[str]], None]) -> None:
        """Hear the names of lanes that have commands; what is heard is a hint.

        Takes the place of a predecessor's that was left behind.  Where there can be none, none is.
        """
        loop = asyncio.get_running_loop()
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        heard.setblocking(False)
        try:
            self._folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            path = self._folder / self._name
            path.unlink(missing_ok=True)
            with _short(self._folder) as short:
                heard.bind(str(short / self._name))
            path.chmod(FILE_MODE)
            self._inode = path.stat().st_ino
        except OSError as error:
            heard.close()
            log.warning("no_bell", path=str(self._folder / self._name), error=str(error))
            return
        self._socket = heard

        def hear() -> None:
            with suppress(BlockingIOError):
                while True:
                    data = heard.recv(BELL_BYTES_MAX)
                    on_ring(data.decode(errors="replace").split(_END))

        loop.add_reader(heard.fileno(), hear)

    def take_down(self) -> None:
        """Hear nothing more.  May come twice."""
        heard, self._socket = self._socket, None
        if heard is None:
            return
        asyncio.get_running_loop().remove_reader(heard.fileno())
        heard.close()
        path = self._folder / self._name
        with suppress(OSError):
            # A successor's may hang there already.
            if path.stat().st_ino == self._inode:
                path.unlink()


def ring(folder: Path, core: Core, lanes: Sequence[str]) -> None:
    """Tell whoever serves a core that these lanes have commands, if anybody hears it."""
    bells = folder / _FOLDER
    names = sorted(path.name for path in bells.glob(f"{_stem(core)}+*{_SUFFIX}"))
    if not names:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        with _short(bells) as short:
            for name in names:
                for data in _parts(lanes):
                    # One that nobody holds any more, or whose holder is busy.
                    with suppress(OSError):
                        line.sendto(data, str(short / name))


def _stem(core: Core) -> str:
    return f"{core.node}.{core.shard}"


def _parts(lanes: Sequence[str]) -> Iterator[bytes]:
    part: list[bytes] = []
    size = 0
    for name in lanes:
        encoded = name.encode()
        if part and size + len(encoded) + 1 > BELL_BYTES_MAX:
            yield _END.encode().join(part)
            part, size = [], 0
        part.append(encoded)
        size += len(encoded) + 1
    if part:
        yield _END.encode().join(part)


@contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """Give a short path of a folder while it is open."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        path = _OPEN_FOLDERS / str(descriptor)
        yield path if path.exists() else folder
    finally:
        os.close(descriptor)
