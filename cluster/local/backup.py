"""Copies of a data folder: taken while a platform runs, and brought back.

A backup is a folder with one file for each core, as it stood at one instant, and `backup.json`,
which is written last: without it the copy is not complete.  It has no `format.json`, so no platform
starts on it by mistake; `restore` makes a data folder of it.

What a backup cannot know is what happened after it was taken.  What was accepted since is lost.
What was handed over since looks as if it still waited, and a platform on the copy would hand it
over again.  So a restored folder says since when it may be trusted (`restored_at`): it is after
every `at` in the copy and before every `at` to come, and the lanes claim nothing that could have
been sent before it.  Only the operator can know that nothing was sent, and say so.

The files of the cores are not of one instant.  No promise spans two files: what a client's key
stands for is accepted again where the other file does not have it yet.

The copy is read as queries read, so that no write waits for it; the log cannot be started over
meanwhile and grows.  The old folder must not run any more once the copy does: the epochs of two
folders do not fence each other.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from cluster.local.data_folder import (
    FOLDER_MODE,
    FORMAT_FILE,
    DataFolder,
    decode_format,
    mark_core_file,
    refuse_used,
    told_in_one_line,
    write_format,
    write_whole,
)
from cluster.local.read_only import connect_read_only
from cluster.local.schema import schema_version
from cluster.local.sqlite_faults import describe
from pipeline.errors import DataFolderUnusable, StoreUnavailable
from pipeline.instant import Instant

BACKUP_FILE: Final = "backup.json"

_BEGUN_FILE: Final = "backup.json.begun"


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    """`backup.json`."""

    taken_at: int
    files: list[str]
    folder: msgspec.Raw  # its `format.json`


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A copy that was taken: when, and how long it is."""

    path: Path
    taken_at: Instant
    length_bytes: int


def back_up(folder: DataFolder, target: Path, *, now: Instant) -> Backup:
    """Copy a data folder into a folder that is not there, or empty; a platform may run meanwhile.

    `taken_at` is `now`: what is accepted later is perhaps not in it.  A copy that failed leaves a
    folder without `backup.json`.  Raises `DataFolderUnusable` for what is wrong with the target,
    `StoreUnavailable` if the folder cannot be read.
    """
    with told_in_one_line(target):
        _make_empty(target)
        files = []
        for core in folder.generation.cores:
            path = folder.core_path(core)
            if path.exists() and _copy_core(path, target / path.name):
                files.append(path.name)
        content = _Content(
            taken_at=now,
            files=files,
            folder=msgspec.Raw((folder.path / FORMAT_FILE).read_bytes()),
        )
        write_whole(target / BACKUP_FILE, msgspec.json.encode(content), begun=target / _BEGUN_FILE)
        length_bytes = sum((target / name).stat().st_size for name in files)
    return Backup(path=target, taken_at=now, length_bytes=length_bytes)


def restore(
    backup: Path, target: Path, *, now: Instant, is_nothing_sent_since: bool = False
) -> DataFolder:
    """Make a data folder of a backup, in a folder that is not there, or empty.

    `is_nothing_sent_since`: the operator knows that no platform handed anything over after the
    backup was taken; then what waits in it is sent as if nothing had happened.  May be called again
    after a crash, on an empty target: a folder is a data folder only when it is complete.  Raises
    `DataFolderUnusable`.
    """
    with told_in_one_line(backup):
        content = _read_content(backup)
        generation, restored_before = decode_format(bytes(content.folder), backup / BACKUP_FILE)
    with told_in_one_line(target):
        _make_empty(target)
        newest = now
        for name in content.files:
            newest = max(newest, _bring_back(backup / name, target / name))
        for name in content.files:
            mark_core_file(target / name)
        restored_at = restored_before if is_nothing_sent_since else newest
        write_format(target, generation=generation, restored_at=restored_at)
    return DataFolder.open(target)


def _make_empty(target: Path) -> None:
    target.mkdir(mode=FOLDER_MODE, exist_ok=True)
    refuse_used(target)
    target.chmod(FOLDER_MODE)


def _copy_core(path: Path, copy: Path) -> bool:
    """Copy one core's file; return False for one that has no tables yet, so nothing in it."""
    try:
        with closing(connect_read_only(path)) as source, closing(sqlite3.connect(copy)) as into:
            if schema_version(source) == 0:
                return False
            # In one piece: so it is one state of the file, whatever others write.
            source.backup(into)
            _refuse_damaged(into)
    except sqlite3.Error as error:
        raise StoreUnavailable(describe(error, path)) from error
    _sync(copy)
    return True


def _bring_back(copy: Path, path: Path) -> Instant:
    """Copy one core's file; return the newest `at` in it."""
    if not copy.exists():
        raise DataFolderUnusable(f"{copy} is missing: the backup is not whole, take another")
    shutil.copyfile(copy, path)
    _sync(path)
    try:
        with closing(sqlite3.connect(path)) as connection:
            _refuse_damaged(connection)
            return Instant(connection.execute("SELECT at FROM clock").fetchone()[0])
    except sqlite3.Error as error:
        raise DataFolderUnusable(f"{copy} is damaged ({error}): take another backup") from error


def _refuse_damaged(connection: sqlite3.Connection) -> None:
    if (told := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        what = told.splitlines()[-1]
        raise sqlite3.DatabaseError(f"the file is damaged, restore it from a copy: {what}")


def _read_content(backup: Path) -> _Content:
    try:
        return msgspec.json.decode((backup / BACKUP_FILE).read_bytes(), type=_Content)
    except FileNotFoundError:
        raise DataFolderUnusable(
            f"{backup} is no backup (it has no {BACKUP_FILE}), or one that was not finished"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataFolderUnusable(f"{backup / BACKUP_FILE} is damaged: take another") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
