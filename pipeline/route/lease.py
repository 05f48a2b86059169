"""The permits that one scheduler holds, and what it asks for next.

A `Lease` is one key's: the slots of this half second and of the next, used in their order, and a
ceiling for what is under way.  The `PermitDesk` holds all leases of a scheduler, parts them among
its lanes by turns, and makes the question for the limiter of what they want.  A lane that gets
nothing now asks again at `next_at`.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from pipeline.instant import DurationMs, Instant
from pipeline.limits import DEMAND_KEYS_MAX, LEASES_MAX, PERMITS_GATHER_MS_MAX
from pipeline.route.lane_turns import LaneTurns
from pipeline.route.limiter import Demand, Grant, Grants, KeyDemand, flow_weight
from pipeline.route.permits import LimitKey

_MANY = 2**31
_US_PER_MS = 1_000


class Lease:
    """The permits of one key."""

    def __init__(self) -> None:
        self._slots: deque[list[int]] = deque()  # [instant, permits, end]
        self._is_rate_limited = True
        self._concurrency: int | None = 0
        self._ends_at = Instant(0)
        self._valid_us = 0
        self.in_use = 0

    def renew(self, grant: Grant, *, ends_at: Instant) -> None:
        """Take a grant; what is left of the one before may be used to its end."""
        self._is_rate_limited = grant.is_rate_limited
        self._concurrency = grant.concurrency
        self._ends_at = ends_at
        if grant.run is not None:
            valid_us, bundle = grant.run.valid_us, grant.run.bundle
            self._valid_us = valid_us
            instants = grant.run.instants()
            if instants and self._slots and self._slots[-1][0] > instants[0]:
                # The clock was set back: what is left lies in a time that comes once more.
                self._slots.clear()
            self._slots.extend([at, bundle, at + valid_us] for at in instants)

    def permits(self, now: Instant) -> int:
        """Return how many messages may leave now."""
        slots = self._slots
        while slots and slots[0][2] <= now:
            slots.popleft()
        if self._is_rate_limited:
            count = 0
            for at, left, _ in slots:
                if at > now:
                    break
                count += left
        else:
            count = _MANY if now < self._ends_at else 0
        if self._concurrency is not None:
            room = self._concurrency - self.in_use if now < self._ends_at else 0
            count = min(count, max(0, room))
        return count

    @property
    def pause_us(self) -> int:
        """How long permits may lie so that several are used together, and none ends meanwhile."""
        if not self._is_rate_limited or self._concurrency is not None:
            return 0
        return min(PERMITS_GATHER_MS_MAX * _US_PER_MS, self._valid_us // 4)

    def take(self, count: int, now: Instant) -> int:
        """Use up to `count` permits, the oldest first; return how many there were."""
        taken = min(count, self.permits(now))
        left = taken if self._is_rate_limited else 0
        while left:
            slot = self._slots[0]
            used = min(left, slot[1])
            slot[1] -= used
            left -= used
            if not slot[1]:
                self._slots.popleft()
        self.in_use += taken
        return taken

    def done(self, count: int) -> None:
        """Note that so many messages are not under way any more."""
        self.in_use = max(0, self.in_use - count)

    def next_at(self, now: Instant) -> Instant | None:
        """Return when the next permit comes, None if none is known of."""
        return next((Instant(slot[0]) for slot in self._slots if slot[0] > now), None)


class _Key:
    """What the desk knows of one key."""

    def __init__(self) -> None:
        self.lease = Lease()
        self.turns = LaneTurns()
        self.waiting: dict[str, tuple[str, int]] = {}  # by lane: its band, its messages
        self.shares: Mapping[str, int] = {}
        self.taken = 0
        self.throttled = 0
        self.retry_after_ms = 0

    @property
    def is_idle(self) -> bool:
        return not (self.waiting or self.lease.in_use or self.taken or self.throttled)

    def weight_of(self, band: str) -> float:
        """Return a lane's weight: what the grant meant for its band, in parts for its lanes.

        A band that got all it asked for, or came after the question, is worth what it would be
        beside the best of the others: what it waits for shall not be spread over the half second.
        """
        lanes = sum(other == band for other, _ in self.waiting.values()) or 1
        weight = float(flow_weight(band))
        if band in self.shares:
            weight = float(self.shares[band])
        elif self.shares:
            weight *= max(share / flow_weight(flow) for flow, share in self.shares.items())
        return weight / lanes


class PermitDesk:
    """All permits of one scheduler.

    `keys` are those it asks for from the beginning, so that they lie ready for its first message:
    the connectors that have a limit.
    """

    def __init__(self, scheduler: str, keys: Iterable[LimitKey] = ()) -> None:
        self._scheduler = scheduler
        self._always = tuple(keys)
        self._keys: dict[LimitKey, _Key] = {name: _Key() for name in self._always}
        self._seen_period = 0
        self._asked_last: LimitKey = ""

    def want(self, lane: str, band: str, waiting: Mapping[LimitKey, int]) -> None:
        """Note how many messages a lane could send now by key; a key left out has none."""
        for name, count in waiting.items():
            key = self._key(name)
            if key is not None and count:
                key.waiting[lane] = band, count
                key.turns.want(lane, count, weight=key.weight_of(band))
        for name, key in self._keys.items():
            if lane in key.waiting and not waiting.get(name):
                del key.waiting[lane]
                key.turns.want(lane, 0, weight=1.0)

    def at_hand(self, key: LimitKey, now: Instant) -> tuple[int, int]:
        """Return how many permits of a key are there now, and how long they may lie (in us)."""
        known = self._keys.get(key)
        return (known.lease.permits(now), known.lease.pause_us) if known is not None else (0, 0)

    def take(self, lane: str, key: LimitKey, count: int, now: Instant) -> int:
        """Use up to `count` permits of one key for a lane, as many as its turn allows."""
        known = self._keys.get(key)
        if known is None:
            return 0
        allowed = known.turns.take(lane, count, permits=known.lease.permits(now))
        return known.lease.take(allowed, now) if allowed else 0

    def admit(self, lane: str, keys: Sequence[tuple[LimitKey, ...]], now: Instant) -> list[int]:
        """Use the permits of those messages of a window that have all they need; return where.

        `keys` are each message's.  One whose destination has no permit holds up none behind it.
        """
        if keys and len(keys[0]) == 1 and all(names == keys[0] for names in keys):
            # The most common window: one connector's limit and no other.
            return list(range(self.take(lane, keys[0][0], len(keys), now)))
        room: dict[LimitKey, int] = {}
        wanted: dict[LimitKey, int] = {}
        for names in keys:
            for name in names:
                wanted[name] = wanted.get(name, 0) + 1
        for name, count in wanted.items():
            known = self._keys.get(name)
            room[name] = min(count, known.lease.permits(now)) if known is not None else 0
        # A connector's permits are scarce among lanes; a sender's or destination's are not parted,
        # as a message that may not take one would hold back the other for nothing.
        for name in room:
            if name.startswith("connector:") and room[name]:
                turns = self._keys[name].turns
                permits = self._keys[name].lease.permits(now)
                room[name] = turns.take(lane, room[name], permits=permits)
        admitted: list[int] = []
        used: dict[LimitKey, int] = {}
        for position, names in enumerate(keys):
            if all(room[name] > used.get(name, 0) for name in names):
                admitted.append(position)
                for name in names:
                    used[name] = used.get(name, 0) + 1
        for name, count in used.items():
            self._keys[name].lease.take(count, now)
        return admitted

    def done(
        self,
        key: LimitKey,
        count: int,
        *,
        taken: int = 0,
        throttled: int = 0,
        retry_after_ms: DurationMs | int = 0,
    ) -> None:
        """Note outcomes: `count` messages are not under way any more.

        `taken` of them the provider took or refused, `throttled` it took for too fast.
        """
        known = self._keys.get(key)
        if known is not None:
            known.lease.done(count)
            known.taken += taken
            known.throttled += throttled
            known.retry_after_ms = max(known.retry_after_ms, retry_after_ms)

    def next_at(self, keys: Iterable[LimitKey], now: Instant) -> Instant | None:
        """Return when the first permit of one of these keys comes, None if none is known of."""
        instants = [
            at
            for name in keys
            if (known := self._keys.get(name)) is not None
            and (at := known.lease.next_at(now)) is not None
        ]
        return min(instants, default=None)

    def demand(self) -> Demand:
        """Return the next question to the limiter; what it tells of outcomes is told once."""
        names = [name for name, key in self._keys.items() if not key.is_idle]
        if len(names) > DEMAND_KEYS_MAX:
            # One part at a time, going round.
            names.sort()
            begin = next((n for n, name in enumerate(names) if name > self._asked_last), 0)
            names = (names[begin:] + names[:begin])[:DEMAND_KEYS_MAX]
            self._asked_last = names[-1]
        names += [name for name in self._always if name not in names]
        keys = {}
        for name in names:
            key = self._keys[name]
            waiting: dict[str, int] = {}
            for band, count in key.waiting.values():
                waiting[band] = waiting.get(band, 0) + count
            keys[name] = KeyDemand(
                waiting, key.lease.in_use, key.taken, key.throttled, key.retry_after_ms
            )
            key.taken = key.throttled = key.retry_after_ms = 0
        return Demand(self._scheduler, self._seen_period, keys)

    def on_grants(self, grants: Grants) -> None:
        """Take the limiter's answer."""
        self._seen_period = grants.period
        for name, grant in grants.keys.items():
            key = self._key(name)
            if key is None:
                continue
            key.lease.renew(grant, ends_at=Instant(grants.ends_at))
            key.shares = grant.shares
            for lane, (band, count) in key.waiting.items():
                key.turns.want(lane, count, weight=key.weight_of(band))

    def _key(self, name: LimitKey) -> _Key | None:
        key = self._keys.get(name)
        if key is None:
            if len(self._keys) >= LEASES_MAX:
                idle = [
                    name
                    for name, key in self._keys.items()
                    if key.is_idle and name not in self._always
                ]
                if not idle:
                    return None
                for other in idle:
                    del self._keys[other]
            key = self._keys[name] = _Key()
        return key
