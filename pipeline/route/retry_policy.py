"""When a message that was certainly not taken is tried again, or that it is not any more.

Exponential with full jitter: attempt n waits for a random part of base * 2^(n-1), at most of the
cap.  Half of the messages that a provider deferred together come back in the first half of the
span, so that no second wave meets it (a fixed delay with a little jitter keeps the wave).  What the
provider asked for as Retry-After is a floor below that part, not instead of it, as it says the same
to everybody.

The last span ends at the message's expiry: a message is tried once more while it can be, and
expires only if it may not be tried before.  A delay that happened to be long costs no message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, NamedTuple

from pipeline.instant import DurationMs, Instant
from pipeline.lifecycle import ATTEMPTS_MAX
from pipeline.limits import (
    RETRY_AFTER_MS_MAX,
    RETRY_ATTEMPTS_MAX,
    RETRY_BACKOFF_BASE_MS,
    RETRY_BACKOFF_CAP_MS,
)

_US_PER_MS: Final = 1_000
# Twice this often the base is beyond any cap.
_DOUBLINGS_MAX: Final = 40


class GiveUp(StrEnum):
    """Why there is no further attempt."""

    EXPIRED = "expired"  # it is not worth sending when it may be tried again
    EXHAUSTED = "exhausted"  # it was tried as often as it may be


class Retries(NamedTuple):
    """What follows, by position; every position is in one of both."""

    due_at: Mapping[int, Instant]
    given_up: Mapping[int, GiveUp]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential, capped, with full jitter, never beyond a message's expiry."""

    backoff_base_ms: DurationMs = DurationMs(RETRY_BACKOFF_BASE_MS)
    backoff_cap_ms: DurationMs = DurationMs(RETRY_BACKOFF_CAP_MS)
    retry_after_cap_ms: DurationMs = DurationMs(RETRY_AFTER_MS_MAX)
    attempts_max: int = RETRY_ATTEMPTS_MAX

    def __post_init__(self) -> None:
        assert 0 < self.backoff_base_ms <= self.backoff_cap_ms
        assert self.retry_after_cap_ms > 0
        assert 1 <= self.attempts_max <= ATTEMPTS_MAX

    def backoff_ms(self, attempt: int) -> DurationMs:
        """Return the longest wait after attempt number `attempt`, which starts at 1."""
        assert attempt >= 1, attempt
        doublings = min(attempt - 1, _DOUBLINGS_MAX)
        return DurationMs(min(self.backoff_cap_ms, self.backoff_base_ms << doublings))

    def decide(
        self,
        positions: Sequence[int],
        *,
        attempts: Sequence[int],
        expires_at: Sequence[Instant],
        retry_after_ms: Mapping[int, DurationMs],
        now: Instant,
        chance: Random,
    ) -> Retries:
        """Decide for those positions of a window whose attempt ended without being taken.

        `attempts` and `expires_at` are the window's columns, the attempt that just ended and until
        when the message is worth sending (of an ordered message, the end of its own retry horizon
        if that comes first); `retry_after_ms` goes by position, as in `Outcomes`.
        """
        due_at: dict[int, Instant] = {}
        given_up: dict[int, GiveUp] = {}
        part = chance.random
        for position in positions:
            attempt = attempts[position]
            if attempt >= self.attempts_max:
                given_up[position] = GiveUp.EXHAUSTED
                continue
            asked_ms = max(0, min(retry_after_ms.get(position, 0), self.retry_after_cap_ms))
            earliest = now + asked_ms * _US_PER_MS
            room_us = expires_at[position] - earliest
            if room_us <= 0:
                given_up[position] = GiveUp.EXPIRED
                continue
            span_us = min(self.backoff_ms(attempt) * _US_PER_MS, room_us)
            # random() is less than 1, so the instant lies before the expiry.
            due_at[position] = Instant(earliest + int(part() * span_us))
        return Retries(due_at, given_up)
