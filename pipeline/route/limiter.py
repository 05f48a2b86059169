"""Who may send how much in the next half second: from all demands to a grant for each scheduler.

The time is cut into periods of half a second, the same for everybody.  Shortly before one begins,
all that was asked for is decided at once: first among flows (bands: a priority, a few tenants) by
their weights, then within a flow among its schedulers.  What is not asked for goes to everybody who
is there, so that a message that comes to an idle connector does not wait for a round.  Deciding at
each question was not chosen: the first to ask would get what the last needs.

A grant ends by itself.  A limiter that begins deals nothing for periods that one before it may have
dealt already.  Permits for messages under way (concurrency) move only when their holder has said
that it let go of them: what it was granted last counts as in use until then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType
from typing import Final

import msgspec

from pipeline.instant import Instant
from pipeline.limits import (
    DEMAND_KEYS_MAX,
    LEASES_MAX,
    LIMITER_KEYS_MAX,
    LIMITER_LEAD_MS,
    LIMITER_PERIOD_MS,
    LIMITER_SILENT_PERIODS_MAX,
    LIMITER_SLOTS_MAX,
)
from pipeline.message import PRIORITIES
from pipeline.route.fair_share import fill, in_whole
from pipeline.route.permits import AdaptiveRate, Limit, LimitBook, LimitKey, PermitRun, SlotLine

PERIOD_US: Final = LIMITER_PERIOD_MS * 1_000
LEAD_US: Final = LIMITER_LEAD_MS * 1_000

# Whoever has messages under way names their key once in so many periods: a question has a part of
# a scheduler's keys.
_UNDER_WAY_PERIODS_MAX: Final = LIMITER_SILENT_PERIODS_MAX + 2 * LEASES_MAX // DEMAND_KEYS_MAX

# What a share of a saturated connector is worth: urgent far more than normal, normal than bulk.
FLOW_WEIGHTS: Final[Mapping[str, int]] = MappingProxyType({"urgent": 16, "normal": 4, "bulk": 1})
assert tuple(FLOW_WEIGHTS) == PRIORITIES


def flow_weight(band: str) -> int:
    """Return the weight of a band: `urgent`, `normal-k` or `bulk-k`."""
    return FLOW_WEIGHTS[band.partition("-")[0]]


class KeyDemand(msgspec.Struct, array_like=True, frozen=True):
    """What a scheduler asks for and tells of one key."""

    waiting: dict[str, int]  # by flow: messages that could go now
    in_use: int = 0  # messages under way
    taken: int = 0  # messages that the provider took or refused since the last question
    throttled: int = 0  # messages that it took for too fast
    retry_after_ms: int = 0  # the longest that it asked for with them


class Demand(msgspec.Struct, array_like=True, frozen=True):
    """One scheduler's question."""

    scheduler: str
    seen_period: int  # of the newest answer that it goes by; 0: none
    keys: dict[LimitKey, KeyDemand]


class Grant(msgspec.Struct, array_like=True, frozen=True):
    """One scheduler's part of one key."""

    run: PermitRun | None  # None: no permits of rate, or no limit of it (`is_rate_limited`)
    is_rate_limited: bool
    concurrency: int | None  # None: no limit of it
    shares: dict[str, int]  # of the flows that want more than there is: what is meant for each


class Grants(msgspec.Struct, array_like=True, frozen=True):
    """One scheduler's answer: from `starts_at` until `ends_at`."""

    period: int
    starts_at: int
    ends_at: int
    keys: dict[LimitKey, Grant]


Claimant = tuple[str, str]  # (flow, scheduler)


@dataclass(frozen=True, slots=True)
class _Held:
    """How many messages a scheduler may have under way."""

    granted: int
    period: int  # of that grant
    at_most: int  # as long as it has not seen it


@dataclass(slots=True)
class _KeyState:
    """What the limiter remembers of a key."""

    limit: Limit
    rate: AdaptiveRate | None
    line: SlotLine = field(default_factory=SlotLine)
    owed: dict[Claimant, float] = field(default_factory=dict)
    held: dict[str, _Held] = field(default_factory=dict)  # by scheduler
    idle_periods: int = 0

    def is_as_new(self, start: Instant) -> bool:
        """Return whether a key that is met for the first time at `start` would be the same."""
        if self.limit.concurrency is not None and self.idle_periods <= _UNDER_WAY_PERIODS_MAX:
            return False
        is_full = self.rate is None or self.rate.is_full(start)
        return is_full and self.line.is_over(start)


@dataclass(slots=True)
class _Asker:
    demand: Demand
    period: int  # in which it asked last


def period_of(now: Instant) -> int:
    """Return the period that a decision at `now` is for: the next one that is not too near."""
    return ceil((now + LEAD_US) / PERIOD_US)


class PermitDealer:
    """Deals permits.  Made anew when it starts: what it knows it is told again in half a second."""

    def __init__(self, book: LimitBook, *, now: Instant) -> None:
        self._book = book
        # Of the periods before this one another limiter may have dealt the permits.
        self._next_period = period_of(now) + 1
        self._keys: dict[LimitKey, _KeyState] = {}
        self._askers: dict[str, _Asker] = {}

    @property
    def next_decision_at(self) -> Instant:
        """When the next period is to be decided."""
        return Instant(self._next_period * PERIOD_US - LEAD_US)

    def ask(self, demand: Demand) -> None:
        """Take a question; the newest of a scheduler counts, until it is answered."""
        self._askers[demand.scheduler] = _Asker(demand, self._next_period)

    def on_clock(self, now: Instant) -> None:
        """Look at the clock: one that was set back, or that jumped far ahead, begins anew."""
        if abs(self._next_period - period_of(now)) > LIMITER_SILENT_PERIODS_MAX:
            self._next_period = period_of(now) + 1
            for state in self._keys.values():
                state.line.restart(Instant(self._next_period * PERIOD_US))

    def decide(self) -> dict[str, Grants]:
        """Return the grants of the next period by scheduler, and go on to the one after it."""
        period = self._next_period
        self._next_period += 1
        gone = [
            name
            for name, asker in self._askers.items()
            if period - asker.period > LIMITER_SILENT_PERIODS_MAX
        ]
        for name in gone:
            del self._askers[name]
        # Only those who have asked for this period are answered; what the others hold is kept.
        asking = {
            name: asker.demand for name, asker in self._askers.items() if asker.period == period
        }
        grants: dict[str, dict[LimitKey, Grant]] = {name: {} for name in asking}
        named = {key for demand in asking.values() for key in demand.keys}
        # First, so that the keys of this period find room.
        self._forget_idle(named, Instant(period * PERIOD_US))
        for key in sorted(named):
            state = self._state(key)
            if state is None:
                continue
            state.idle_periods = 0
            demands = {
                name: demand.keys[key] for name, demand in asking.items() if key in demand.keys
            }
            for name, grant in self._decide_key(state, demands, asking, period).items():
                grants[name][key] = grant
        starts_at = period * PERIOD_US
        return {
            name: Grants(period, starts_at, starts_at + PERIOD_US, keys)
            for name, keys in grants.items()
        }

    def _state(self, key: LimitKey) -> _KeyState | None:
        """Return what is known of a key, None for one without a limit or one too many."""
        state = self._keys.get(key)
        if state is None:
            limit = self._book.limit_of(key)
            if limit is None or len(self._keys) >= LIMITER_KEYS_MAX:
                return None
            state = _KeyState(limit, AdaptiveRate(limit) if limit.rate_milli is not None else None)
            self._keys[key] = state
        return state

    def _forget_idle(self, named: set[LimitKey], start: Instant) -> None:
        for key in [key for key in self._keys if key not in named]:
            state = self._keys[key]
            state.idle_periods += 1
            # A rate that was cut is remembered for as long as it takes to be raised again; what
            # would be made anew as it is, makes room: mail goes to any number of domains.
            if state.idle_periods > 1_000 or state.is_as_new(start):
                del self._keys[key]

    def _decide_key(
        self,
        state: _KeyState,
        demands: Mapping[str, KeyDemand],
        asking: Mapping[str, Demand],
        period: int,
    ) -> dict[str, Grant]:
        concurrency = self._part_concurrency(state, demands, asking, period)
        runs: dict[str, PermitRun] = {}
        shares: dict[str, dict[str, int]] = {}
        if state.rate is not None:
            runs, shares = self._part_rate(state, state.rate, demands, period)
        return {
            name: Grant(
                runs.get(name),
                state.rate is not None,
                concurrency.get(name),
                shares.get(name, {}),
            )
            for name in demands
        }

    def _part_rate(
        self,
        state: _KeyState,
        rate: AdaptiveRate,
        demands: Mapping[str, KeyDemand],
        period: int,
    ) -> tuple[dict[str, PermitRun], dict[str, dict[str, int]]]:
        start = Instant(period * PERIOD_US)
        if any(key.throttled for key in demands.values()):
            asked_ms = max(key.retry_after_ms for key in demands.values())
            rate.on_throttled(start, retry_after_ms=asked_ms)
        elif any(key.taken for key in demands.values()):
            rate.on_taken(start)
        whole = state.line.cut(
            state.limit,
            rate.rate_milli(start),
            start=start,
            end=Instant(start + PERIOD_US),
            slots_max=LIMITER_SLOTS_MAX,
        )
        if whole is None:
            return {}, {}
        ideals = _ideals(whole.slots, demands, bundle=whole.bundle)
        dealt = in_whole(whole.slots, ideals, state.owed)
        runs: dict[str, PermitRun] = {}
        shares: dict[str, dict[str, int]] = {name: {} for name in demands}
        low = 0
        for name in sorted(demands):
            high = low
            for (flow, scheduler), slots in dealt.items():
                if scheduler == name and slots:
                    high += slots
                    permits = slots * whole.bundle
                    if permits < demands[name].waiting.get(flow, 0):
                        shares[name][flow] = permits
            runs[name] = msgspec.structs.replace(whole, low=low, high=high)
            low = high
        assert low <= whole.slots, (low, whole.slots)
        return runs, shares

    def _part_concurrency(
        self,
        state: _KeyState,
        demands: Mapping[str, KeyDemand],
        asking: Mapping[str, Demand],
        period: int,
    ) -> dict[str, int]:
        most = state.limit.concurrency
        if most is None:
            return {}
        state.held = {name: held for name, held in state.held.items() if name in self._askers}
        at_most = {name: max(held.granted, held.at_most) for name, held in state.held.items()}
        for name, key in demands.items():
            last = state.held.get(name)
            if last is None:
                at_most[name] = key.in_use
            elif asking[name].seen_period >= last.period:
                # It goes by what it was granted last, and says what is still under way.
                at_most[name] = max(key.in_use, last.granted)
            else:
                at_most[name] = max(key.in_use, at_most[name])
        free = max(0, most - sum(at_most.values()))
        wishes = {
            name: float(key.in_use + sum(key.waiting.values())) for name, key in demands.items()
        }
        others = sum(count for name, count in at_most.items() if name not in demands)
        targets = fill(max(0, most - others), wishes, dict.fromkeys(wishes, 1.0))
        granted: dict[str, int] = {}
        rooms: dict[str, float] = {}
        for name in demands:
            target = ceil(targets[name])
            granted[name] = min(target, at_most[name])
            rooms[name] = float(max(0, target - at_most[name]))
        grown = in_whole(free, fill(free, rooms, dict.fromkeys(rooms, 1.0)), {})
        for name, more in grown.items():
            granted[name] += more
        free -= sum(grown.values())
        # What nobody asks for lies ready where it may be needed next.
        idle = sorted(demands, key=lambda name: granted[name])
        for n, name in enumerate(idle):
            part = free // (len(idle) - n)
            granted[name] += part
            free -= part
        for name, count in granted.items():
            state.held[name] = _Held(count, period, at_most[name])
        return granted


def _ideals(slots: int, demands: Mapping[str, KeyDemand], *, bundle: int) -> dict[Claimant, float]:
    """Return how many slots each flow of each scheduler should get; flow "" is what lies ready."""
    by_flow: dict[str, float] = {}
    for key in demands.values():
        for flow, count in key.waiting.items():
            by_flow[flow] = by_flow.get(flow, 0.0) + count / bundle
    weights = {flow: float(flow_weight(flow)) for flow in by_flow}
    ideals: dict[Claimant, float] = {}
    for flow, share in fill(slots, by_flow, weights).items():
        wishes = {name: key.waiting.get(flow, 0) / bundle for name, key in demands.items()}
        for name, part in fill(share, wishes, dict.fromkeys(wishes, 1.0)).items():
            ideals[flow, name] = part
    spare = slots - sum(ideals.values())
    if spare > 0:
        # Most of it to those who sent something lately, a little to everybody.
        weights = {name: 1 + slots / 20 + key.taken / bundle for name, key in demands.items()}
        for name, weight in weights.items():
            ideals["", name] = spare * weight / sum(weights.values())
    return ideals
