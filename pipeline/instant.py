"""Points and spans of time, as plain numbers with a name.

An `Instant` is a whole number of microseconds since the Unix epoch, in UTC; a `DurationMs` is a
whole number of milliseconds, the unit of every setting.  They meet in `later` and `earlier` only,
so that a factor of a thousand cannot be forgotten elsewhere.
"""

from typing import Final, NewType

Instant = NewType("Instant", int)
DurationMs = NewType("DurationMs", int)

_US_PER_MS: Final = 1_000


def later(instant: Instant, duration_ms: DurationMs | int) -> Instant:
    """Return the instant `duration_ms` after `instant`."""
    return Instant(instant + duration_ms * _US_PER_MS)


def earlier(instant: Instant, duration_ms: DurationMs | int) -> Instant:
    """Return the instant `duration_ms` before `instant`."""
    return Instant(instant - duration_ms * _US_PER_MS)


def elapsed_ms(*, since: Instant, until: Instant) -> DurationMs:
    """Return the whole milliseconds from `since` to `until`, rounded down."""
    return DurationMs((until - since) // _US_PER_MS)
