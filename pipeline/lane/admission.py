"""Which of a lane's candidates may leave now, as far as limits go (design 5.9).

A permit is taken when a message is claimed, and given back with its outcome.  Messages by a
connector without limits pass at once.
"""

from collections import Counter
from collections.abc import Sequence

from pipeline.instant import DurationMs, Instant
from pipeline.lane.window import Candidate, Window
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import MessageId, decode_body, tenant_of
from pipeline.outcome import Outcomes
from pipeline.route.destination import NOWHERE, destination_of
from pipeline.route.lease import PermitDesk
from pipeline.route.permits import LimitBook, LimitKey

_ANSWERS = frozenset({Event.TAKE, Event.REFUSE})


class Admission:
    """One lane's place at the desk of its scheduler."""

    def __init__(self, lane: LaneId, *, book: LimitBook, desk: PermitDesk) -> None:
        self._lane = str(lane)
        self._band = lane.band
        self._book = book
        self._desk = desk
        self._wanted: tuple[LimitKey, ...] = ()
        self._only_keys: dict[str, LimitKey | None] = {}
        self._left_at = Instant(0)  # when permits were taken last
        self._paused_until = Instant(0)

    @property
    def lane(self) -> str:
        """The lane's name."""
        return self._lane

    def room(self, connector: str, waiting: int, *, now: Instant) -> int | None:
        """Return how many of so many messages may leave by the connector now, at most.

        None: that depends on the messages, and only `admit` can tell.  Where a rate is what is
        scarce its permits come one by one, and each window of claims costs an append; so after a
        window the next permits are left lying for a moment.
        """
        if connector not in self._only_keys:
            self._only_keys[connector] = self._book.only_key(connector)
        key = self._only_keys[connector]
        if key is None:
            return None
        self._want(key, waiting)
        permits, pause_us = self._desk.at_hand(key, now)
        until = Instant(self._left_at + pause_us)
        if permits < waiting and self._left_at <= now < until:
            self._paused_until = until
            return 0
        return permits

    def _want(self, key: LimitKey, waiting: int) -> None:
        self._wanted = (key,)
        self._desk.want(self._lane, self._band, {key: waiting})

    def is_paused(self, now: Instant) -> bool:
        """Return whether permits are left lying, to be used together."""
        return self._left_at <= now < self._paused_until

    def admit(
        self,
        connector: str,
        taken: Sequence[tuple[MessageId, Candidate]],
        *,
        waiting: int,
        now: Instant,
    ) -> tuple[list[tuple[MessageId, Candidate]], Sequence[tuple[LimitKey, ...]]]:
        """Return those that may leave by the connector now, and the permits of each.

        `waiting` could leave by it, where all need the same permits.
        """
        if not self._book.is_limited(connector):
            return list(taken), ()
        keys = [self._keys_of(connector, candidate) for _, candidate in taken]
        counts = Counter(key for names in keys for key in names)
        if self._only_keys.get(connector) is not None:
            counts = Counter({key: max(count, waiting) for key, count in counts.items()})
        self._wanted = tuple(counts)
        self._desk.want(self._lane, self._band, counts)
        admitted = self._desk.admit(self._lane, keys, now)
        if admitted:
            self._left_at = now
        return [taken[n] for n in admitted], [keys[n] for n in admitted]

    def want_nothing(self) -> None:
        """Note that no message of the lane waits for a permit."""
        self._paused_until = Instant(0)
        if self._wanted:
            self._wanted = ()
            self._desk.want(self._lane, self._band, {})

    def give_back(self, permits: Sequence[tuple[LimitKey, ...]]) -> None:
        """Return permits of messages that were not claimed after all, or of a lane that is over."""
        for key, count in Counter(key for names in permits for key in names).items():
            self._desk.done(key, count)

    def on_outcomes(self, window: Window, positions: Sequence[int], outcomes: Outcomes) -> None:
        """Note what became of messages whose permits the window holds."""
        if not window.permits:
            return
        count: Counter[LimitKey] = Counter()
        taken: Counter[LimitKey] = Counter()
        throttled: Counter[LimitKey] = Counter()
        longest: dict[LimitKey, DurationMs] = {}
        for m, n in enumerate(positions):
            for key in window.permits[n]:
                count[key] += 1
                taken[key] += outcomes.events[m] in _ANSWERS
                wait_ms = outcomes.retry_after_ms.get(m)
                if wait_ms is not None:
                    throttled[key] += 1
                    longest[key] = max(longest.get(key, DurationMs(0)), wait_ms)
        for key, messages in count.items():
            self._desk.done(
                key,
                messages,
                taken=taken[key],
                throttled=throttled[key],
                retry_after_ms=longest.get(key, 0),
            )

    def next_at(self, now: Instant) -> Instant | None:
        """Return when the next permit comes that the lane waits for."""
        if self.is_paused(now):
            return self._paused_until
        return self._desk.next_at(self._wanted, now) if self._wanted else None

    def _keys_of(self, connector: str, candidate: Candidate) -> tuple[LimitKey, ...]:
        destination = NOWHERE
        if self._book.limits_destinations(connector) and candidate.body is not None:
            destination = destination_of(decode_body(candidate.body).recipient)
        return self._book.keys_of(
            connector, sender=tenant_of(candidate.group), destination=destination
        )
