"""A core's file as SQLite sees it: its tables, and the settings of every connection.

Where thousands of rows are written that are read together (bodies, the buffer), they lie packed in
one row, a *block*; where each must be found by its id (which body, which events), there is one
small row each, in a tree without row ids.  Random ids cost such a tree a page for each row as it
grows, so it holds nothing but what it must.
"""

import sqlite3
from pathlib import Path
from typing import Final

from cluster.local.data_folder import (
    is_core_file_lost,
    is_core_file_made,
    lost_core_file,
    mark_core_file,
)
from cluster.local.turnstile import Turnstile
from pipeline.lifecycle import OPEN_QUESTIONS
from pipeline.limits import FILE_BUSY_MS_MAX

SCHEMA_VERSION: Final = 5

# Commits wait for the disk.  A test of the tests turns this off and must be found out.
SYNCHRONOUS: Final = "FULL"

_CACHE_KIB: Final = 16 * 1024
_STATEMENTS_MAX: Final = 128

OPEN_QUESTIONS_SQL: Final = ", ".join(str(int(event)) for event in OPEN_QUESTIONS)

_SCHEMA: Final = f"""
-- The newest `at` that was given; it never goes back, whatever the clock does.
CREATE TABLE clock (only INTEGER PRIMARY KEY CHECK (only = 1), at INTEGER NOT NULL);
INSERT INTO clock VALUES (1, 0);

CREATE TABLE idem (
    id BLOB PRIMARY KEY, body_hash BLOB NOT NULL, born INTEGER NOT NULL
) WITHOUT ROWID;

-- Bodies lie in the order of their coming; only their ids are in the order of ids.
CREATE TABLE bodies (
    block INTEGER PRIMARY KEY, born_max INTEGER NOT NULL, packed BLOB NOT NULL
);
CREATE TABLE body_ids (id BLOB PRIMARY KEY, block INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE by_group (
    group_key TEXT NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (group_key, block)
) WITHOUT ROWID;

CREATE TABLE buffer (
    lane TEXT NOT NULL, last_at INTEGER NOT NULL, first_at INTEGER NOT NULL, packed BLOB NOT NULL,
    PRIMARY KEY (lane, last_at)
) WITHOUT ROWID;

CREATE TABLE timeline (
    id BLOB NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (id, step)
) WITHOUT ROWID;
CREATE INDEX open_questions ON timeline (step & 255, id, step)
    WHERE step & 255 IN ({OPEN_QUESTIONS_SQL});

CREATE TABLE lanes (lane TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    lane TEXT NOT NULL, segment INTEGER NOT NULL, epoch INTEGER NOT NULL, owner BLOB NOT NULL,
    PRIMARY KEY (lane, segment)
) WITHOUT ROWID;
CREATE TABLE journal (
    lane TEXT NOT NULL, segment INTEGER NOT NULL, seq INTEGER NOT NULL,
    at INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (lane, segment, seq)
) WITHOUT ROWID;

CREATE TABLE books (
    book TEXT NOT NULL, lane TEXT NOT NULL, as_of INTEGER NOT NULL, counts BLOB NOT NULL,
    PRIMARY KEY (book, lane)
) WITHOUT ROWID;
CREATE TABLE owners (
    owner BLOB PRIMARY KEY, actor_name TEXT NOT NULL, value INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
"""

# What version 2 added: tables alone, so that a file of version 1 is brought there at once.
_SCHEMA_2: Final = """
CREATE TABLE timers (
    lane TEXT NOT NULL, due_at INTEGER NOT NULL, id BLOB NOT NULL, attempt INTEGER NOT NULL,
    pk BLOB, -- NULL: the id
    born INTEGER NOT NULL, group_key TEXT NOT NULL,
    PRIMARY KEY (lane, due_at, id, attempt)
) WITHOUT ROWID;
-- Blocks of bodies that a timer needs, and until when.
CREATE TABLE kept_bodies (block INTEGER PRIMARY KEY, until INTEGER NOT NULL);

CREATE TABLE receipts (
    ref BLOB NOT NULL, side TEXT NOT NULL, key TEXT NOT NULL, message_id BLOB NOT NULL,
    pk BLOB NOT NULL, lane TEXT NOT NULL, event INTEGER NOT NULL, at INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (ref, side, key)
) WITHOUT ROWID;
CREATE INDEX references_of ON receipts (message_id) WHERE side = 'owner';

-- What was removed stays for a while, so that an older row that comes late does not bring it back.
CREATE TABLE suppressions (
    key BLOB PRIMARY KEY, tenant TEXT NOT NULL, channel TEXT NOT NULL, recipient TEXT NOT NULL,
    since INTEGER NOT NULL, reason TEXT NOT NULL, asked_by TEXT NOT NULL,
    is_removed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX suppressions_of ON suppressions (tenant, key) WHERE NOT is_removed;

CREATE TABLE segment_hints (lane TEXT PRIMARY KEY, segment INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE commands (
    lane TEXT NOT NULL, at INTEGER NOT NULL, id BLOB NOT NULL, kind TEXT NOT NULL,
    message_id BLOB NOT NULL, pk BLOB NOT NULL, group_key TEXT NOT NULL, asked_by TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (lane, at)
) WITHOUT ROWID;
CREATE TABLE results (
    id BLOB NOT NULL, lane TEXT NOT NULL, at INTEGER NOT NULL, verdict TEXT NOT NULL,
    detail TEXT NOT NULL, counts BLOB NOT NULL,
    PRIMARY KEY (id, lane)
) WITHOUT ROWID;
CREATE TABLE group_orders (
    group_key TEXT NOT NULL, family TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL,
    id BLOB NOT NULL, asked_by TEXT NOT NULL,
    PRIMARY KEY (group_key, family)
) WITHOUT ROWID;
"""

_SCHEMA_3: Final = """
CREATE TABLE editions (
    id BLOB PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
"""


# The message of an owner's row, as a command to it has to say it.
_SCHEMA_4: Final = """
ALTER TABLE receipts ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN group_key TEXT NOT NULL DEFAULT '';
"""


# Editions that are not confirmed; those of an older file counted when they were written.
_SCHEMA_5: Final = """
CREATE TABLE drafts (
    id BLOB NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (id, at)
) WITHOUT ROWID;
"""


class SchemaTooNew(sqlite3.DatabaseError):
    """A later release made the file: the operator must run that one, or a newer one."""


class CoreFileLost(sqlite3.DatabaseError):
    """The operator must restore the file from a copy: it was made, and what it held is gone."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a core's file to write or read; makes it, without tables, if it never was there.

    The connection belongs to the thread that called.  Raises sqlite3.Error.
    """
    refuse_lost(path)
    connection = sqlite3.connect(
        path,
        isolation_level=None,  # transactions begin where the code says so
        timeout=FILE_BUSY_MS_MAX / 1_000,
        cached_statements=_STATEMENTS_MAX,
    )
    try:
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        # What a statement of many rows would undo is kept in memory, not in a file elsewhere.
        connection.execute("PRAGMA temp_store = MEMORY")
        # Checkpoints are made in turn with writes, never by whoever happens to commit.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # On macOS only this reaches the disk; elsewhere it means nothing.
        connection.execute("PRAGMA fullfsync = 1")
        connection.execute("PRAGMA checkpoint_fullfsync = 1")
        refuse_strange(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a core's file so that nothing can be changed through the connection.

    Makes file and tables if they are not there, and what an older file lacks.  Raises
    sqlite3.Error, or OSError.
    """
    connection = connect(path)
    try:
        if schema_version(connection) < SCHEMA_VERSION:
            turnstile = Turnstile(path)
            try:
                with turnstile:
                    create_tables(connection, path)
            finally:
                turnstile.close()
        connection.execute("PRAGMA query_only = 1")
    except BaseException:
        connection.close()
        raise
    return connection


def create_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables that are not there, and note that the file was made.

    The caller has the file's turn.  Raises sqlite3.Error, or OSError.
    """
    if (version := schema_version(connection)) < SCHEMA_VERSION:
        _create_tables(connection, version)
    mark_core_file(path)


def _create_tables(connection: sqlite3.Connection, version: int) -> None:
    if (mode := connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]) != "wal":
        raise sqlite3.OperationalError(
            f"the file system of the data folder allows no write-ahead log ({mode}): name another"
        )
    missing = "".join((_SCHEMA, _SCHEMA_2, _SCHEMA_3, _SCHEMA_4, _SCHEMA_5)[version:])
    connection.executescript(
        f"BEGIN IMMEDIATE; {missing}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
    )


def refuse_lost(path: Path) -> None:
    """Raise `CoreFileLost` if the file was made and is gone, before it is made anew."""
    if is_core_file_lost(path):
        raise CoreFileLost(lost_core_file(path))


def refuse_strange(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `SchemaTooNew` if the tables are not known here, `CoreFileLost` if they are gone."""
    if (version := schema_version(connection)) == 0 and is_core_file_made(path):
        raise CoreFileLost(lost_core_file(path))
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{path} has schema {version}, this release reads up to {SCHEMA_VERSION}:"
            " run the release that made it, or a newer one"
        )


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 if there are none."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
