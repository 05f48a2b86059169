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

    @property
    def lane(self) -> str:
        """The lane's name."""
        return self._lane

    def admit(
        self, connector: str, taken: Sequence[tuple[MessageId, Candidate]], *, now: Instant
    ) -> tuple[list[tuple[MessageId, Candidate]], Sequence[tuple[LimitKey, ...]]]:
        """Return those that may leave by the connector now, and the permits of each."""
        if not self._book.is_limited(connector):
            return list(taken), ()
        keys = [self._keys_of(connector, candidate) for _, candidate in taken]
        waiting = Counter(key for names in keys for key in names)
        self._wanted = tuple(waiting)
        self._desk.want(self._lane, self._band, waiting)
        admitted = self._desk.admit(self._lane, keys, now)
        return [taken[n] for n in admitted], [keys[n] for n in admitted]

    def want_nothing(self) -> None:
        """Note that no message of the lane waits for a permit."""
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
        return self._desk.next_at(self._wanted, now) if self._wanted else None

    def _keys_of(self, connector: str, candidate: Candidate) -> tuple[LimitKey, ...]:
        destination = NOWHERE
        if self._book.limits_destinations(connector) and candidate.body is not None:
            destination = destination_of(decode_body(candidate.body).recipient)
        return self._book.keys_of(
            connector, sender=tenant_of(candidate.group), destination=destination
        )
