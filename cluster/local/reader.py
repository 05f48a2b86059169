"""The reader of a core's file in this process: its own thread, so that no read delays a write.

It sees what was committed, by any process, before the read began: SQLite shows a commit to others
only after its sync.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from cluster.local.errand import Answer, Errand, FileThread
from cluster.local.sqlite_faults import describe
from pipeline.errors import StoreUnavailable

ResultT = TypeVar("ResultT")


class Reader(FileThread[sqlite3.Connection]):
    """Reads from one file.  `connect` opens it on the thread, at the first read."""

    _unfinished = StoreUnavailable

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        super().__init__(path, purpose="reader")
        self._connect = connect
        self._connection: sqlite3.Connection | None = None

    async def read(self, operation: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Return what `operation` returned; raises `StoreUnavailable` if the file cannot be read.

        Each statement of the operation sees the file as it is when the statement begins.
        """
        return cast(ResultT, await self.ask(Errand(operation)))

    def _has_room(self, group: Sequence[Errand[sqlite3.Connection]]) -> bool:
        return not group  # a short read's answer does not wait for the long one behind it

    def _run(self, group: Sequence[Errand[sqlite3.Connection]]) -> list[Answer]:
        return [self._answer(errand) for errand in group]

    def _answer(self, errand: Errand[sqlite3.Connection]) -> Answer:
        if not errand.begin():
            return Answer(errand)
        try:
            if self._connection is None:
                self._connection = self._connect(self._path)
            return Answer(errand, value=errand.operation(self._connection))
        except (sqlite3.Error, OSError) as error:
            self._end()
            unavailable = StoreUnavailable(describe(error, self._path))
            unavailable.__cause__ = error
            return Answer(errand, error=unavailable)
        except Exception as error:
            return Answer(errand, error=error)

    def _end(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
