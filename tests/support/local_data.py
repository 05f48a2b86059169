"""Data folders for tests, and faults of the disk on command."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from cluster.local.data_folder import DataFolder, Shape
from cluster.local.queries import LocalQueries
from cluster.local.store import LocalStore
from cluster.local.writer import Writer
from cluster.topology.generation import Core, Generation
from pipeline.limits import Windows
from tests.support.fake_clock import FakeClock

WINDOWS = Windows()


class LocalData:
    """A data folder, and the stores that were opened on it."""

    def __init__(self, path: Path, *, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.windows = WINDOWS
        self.folder = DataFolder.create_or_open(
            path, shape=Shape(), windows=WINDOWS, now=self.clock.now()
        )
        self._opened: list[LocalStore | LocalQueries] = []

    @property
    def generation(self) -> Generation:
        return self.folder.generation

    async def open(self, *, windows: Windows = WINDOWS) -> LocalStore:
        store = LocalStore.open(self.folder.path, cores=None, clock=self.clock, windows=windows)
        self._opened.append(store)
        return store

    async def open_queries(self) -> LocalQueries:
        queries = LocalQueries.open(self.folder.path)
        self._opened.append(queries)
        return queries

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()

    @contextmanager
    def losing_the_answer(self, store: object) -> Iterator[None]:
        """Let COMMIT do its work and fail."""
        assert isinstance(store, LocalStore)

        def commit(connection: sqlite3.Connection) -> None:
            connection.execute("COMMIT")
            raise sqlite3.OperationalError("the disk went away")

        with _each_writer(store, "_commit", commit):
            yield

    @contextmanager
    def refusing_writes(self, store: object) -> Iterator[None]:
        """Let everything be written, but for the end of it: the last page finds the disk full."""
        assert isinstance(store, LocalStore)

        def finish(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with patch("cluster.local.writer.Transaction.finish", finish):
            yield


def writer_of(store: LocalStore, core: Core) -> Writer:
    """Return the writer of a core's file."""
    return store._files[core].writer


@contextmanager
def _each_writer(store: LocalStore, name: str, replacement: Callable[..., None]) -> Iterator[None]:
    writers = [writer_of(store, core) for core in store._files]
    for writer in writers:
        setattr(writer, name, replacement)
    try:
        yield
    finally:
        for writer in writers:
            delattr(writer, name)
