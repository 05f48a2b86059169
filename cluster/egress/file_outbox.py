"""Lines appended to files that other programs read, durable before anybody says so.

One file a lane: `DATA/outbox/<channel>/<lane>.jsonl`.  A writer that finds a last line without an
end (its predecessor died while it wrote) ends it first, so that what follows is not glued to it;
the torn line is no hand-over, and its message is uncertain anyway.

Who reads the files may move them away.  What is written to a file that has no name any more is read
by nobody, so each write looks whether the file still lies in its place, and once more, when it is
done, whether it was removed meanwhile.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.lane_id import LaneId

_FILES_OPEN_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How far a write came."""

    bytes_count: int
    is_durable: bool
    error: str


class FileOutbox:
    """The files of one process.  Writes happen one after the other, in a thread of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[LaneId, int] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")

    async def append(self, lane: LaneId, data: bytes) -> Written:
        """Append to the lane's file and make it durable.  Never raises, never repeats."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._append, lane, data)

    def close(self) -> None:
        """Finish what is being written, then close the files."""
        self._thread.shutdown(wait=True)
        while self._files:
            os.close(self._files.popitem()[1])

    def _append(self, lane: LaneId, data: bytes) -> Written:
        written = 0
        try:
            file = self._in_place(lane)
            if file is None:
                file = self._open(lane)
            view = memoryview(data)
            while written < len(data):
                written += os.write(file, view[written:])
            os.fdatasync(file)
            if not os.fstat(file).st_nlink:
                raise FileNotFoundError("the file was removed while it was written")
        except OSError as error:
            self._forget(lane)
            return Written(bytes_count=written, is_durable=False, error=str(error))
        return Written(bytes_count=written, is_durable=True, error="")

    def _in_place(self, lane: LaneId) -> int | None:
        """Return the lane's open file, None if it has none or another lies under its name."""
        file = self._files.get(lane)
        if file is None:
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self._path(lane)), os.fstat(file)):
                return file
        self._forget(lane)
        return None

    def _path(self, lane: LaneId) -> Path:
        return self._folder / lane.channel / f"{lane}.jsonl"

    def _open(self, lane: LaneId) -> int:
        if len(self._files) >= _FILES_OPEN_MAX:
            os.close(self._files.pop(next(iter(self._files))))
        path = self._path(lane)
        folder = path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                os.write(file, b"\n")
            for parent in (folder, self._folder, self._folder.parent):
                _sync_folder(parent)
        except OSError:
            os.close(file)
            raise
        self._files[lane] = file
        return file

    def _forget(self, lane: LaneId) -> None:
        file = self._files.pop(lane, None)
        if file is not None:
            os.close(file)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
