"""What SQLite's errors mean, in one line that says what to change."""

import sqlite3
from pathlib import Path
from typing import Final

from cluster.local.schema import CoreFileLost, SchemaTooNew

_PRIMARY_MASK: Final = 0xFF

_MEANINGS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_READONLY: "the file cannot be written: give this user the file and its folder",
    sqlite3.SQLITE_PERM: "no permission: give this user the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: look at the folder and its permissions",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: stop the platform and restore it from a copy",
    sqlite3.SQLITE_NOTADB: "the file is damaged: stop the platform and restore it from a copy",
    sqlite3.SQLITE_BUSY: "another program holds the file: close it",
    sqlite3.SQLITE_LOCKED: "another program holds the file: close it",
    sqlite3.SQLITE_IOERR: "the disk does not answer as it should: look at the system's log",
}


def describe(error: sqlite3.Error | OSError, path: Path) -> str:
    """Return one line for a person: which file, what is wrong, what to change."""
    if isinstance(error, SchemaTooNew | CoreFileLost):
        return str(error)
    code = getattr(error, "sqlite_errorcode", None)
    meaning = None if code is None else _MEANINGS.get(code & _PRIMARY_MASK)
    return f"{path}: {error}" if meaning is None else f"{path}: {meaning} ({error})"
