"""Instants and the server's time-based ids, which order what a lane is given.

The server's `now()` counts in 100 ns, an instant in microseconds; ids of one instant have an order
of their own, which is the server's: by time, then by the other bytes, each as a signed one.
"""

from typing import Final
from uuid import UUID

from pipeline.instant import Instant

# 1582-10-15 to 1970-01-01.
_EPOCH_TICKS: Final = 0x01B21DD213814000
_TICKS_PER_US: Final = 10
_TICKS_MAX: Final = (1 << 60) - 1
# The last eight bytes of an id that is smaller, and larger, than any other of its time.
_LOWEST: Final = 0x8080808080808080
_HIGHEST: Final = 0x7F7F7F7F7F7F7F7F
_SIGN_BITS: Final = 0x8080808080808080

_LOW_BITS: Final = (1 << 64) - 1

# Smaller than any that a server gives.
FIRST_ID: Final = UUID(int=1 << 76 | _LOWEST)


def instant_of(at: UUID) -> Instant:
    """Return the instant of an id, rounded down."""
    return Instant((_ticks(at.int) - _EPOCH_TICKS) // _TICKS_PER_US)


def last_before(at: Instant) -> UUID:
    """Return an id that is larger than all that are earlier than `at`, and smaller than others."""
    return _highest(at * _TICKS_PER_US + _EPOCH_TICKS - 1)


def last_of(at: Instant) -> UUID:
    """Return an id that no id of `at` is larger than."""
    return _highest(at * _TICKS_PER_US + _EPOCH_TICKS + _TICKS_PER_US - 1)


def order_of(at: UUID) -> tuple[int, int]:
    """Return what sorts ids as the server does."""
    number = at.int
    return _ticks(number), (number & _LOW_BITS) ^ _SIGN_BITS


def _ticks(number: int) -> int:
    # `UUID.time` takes five times as long, and every row that is read comes by here.
    return (number >> 64 & 0xFFF) << 48 | (number >> 80 & 0xFFFF) << 32 | number >> 96


def _highest(ticks: int) -> UUID:
    ticks = min(max(ticks, 0), _TICKS_MAX)
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48
    return UUID(int=low << 96 | middle << 80 | (1 << 12 | high) << 64 | _HIGHEST)
