"""How busy this thread and this machine are, in thousandths of a processor core.

    meter = ProcessorMeter()
    meter.measure()    # again and again, always from the same thread

What a process may use is the machine's, or less where its control group says so.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/stat")
_GROUP: Final = Path("/sys/fs/cgroup")
_NS: Final = 1_000_000_000
_US_TO_NS: Final = 1_000
_MILLI: Final = 1_000


@dataclass(frozen=True, slots=True)
class ProcessorUse:
    """Since the measurement before."""

    busy: int  # this thread worked
    idle: int  # nobody worked, of what this machine has


class ProcessorMeter:
    """For one thread."""

    def __init__(self, *, stat: Path = _STAT, group: Path = _GROUP) -> None:
        self._stat, self._group = stat, group
        self._before: tuple[int, int, int | None, int | None] | None = None

    def measure(self) -> ProcessorUse:
        """Return what was used since the last time; the first time nothing is known yet."""
        now = (time.monotonic_ns(), time.thread_time_ns(), self._idle_ns(), self._group_ns())
        before, self._before = self._before, now
        if before is None or now[0] == before[0]:
            return ProcessorUse(0, 0)
        elapsed = now[0] - before[0]
        return ProcessorUse(
            busy=(now[1] - before[1]) * _MILLI // elapsed,
            idle=self._idle_since(before, now, elapsed),
        )

    def _idle_since(
        self,
        before: tuple[int, int, int | None, int | None],
        now: tuple[int, int, int | None, int | None],
        elapsed: int,
    ) -> int:
        if before[2] is None or now[2] is None:
            # Not Linux: the machine's own average of a minute has to do.
            return max(0, round(((os.cpu_count() or 1) - os.getloadavg()[0]) * _MILLI))
        idle = max(0, now[2] - before[2]) * _MILLI // elapsed
        allowed = self._group_allows()
        if allowed is None or before[3] is None or now[3] is None:
            return idle
        return min(idle, max(0, allowed - (now[3] - before[3]) * _MILLI // elapsed))

    def _idle_ns(self) -> int | None:
        """Return for how long the machine's cores had nothing to do, all together."""
        try:
            with self._stat.open() as stat:
                fields = stat.readline().split()
            return int(fields[4]) * _NS // os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def _group_ns(self) -> int | None:
        try:
            for line in (self._group / "cpu.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "usage_usec":
                    return int(value) * _US_TO_NS
        except (OSError, ValueError):
            pass
        return None

    def _group_allows(self) -> int | None:
        """Return the limit of the control group, None where it has none."""
        try:
            quota, _, period = (self._group / "cpu.max").read_text().partition(" ")
            return None if quota == "max" else int(quota) * _MILLI // int(period)
        except (OSError, ValueError, ZeroDivisionError):
            return None
