"""How many ingesters there are: more while those that run cannot take what comes, else fewer.

An ingester is a process of Python, which works on one processor core at most.  One that refuses
chunks though it has little to do waits for the store, and another one would wait beside it; so the
pool grows only where processors are what is short, and where the machine has some left.  It shrinks
when what is done would fit in one less, after a longer while.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.instant import DurationMs, Instant
from pipeline.limits import (
    GROW_IDLE_MIN,
    INGEST_MESSAGES_IN_FLIGHT_MAX,
    POOL_BUSY_MIN,
    POOL_FULL_BUSY_MIN,
    POOL_GROW_AFTER_MS,
    POOL_SHRINK_AFTER_MS,
    POOL_SHRINK_BUSY_MAX,
)
from pipeline.since import Since


@dataclass(frozen=True, slots=True, kw_only=True)
class IngesterLoad:
    """One ingester, as it told of itself.  Busy is in thousandths of a processor core."""

    busy: int
    messages_in_flight: int
    overloaded_lately: bool  # it refused a chunk in about the last second

    @property
    def is_full(self) -> bool:
        """Whether it takes no more, or soon will not."""
        return self.overloaded_lately or 2 * self.messages_in_flight > INGEST_MESSAGES_IN_FLIGHT_MAX


class IngesterPool:
    """Decides the size.  What it remembers is only for how long; it may be forgotten."""

    def __init__(self, *, size_min: int, size_max: int, found: int = 0) -> None:
        """`found` is the number of the highest place that is taken, and one."""
        self._min, self._max = size_min, max(size_min, size_max)
        self.size = min(max(found, self._min), self._max)
        """How many ingesters there should be."""
        self._pressed, self._quiet = Since(), Since()

    def decide(self, loads: Sequence[IngesterLoad], *, idle: int, now: Instant) -> None:
        """Bring `size` up to date from the loads of those that run.

        `idle` is how much of the machine has nothing to do, in thousandths of a processor core.
        """
        if len(loads) != self.size:
            # Somebody starts or goes: what the others have to do will be another.
            return
        busy = sum(load.busy for load in loads)
        is_pressed = busy >= self.size * POOL_BUSY_MIN or (
            busy >= self.size * POOL_FULL_BUSY_MIN and any(load.is_full for load in loads)
        )
        fits_in_less = busy <= (self.size - 1) * POOL_SHRINK_BUSY_MAX and not any(
            load.is_full for load in loads
        )
        if self._pressed.holds_for(
            is_pressed and idle >= GROW_IDLE_MIN,
            now=now,
            at_least_ms=DurationMs(POOL_GROW_AFTER_MS),
        ):
            self._resize(min(self.size + 1, self._max))
        elif self._quiet.holds_for(
            fits_in_less, now=now, at_least_ms=DurationMs(POOL_SHRINK_AFTER_MS)
        ):
            self._resize(max(self.size - 1, self._min))

    def _resize(self, size: int) -> None:
        self.size = size
        self._pressed, self._quiet = Since(), Since()
