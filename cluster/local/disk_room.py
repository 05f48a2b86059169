"""Stops accepting before the disk is full.

What is accepted must still be handed over: claims, outcomes, retries, timelines and books need room
as well, and a journal that cannot be written loses track of what a provider took.  So below a mark
nothing new is accepted, and all of this goes on.
"""

import os
from pathlib import Path
from typing import Final

from pipeline.errors import StoreUnavailable
from pipeline.limits import DISK_FREE_BYTES_MIN, DISK_LOOK_INTERVAL_MS
from pipeline.ports import Clock

_LOOK_INTERVAL_US: Final = DISK_LOOK_INTERVAL_MS * 1_000
_MIB: Final = 1024 * 1024


def free_bytes(folder: Path) -> int:
    """Return how much may still be written where the folder is."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class DiskRoom:
    """What is left for a data folder, as of a short while ago."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._looked_us: int | None = None
        self._free = 0

    def refuse_if_low(self) -> None:
        """Raise `StoreUnavailable` if the disk is nearly full."""
        now_us = self._clock.reading().boot_us
        if self._looked_us is None or now_us - self._looked_us >= _LOOK_INTERVAL_US:
            try:
                self._free = free_bytes(self._folder)
            except OSError as error:
                raise StoreUnavailable(f"{self._folder}: {error.strerror or error}") from error
            self._looked_us = now_us
        if self._free < DISK_FREE_BYTES_MIN:
            raise StoreUnavailable(
                f"disk nearly full: {self._free // _MIB} MiB are free for {self._folder}, and"
                f" nothing is accepted below {DISK_FREE_BYTES_MIN // _MIB} MiB: make room"
            )
