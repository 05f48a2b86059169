"""Opening a core's file so that nothing on the disk changes."""

import sqlite3
from pathlib import Path
from typing import Final

from cluster.local.schema import refuse_lost, refuse_strange
from pipeline.limits import FILE_BUSY_MS_MAX

_BUSY_S: Final = FILE_BUSY_MS_MAX / 1_000


class LogUnreadable(sqlite3.OperationalError):
    """The operator must let the folder be written: its log cannot be read without."""


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that is there; raises sqlite3.Error.

    SQLite keeps an index of its log beside the file, which readers write as well.  Where that
    cannot be written, the file is read as if it never changed; but not if there is a log, as what
    lies in it would silently be missing.
    """
    refuse_lost(path)
    try:
        return _checked(_connect(path, "mode=ro"), path)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        if _has_log(path):
            raise LogUnreadable(
                f"{path}: changes lie in its log, which cannot be read while the folder is"
                " read-only: let it be written, or copy it to where it can be"
            ) from error
    return _checked(_connect(path, "mode=ro&immutable=1"), path)


def _connect(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None, timeout=_BUSY_S
    )


def _checked(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        # A database is opened by its first statement.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        refuse_strange(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0
