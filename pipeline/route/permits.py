"""Permits: how many messages may leave by a connector, from a sender, to a destination.

A limit has a rate with a burst, a number of messages under way at once, or both.  A rate is a row
of *slots*, one permit each, at equal distances on one time line, and a permit may be used for
`burst` distances after its slot.  So whoever holds which permits, in no second are there more than
rate + burst; that is what a token bucket promises, without a bucket to carry from one holder to the
next.  The slots of half a second are dealt to schedulers by a stride (`PermitRun`), so that each
holder's permits lie evenly in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd
from typing import Final

import msgspec

from pipeline.instant import DurationMs, Instant, later
from pipeline.limits import (
    PERMIT_RATE_MAX,
    PERMITS_AT_ONCE_MAX,
    RATE_CUT_INTERVAL_MS,
    RATE_PAUSE_MS_MAX,
    RATE_RAISES_TO_FULL,
)

LimitKey = str
"""`connector:NAME`, `sender:NAME|SENDER` or `destination:NAME|DESTINATION`; see `LimitBook`."""

NS_PER_US: Final = 1_000
_MILLI_NS: Final = 10**12  # the distance of slots at one permit in a thousand seconds
_GOLDEN: Final = 0.6180339887498949
ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What one key may do at most; None is no limit."""

    rate_milli: int | None = None  # permits in a thousand seconds
    burst: int = 1
    concurrency: int | None = None

    def __post_init__(self) -> None:
        assert self.rate_milli is None or 1 <= self.rate_milli <= PERMIT_RATE_MAX * 1_000
        assert 1 <= self.burst <= PERMITS_AT_ONCE_MAX
        assert self.concurrency is None or 1 <= self.concurrency <= PERMITS_AT_ONCE_MAX
        assert self.rate_milli is not None or self.concurrency is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitBook:
    """Every limit that is declared.  A sender or destination `*` stands for each one not named."""

    limits: Mapping[LimitKey, Limit] = field(default_factory=dict)

    def limit_of(self, key: LimitKey) -> Limit | None:
        """Return the limit of a key, None if it has none."""
        found = self.limits.get(key)
        if found is None:
            kind_and_connector, bar, _ = key.partition("|")
            found = self.limits.get(f"{kind_and_connector}|{ANY}") if bar else None
        return found

    def keys_of(self, connector: str, *, sender: str, destination: str) -> tuple[LimitKey, ...]:
        """Return the keys whose permits a message needs; most need none, or the connector's."""
        candidates = (
            f"connector:{connector}",
            f"sender:{connector}|{sender}",
            f"destination:{connector}|{destination}",
        )
        return tuple(key for key in candidates if self.limit_of(key) is not None)

    def only_key(self, connector: str) -> LimitKey | None:
        """Return the one key that every message by this connector needs, None if that differs."""
        prefixes = (f"sender:{connector}|", f"destination:{connector}|")
        key = f"connector:{connector}"
        is_only = not any(other.startswith(prefixes) for other in self.limits)
        return key if is_only and key in self.limits else None

    def limits_destinations(self, connector: str) -> bool:
        """Return whether it matters for a permit where a message goes."""
        return any(key.startswith(f"destination:{connector}|") for key in self.limits)

    def is_limited(self, connector: str) -> bool:
        """Return whether any message by this connector needs a permit."""
        prefixes = (f"sender:{connector}|", f"destination:{connector}|")
        return any(
            key == f"connector:{connector}" or key.startswith(prefixes) for key in self.limits
        )


class PermitRun(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One holder's slots among all slots of a span of time."""

    first_ns: int  # when the first of all slots is
    distance_ns: int
    slots: int  # of all holders
    bundle: int  # permits in each slot; more than 1 only at very high rates
    low: int  # this holder's are those whose place in the deal is low <= place < high
    high: int
    valid_us: int  # how long a permit may be used

    def instants(self) -> list[int]:
        """Return the instants of the holder's slots, in order."""
        if self.low == self.high:
            return []
        slots, stride = self.slots, _stride(self.slots)
        low, high, first, distance = self.low, self.high, self.first_ns, self.distance_ns
        # Rounded up: a permit never comes before its slot.
        return [
            -(-(first + n * distance) // NS_PER_US)
            for n in range(slots)
            if low <= n * stride % slots < high
        ]


def _stride(slots: int) -> int:
    """Return a step by which the slots are dealt: any part of the deal lies evenly in time.

    Steps near the golden section of a circle leave the least gaps (three-distance theorem); one
    without a common divisor meets every slot once.
    """
    stride = max(1, round(slots * _GOLDEN))
    while gcd(stride, slots) != 1:
        stride += 1
    return stride


class SlotLine:
    """The time line of one key's slots.  Whoever deals them moves it on; it never goes back."""

    def __init__(self) -> None:
        self._next_ns = 0

    def cut(
        self, limit: Limit, rate_milli: int, *, start: Instant, end: Instant, slots_max: int
    ) -> PermitRun | None:
        """Return all slots from `start` until `end` as one run, None if there is none."""
        start_ns, end_ns = start * NS_PER_US, end * NS_PER_US
        if rate_milli <= 0:
            return None
        distance_ns = -(-_MILLI_NS // rate_milli)
        first_ns = max(self._next_ns, start_ns)
        # At very high rates permits go in bundles; what is no full bundle comes with the next cut.
        permits = max(0, -(-(end_ns - first_ns) // distance_ns))
        bundle = -(-permits // slots_max) if permits > slots_max else 1
        slots = permits // bundle if permits else 0
        if slots == 0:
            return None
        distance_ns *= bundle
        self._next_ns = first_ns + slots * distance_ns
        valid_us = max(1, limit.burst * distance_ns // (NS_PER_US * bundle))
        return PermitRun(first_ns, distance_ns, slots, bundle, 0, slots, valid_us)

    def is_over(self, at: Instant) -> bool:
        """Return whether a line that begins at an instant would go on just as this one."""
        return self._next_ns <= at * NS_PER_US

    def restart(self, at: Instant) -> None:
        """Begin anew at an instant before which no slot is dealt."""
        self._next_ns = at * NS_PER_US


class AdaptiveRate:
    """The rate that a provider takes: cut in half when it throttles, raised slowly while it works.

    Additive increase, multiplicative decrease: of several who share a provider that limits them
    together, each ends at a fair part.  A throttling answer speaks of messages that left some time
    ago, so that after a cut the next one waits until those are through.
    """

    def __init__(self, limit: Limit) -> None:
        assert limit.rate_milli is not None
        self._full = limit.rate_milli
        self._rate = limit.rate_milli
        self._cut_at = Instant(0)
        self._paused_since = Instant(0)
        self._paused_until = Instant(0)

    def rate_milli(self, now: Instant) -> int:
        """Return the rate that counts now; 0 while the provider asked to be left alone."""
        return 0 if self._paused_since <= now < self._paused_until else self._rate

    def is_full(self, now: Instant) -> bool:
        """Return whether nothing is left of what the provider said."""
        return self.rate_milli(now) == self._full

    def on_throttled(self, now: Instant, *, retry_after_ms: DurationMs | int = 0) -> None:
        """Note that the provider took something for too fast."""
        if retry_after_ms > 0:
            until = later(now, min(retry_after_ms, RATE_PAUSE_MS_MAX))
            self._paused_since, self._paused_until = now, max(self._paused_until, until)
        if not self._cut_at <= now < later(self._cut_at, RATE_CUT_INTERVAL_MS):
            self._cut_at = now
            self._rate = max(1, self._rate // 2)

    def on_taken(self, now: Instant) -> None:
        """Note a period in which messages were taken and none was throttled."""
        if not self._cut_at <= now < later(self._cut_at, RATE_CUT_INTERVAL_MS):
            step = max(1, self._full // RATE_RAISES_TO_FULL)
            self._rate = min(self._full, self._rate + step)
