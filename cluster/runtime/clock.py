"""The clocks of a real process."""

import time
from collections.abc import Callable
from typing import Final

from pipeline.instant import Instant
from pipeline.ports import ClockReading

_NS_PER_US: Final = 1_000


def _boot_ns_of() -> Callable[[], int]:
    # CLOCK_MONOTONIC stands still while a Linux machine sleeps, and the write window would not
    # see that a request slept with it.  Elsewhere the monotonic clock is the best there is.
    clock_id = getattr(time, "CLOCK_BOOTTIME", None)
    if clock_id is None:
        return time.monotonic_ns
    return lambda: time.clock_gettime_ns(clock_id)


class SystemClock:
    """The wall clock and the boot clock of this machine; may be read from every thread."""

    def __init__(self) -> None:
        self._boot_ns = _boot_ns_of()

    def now(self) -> Instant:
        """Return the wall clock's time."""
        return Instant(time.time_ns() // _NS_PER_US)

    def reading(self) -> ClockReading:
        """Return both clocks."""
        return ClockReading(wall=self.now(), boot_us=self._boot_ns() // _NS_PER_US)
