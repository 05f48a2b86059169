"""The log that a writer finds, made durable before anything in it is answered for.

A commit whose sync failed, or whose process died before its sync, leaves its frames in the log.
SQLite takes them for committed when it recovers the log.  Who then repeats the write finds it made,
writes nothing, and so syncs nothing: "applied" would rest on pages that only the memory has.

A sync alone would not do: after one that failed, Linux takes the pages for written and writes them
no more.  So the same bytes are written over themselves first.  Whatever dies meanwhile, every byte
is what it was.
"""

import os
from pathlib import Path
from typing import Final

_PIECE_BYTES: Final = 1024 * 1024


def make_log_durable(log: Path) -> None:
    """Write a log again where it lies, and sync it.  The caller has the file's turn.

    Raises OSError.  A log that is not there is none.
    """
    try:
        file = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        place = 0
        while piece := os.pread(file, _PIECE_BYTES, place):
            place += os.pwrite(file, piece, place)
        if place:
            os.fsync(file)
    finally:
        os.close(file)
