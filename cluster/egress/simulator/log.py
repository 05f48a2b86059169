"""What the provider saw, one JSON line a request, on disk before it is answered.

The judge of every test that kills: it stands outside of what is judged, and survives its own death.
Lines that wait are written and synced together, in a thread.
"""

import asyncio
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec


class LogLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request."""

    at_us: int
    protocol: str
    key: str  # what the provider deduplicates by
    message_id: str
    recipient: str
    digest: str  # of the content
    mode: str
    took: bool  # the provider has it: this is a delivery, unless it had it before
    was_new: bool  # it had it not before; without keys it never knows
    seen_before: int  # requests of this key


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(LogLine).decode


def read_log(path: Path) -> list[LogLine]:
    """Return every whole line; a torn last one was never answered."""
    if not path.exists():
        return []
    return [_decode(line) for line in path.read_bytes().split(b"\n")[:-1] if line]


class ProviderLog:
    """The file, and what follows from it: a provider that starts again knows what it took.

    Only one process may write it.
    """

    def __init__(self, path: Path) -> None:
        self._cut_torn_end(path)
        self.requests: Counter[str] = Counter()
        self.taken: set[str] = set()
        for line in read_log(path):
            self.requests[line.key] += 1
            if line.took:
                self.taken.add(line.key)
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="provider-log")
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def append(self, line: LogLine) -> None:
        """Write a line; it is durable when this returns.  Lines keep their order."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((_encode(line) + b"\n", done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        # Whoever waits may be gone with its connection; the line is written all the same.
        await asyncio.shield(done)

    async def close(self) -> None:
        """Write what waits and close the file."""
        if self._writer is not None:
            await self._writer
        self._thread.shutdown(wait=True)
        os.close(self._file)

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            data = b"".join(line for line, _ in batch)
            # A provider that cannot write its log answers nobody any more: nothing is caught here.
            await loop.run_in_executor(self._thread, self._write, data)
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fdatasync(self._file)

    @staticmethod
    def _cut_torn_end(path: Path) -> None:
        if path.exists():
            whole = path.read_bytes().rpartition(b"\n")
            os.truncate(path, len(whole[0]) + len(whole[1]))
