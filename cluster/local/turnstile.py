"""Lets processes write to one file in turn.

SQLite's own wait for its write lock sleeps and looks again, so that a process that writes without
pause keeps another out for seconds.  Here who waits is queued in the kernel.  One lock would not
be enough: who releases it and wants it back takes it before the one that is woken has run.  So
whoever waits for `.write` holds `.turn` meanwhile, and the one that released must queue behind.

Writes and checkpoints are all made inside.  SQLite keeps a transaction whole without that, but
releases before 3.51.3 can lose frames when a checkpoint runs while another connection's commit
starts the WAL over; inside, the two never meet.
"""

import fcntl
import os
from pathlib import Path

from cluster.local.data_folder import FILE_MODE


class Turnstile:
    """For one thread of one process; another of the same file is a stranger, in any process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptors: tuple[int, int] | None = None

    def enter(self) -> None:
        """Wait for the turn and take it.  Raises OSError if the lock files cannot be used."""
        turn, write = self._descriptors or self._open()
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(write, fcntl.LOCK_EX)
        finally:
            fcntl.flock(turn, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Give the turn to the next."""
        assert self._descriptors is not None
        fcntl.flock(self._descriptors[1], fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files; gives up a turn that was not left.  May come twice."""
        if self._descriptors is not None:
            descriptors, self._descriptors = self._descriptors, None
            for descriptor in descriptors:
                os.close(descriptor)

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _open(self) -> tuple[int, int]:
        flags = os.O_RDWR | os.O_CREAT
        turn = os.open(self._path.with_suffix(".turn"), flags, FILE_MODE)
        try:
            write = os.open(self._path.with_suffix(".write"), flags, FILE_MODE)
        except OSError:
            os.close(turn)
            raise
        self._descriptors = (turn, write)
        return self._descriptors
