"""Over how many schedulers the lanes of a core are split, and which lanes move.

One process of Python works on one processor core at most, and all lanes of a core are worked on by
one scheduler as long as it keeps up.  One that does not for a while is given a second, and lanes
move to it until both have as much to do; when the load would fit again in one less, the last one
gives its lanes back and ends.  Moving costs a lane a short rest, so nothing moves for little: what
is hot has to be so for a while, what is quiet for longer, and each move is looked at for a while
before the next.  Nothing here is needed for safety: a lane has one owner whoever thinks otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.instant import DurationMs, Instant, later
from pipeline.limits import (
    GROW_IDLE_MIN,
    LANES_MOVING_MAX,
    MERGE_AFTER_MS,
    MERGE_BUSY_MAX,
    MOVE_PAUSE_MS,
    SPLIT_AFTER_MS,
    SPLIT_BUSY_MIN,
    SPLIT_DIFFERENCE_MIN,
)
from pipeline.since import Since

_LONG_AGO: Final = Instant(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLoad:
    """One scheduler of the core, as it told of itself.  Busy is in thousandths of a processor."""

    part: int
    busy: int
    lanes: Mapping[str, int]  # that it owns: messages handed over in about the last second


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """These lanes go from one part to the other."""

    lanes: tuple[str, ...]
    source: int
    target: int


class LaneSplit:
    """For one core.  What it remembers is only for how long; it may be forgotten at any moment."""

    def __init__(self, *, parts_max: int, parts: int = 1) -> None:
        """`parts` is what is found: the highest part that lives, and one."""
        self._parts_max = max(1, parts_max)
        self.parts = parts
        """How many schedulers the core should have: parts 0 to this - 1."""
        self._is_last_leaving = False
        self._hot, self._quiet = Since(), Since()
        self._rests_until = _LONG_AGO

    def decide(self, loads: Sequence[SchedulerLoad], *, idle: int, now: Instant) -> list[Move]:
        """Return what moves now, and bring `parts` up to date.

        `idle` is how much of the core's machine has nothing to do, in thousandths of a processor.
        """
        by_part = {load.part: load for load in loads}
        if by_part.keys() != set(range(self.parts)):
            # Somebody starts, or is replaced: nobody's load is what it will be.
            return []
        if self.parts > self._parts_max:
            self._is_last_leaving = True
        if self._is_last_leaving:
            return self._empty_last(by_part)
        busiest = max(loads, key=lambda load: load.busy)
        is_hot = busiest.busy >= SPLIT_BUSY_MIN and _active_count(busiest) > 1
        is_hot_for_long = self._hot.holds_for(
            is_hot, now=now, at_least_ms=DurationMs(SPLIT_AFTER_MS)
        )
        fits_in_less = (
            self.parts > 1 and sum(load.busy for load in loads) <= (self.parts - 1) * MERGE_BUSY_MAX
        )
        if self._quiet.holds_for(fits_in_less, now=now, at_least_ms=DurationMs(MERGE_AFTER_MS)):
            self._is_last_leaving = True
            return self._empty_last(by_part)
        if not is_hot_for_long or now < self._rests_until:
            return []
        if moves := _evened(busiest, min(loads, key=lambda load: load.busy)):
            self._rests_until = later(now, MOVE_PAUSE_MS)
            return moves
        if self.parts < self._parts_max and idle >= GROW_IDLE_MIN:
            # As soon as it answers it has the least to do, and is given its part.
            self.parts += 1
        return []

    def _empty_last(self, by_part: Mapping[int, SchedulerLoad]) -> list[Move]:
        last = by_part[self.parts - 1]
        if last.lanes:
            target = min(
                (load for load in by_part.values() if load is not last),
                key=lambda load: (load.busy, load.part),
            )
            return [Move(lanes=_some(last.lanes), source=last.part, target=target.part)]
        self.parts -= 1
        self._is_last_leaving = False
        self._hot, self._quiet = Since(), Since()
        return []


def _active_count(load: SchedulerLoad) -> int:
    return sum(work > 0 for work in load.lanes.values())


def _some(lanes: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(sorted(lanes)[:LANES_MOVING_MAX])


def _evened(busiest: SchedulerLoad, idlest: SchedulerLoad) -> list[Move]:
    """Return what to move so that both have about as much to do; nothing if that gains little.

    Never more than half of the difference: else the two would change places and lanes go back.
    """
    difference = busiest.busy - idlest.busy
    work = sum(busiest.lanes.values())
    if difference < SPLIT_DIFFERENCE_MIN or not work:
        return []
    room = difference / 2
    moving: list[str] = []
    # The busiest lanes first: as few as possible rest.
    for lane in sorted(busiest.lanes, key=lambda lane: (-busiest.lanes[lane], lane)):
        cost = busiest.busy * busiest.lanes[lane] / work
        if 0 < cost <= room and len(moving) < LANES_MOVING_MAX:
            moving.append(lane)
            room -= cost
    if not moving:
        return []
    return [Move(lanes=tuple(moving), source=busiest.part, target=idlest.part)]
