"""The one writer of a core's file in this process.

All operations that wait are made in one transaction and committed by one sync of the disk: the
busier the file, the larger the group, and the less each operation costs.  An operation that fails
must not take its neighbours with it: the group is undone and its halves are made again, down to
the one that fails alone.  So an operation is a function that may run more than once and leaves no
trace but in the transaction.

What is definite: an error before COMMIT undoes the group, which is a definite no.  An error of
COMMIT itself says nothing: the frames may be on the disk.  The connection is thrown away then, and
the next one makes the log durable before it answers for anything in it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar, cast

from cluster.local.errand import Answer, Errand, FileThread
from cluster.local.found_log import make_log_durable
from cluster.local.schema import connect, create_tables
from cluster.local.sqlite_faults import describe
from cluster.local.turnstile import Turnstile
from pipeline.errors import ShardpostError, StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.limits import (
    COMMIT_OPERATIONS_MAX,
    COMMIT_ROWS_MAX,
    FILE_BUSY_MS_MAX,
    WAL_BYTES_MAX,
)
from pipeline.ports import Clock

ResultT = TypeVar("ResultT")

# How long a checkpoint that starts the WAL over waits for readers of old pages, while every writer
# waits for it.  If they stay, a later one tries again.
_READERS_BUSY_MS_MAX: Final = 200

LONG_AGO: Final = Instant(0)


class Transaction:
    """What an operation is given: a connection that holds the write lock, and the time."""

    __slots__ = ("_at_min", "_clock", "_given", "connection")

    def __init__(
        self, connection: sqlite3.Connection, clock: Clock, at_min: Instant = LONG_AGO
    ) -> None:
        self.connection = connection
        self._clock = clock
        self._at_min = at_min
        self._given: int | None = None

    def now(self) -> Instant:
        """Return the wall clock's time."""
        return self._clock.now()

    def give_at(self, count: int) -> Instant:
        """Return the first of `count` instants in a row, all later than any that was ever given.

        So the order of `at` is the order of commits, whatever the wall clock does.  Nor is any
        before the first instant that a lane reads from.
        """
        if self._given is None:
            self._given = self.connection.execute("SELECT at FROM clock").fetchone()[0]
        first = max(self._given + 1, self._at_min, self._clock.now())
        self._given = first + count - 1
        return Instant(first)

    def finish(self) -> None:
        """Note the newest `at`, as the last act before COMMIT."""
        if self._given is not None:
            self.connection.execute("UPDATE clock SET at = ?", (self._given,))


_WriteErrand = Errand[Transaction]


class _Checkpoint(_WriteErrand):
    """Moves the WAL into the file, behind the group that it closes."""

    def __init__(self) -> None:
        super().__init__(lambda _transaction: None)


class Writer(FileThread[Transaction]):
    """Writes to one file, in turn with every other process that does."""

    def __init__(self, path: Path, *, clock: Clock, at_min: Instant = LONG_AGO) -> None:
        super().__init__(path, purpose="writer")
        self._clock = clock
        self._at_min = at_min
        self._wal_path = path.with_name(path.name + "-wal")
        self._turnstile = Turnstile(path)
        self._connection: sqlite3.Connection | None = None
        self._wal_bytes_allowed = 2 * WAL_BYTES_MAX

    async def write(
        self, operation: Callable[[Transaction], ResultT], *, row_count: int = 1
    ) -> ResultT:
        """Return what `operation` returned, once that is durable.

        Raises `StoreUnavailable`: certainly not made; `WriteUnknown`: perhaps made; or what the
        operation raised, which is a definite no.
        """
        return cast(ResultT, await self.ask(Errand(operation, row_count=row_count)))

    async def checkpoint(self) -> None:
        """Move the WAL into the file as far as readers allow; if it is long, start it over."""
        await self.ask(_Checkpoint())

    def wal_bytes(self) -> int:
        """Return the length of the write-ahead log."""
        try:
            return self._wal_path.stat().st_size
        except FileNotFoundError:
            return 0

    def _has_room(self, group: Sequence[_WriteErrand]) -> bool:
        return (
            len(group) < COMMIT_OPERATIONS_MAX
            and sum(errand.row_count for errand in group) < COMMIT_ROWS_MAX
            and not isinstance(group[-1], _Checkpoint)
        )

    def _run(self, group: Sequence[_WriteErrand]) -> list[Answer]:
        if not group:
            return []
        try:
            self._turnstile.enter()
        except OSError as error:
            return self._refused(group, error)
        try:
            # Only now: while the thread waits for its turn, a caller may still give up for certain.
            answers: list[Answer] = []
            writes: list[_WriteErrand] = []
            for errand in group:
                if not errand.begin():
                    answers.append(Answer(errand))  # nobody waits for it
                elif not isinstance(errand, _Checkpoint):
                    writes.append(errand)
            if writes:
                answers += self._commit_group(writes)
            if isinstance(group[-1], _Checkpoint):
                answers.append(self._checkpointed(group[-1]))
            # Where nobody sweeps, the log must not grow for ever either.
            if self.wal_bytes() > self._wal_bytes_allowed:
                with suppress(sqlite3.Error, OSError):
                    self._move_wal()
                # If a reader kept it long, it is left alone until it has grown by as much again.
                self._wal_bytes_allowed = self.wal_bytes() + 2 * WAL_BYTES_MAX
            return answers
        finally:
            self._turnstile.leave()

    def _commit_group(self, group: Sequence[_WriteErrand]) -> list[Answer]:
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            return self._refused(group, error)
        try:
            transaction = Transaction(connection, self._clock, self._at_min)
            answers = [Answer(errand, value=errand.operation(transaction)) for errand in group]
            transaction.finish()
        except Exception as error:
            self._undo(connection)
            if len(group) == 1:
                return self._refused(group, error)
            middle = len(group) // 2
            return self._commit_group(group[:middle]) + self._commit_group(group[middle:])
        try:
            self._commit(connection)
        except sqlite3.Error as error:
            # The next transaction begins on a connection that has seen nothing of this one.
            self._let_go()
            return [
                Answer(errand, error=_caused(WriteUnknown(describe(error, self._path)), error))
                for errand in group
            ]
        return answers

    def _commit(self, connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")

    def _undo(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._let_go()

    def _refused(self, group: Sequence[_WriteErrand], error: Exception) -> list[Answer]:
        """Return a definite no for each."""
        if isinstance(error, sqlite3.Error | OSError):
            reason = describe(error, self._path)
            return [
                Answer(errand, error=_caused(StoreUnavailable(reason), error)) for errand in group
            ]
        return [Answer(errand, error=error) for errand in group]

    def _checkpointed(self, errand: _WriteErrand) -> Answer:
        try:
            self._move_wal()
        except (sqlite3.Error, OSError) as error:
            return self._refused([errand], error)[0]
        return Answer(errand)

    def _move_wal(self) -> None:
        connection = self._open()
        if self.wal_bytes() <= WAL_BYTES_MAX:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return
        connection.execute(f"PRAGMA busy_timeout = {_READERS_BUSY_MS_MAX}")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {FILE_BUSY_MS_MAX}")

    def _open(self) -> sqlite3.Connection:
        """Return the connection; the thread has the file's turn."""
        if self._connection is None:
            connection = connect(self._path)
            try:
                # Only now: the connection keeps others from removing the log at their end.
                make_log_durable(self._wal_path)
                create_tables(connection, self._path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()

    def _end(self) -> None:
        self._let_go()
        self._turnstile.close()


def _caused(error: ShardpostError, cause: BaseException) -> ShardpostError:
    error.__cause__ = cause
    return error
