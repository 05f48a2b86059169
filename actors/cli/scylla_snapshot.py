"""A core of ScyllaDB for an audit: all of the keyspace is copied into files first.

A cluster gives no view of one instant, so nothing may move while it is copied.  The files are those
of an embedded store, and are judged as these are.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from actors.cli.audit.keyspace_copy import KeyspaceCopy, lanes_that_moved
from actors.cli.audit.look import Look
from cluster.local.core_copy import CoreCopy
from cluster.local.core_snapshot import CoreSnapshot, open_snapshot
from cluster.runtime.clock import SystemClock
from cluster.scylla.inspection import ScyllaInspection
from cluster.topology.generation import Core, Generation
from pipeline.errors import InputInvalid, StoreUnavailable
from pipeline.instant import Instant, earlier
from pipeline.limits import Windows

_PREFIX: Final = "shardpost-audit-"


class KeyspaceSnapshot:
    """Copies the keyspace when the first core is asked for, into a folder that goes with it."""

    def __init__(
        self, store: ScyllaInspection, generation: Generation, *, windows: Windows
    ) -> None:
        self._store = store
        self._generation = generation
        self._windows = windows
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._turn = asyncio.Lock()

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.cleanup()

    @asynccontextmanager
    async def viewing(self, core: Core) -> AsyncIterator[Look]:
        """Give a core's copy; raises `StoreUnavailable`, or `InputInvalid` if anything moved."""
        async with self._turn:
            if self._folder is None:
                self._folder = await self._copied()
        path = self._path(Path(self._folder.name), core)

        @contextmanager
        def look() -> Iterator[CoreSnapshot | None]:
            with open_snapshot(path) as view:
                yield view

        yield look

    def _path(self, folder: Path, core: Core) -> Path:
        return folder / f"{core.node}-{core.shard}"

    async def _copied(self) -> tempfile.TemporaryDirectory[str]:
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        try:
            await self._copy_to(Path(folder.name))
        except (sqlite3.Error, OSError) as error:
            folder.cleanup()
            raise StoreUnavailable(
                f"the copy in {folder.name} cannot be written ({error}): name a folder with room"
                " in TMPDIR"
            ) from error
        except BaseException:
            folder.cleanup()
            raise
        return folder

    async def _copy_to(self, folder: Path) -> None:
        clock, generation = SystemClock(), self._generation
        oldest = earlier(clock.now(), self._windows.messages_ttl_ms)
        is_swept = Instant(generation.starts_at) < oldest
        copies = {
            core: CoreCopy(self._path(folder, core), clock=clock, is_swept=is_swept)
            for core in generation.cores
        }
        copying = KeyspaceCopy(self._store, copies)
        try:
            before = await copying.heads()
            await copying.copy()
            after = await copying.heads()
        finally:
            for copy in copies.values():
                copy.close()
        if moved := lanes_that_moved(before, after):
            raise InputInvalid(
                f"{len(moved)} lanes moved while they were copied, {moved[0]} first: stop the"
                " platform, or audit a keyspace that was restored from its backup"
            )
