"""Whose turn it is: the lanes of one scheduler share its permits by weight.

Stride scheduling: each lane has a position that moves on with every permit it gets, the slower the
heavier it is, and the next permit goes to the one that is furthest behind.  A lane that had nothing
to send begins at the position of those at work: it gets its part from now on, and nothing for the
time in which it did not want any.  Handing out by turns of a fixed quantum (deficit round robin)
gives the same parts, but at one permit every ten milliseconds a turn of several permits makes the
others wait.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# So many rounds at least are made of a large number of permits.
_ROUNDS_MIN: Final = 32


@dataclass(slots=True)
class _Lane:
    weight: float
    position: float = 0.0
    waiting: int = 0  # messages that it could send now
    assigned: int = 0  # permits that are its own, not yet taken


class LaneTurns:
    """The lanes that want permits of one key."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def want(self, lane: str, count: int, *, weight: float) -> None:
        """Note how many messages a lane could send now; 0 when it has none any more."""
        assert weight > 0
        known = self._lanes.get(lane)
        if known is None:
            if count == 0:
                return
            known = self._lanes[lane] = _Lane(weight)
        if count and not known.waiting:
            at_work = [other.position for other in self._lanes.values() if other.waiting]
            known.position = max(known.position, min(at_work, default=0.0))
        known.weight = weight
        known.waiting = count
        known.assigned = min(known.assigned, count)
        if count == 0:
            del self._lanes[lane]

    def take(self, lane: str, count: int, *, permits: int) -> int:
        """Return how many of the permits that are there the lane may take, at most `count`.

        Permits are dealt among all lanes that want some when somebody takes; what was dealt to a
        lane stays its own as long as so many are there.
        """
        self._deal(permits)
        known = self._lanes.get(lane)
        if known is None:
            free = permits - sum(other.assigned for other in self._lanes.values())
            return max(0, min(count, free))
        taken = min(count, known.assigned, permits)
        known.assigned -= taken
        known.waiting = max(0, known.waiting - taken)
        if not known.waiting:
            del self._lanes[lane]
        return taken

    def _deal(self, permits: int) -> None:
        free = permits - sum(lane.assigned for lane in self._lanes.values())
        if free < 0:
            # Permits ended before they were taken.
            for lane in sorted(self._lanes.values(), key=lambda lane: -lane.assigned):
                given_back = min(lane.assigned, -free)
                lane.assigned -= given_back
                free += given_back
        hungry = self._hungry(self._lanes.values())
        if len(hungry) == 1:
            lane = hungry[0]
            lane.assigned += min(free, lane.waiting - lane.assigned)
            return
        while free and hungry:
            lane = min(hungry, key=lambda lane: lane.position)
            part = max(1, free // _ROUNDS_MIN)
            dealt = min(part, free, lane.waiting - lane.assigned)
            lane.assigned += dealt
            lane.position += dealt / lane.weight
            free -= dealt
            hungry = self._hungry(hungry)

    @staticmethod
    def _hungry(lanes: Iterable[_Lane]) -> list[_Lane]:
        return [lane for lane in lanes if lane.waiting > lane.assigned]
