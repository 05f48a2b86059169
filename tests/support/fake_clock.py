"""A clock that stands still until a test moves it."""

from pipeline.instant import DurationMs, Instant, later
from pipeline.ports import ClockReading

NOW = Instant(1_700_000_000_000_000)


class FakeClock:
    """Starts at `NOW`; the boot clock starts at 0 and only ever goes forward."""

    def __init__(self, now: Instant = NOW) -> None:
        self._wall = now
        self._boot_us = 0

    def now(self) -> Instant:
        return self._wall

    def reading(self) -> ClockReading:
        return ClockReading(wall=self._wall, boot_us=self._boot_us)

    def advance(self, duration_ms: DurationMs | int) -> None:
        """Let time pass on both clocks."""
        assert duration_ms >= 0, duration_ms
        self._wall = later(self._wall, duration_ms)
        self._boot_us += duration_ms * 1_000

    def step_wall(self, duration_ms: int) -> None:
        """Set the wall clock forward or back, as an operator or NTP may."""
        self._wall = later(self._wall, duration_ms)
