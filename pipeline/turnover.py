"""From one generation to the next: which one takes a message, and when the old one is over.

No two processes learn of a new generation at the same moment, and the record of one may land long
after the start that it names.  So nobody acts on the record alone.  An ingester writes only while
its picture of the generations is fresh, and chooses at every try; who wants to know that an old
generation takes nothing any more waits, by clock *and* by its own elapsed time, until no ingester
can have a picture that lacks the new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cluster.topology.generation import Generation
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane_id import LaneId
from pipeline.limits import Windows
from pipeline.ports import ClockReading

_US_PER_MS = 1_000
_REFRESHES_PER_LIMIT = 3


class PictureOld(Exception):
    """The caller's picture of the generations is too old to write by: refresh it first."""


class GenerationsAltered(ValueError):
    """What was read contradicts what was read before; whoever wrote it is broken."""


def refresh_limit_ms(windows: Windows) -> DurationMs:
    """Return how old the picture of a writing ingester may be: two refreshes may fail."""
    return DurationMs(_REFRESHES_PER_LIMIT * windows.owner_refresh_ms)


def earliest_start(now: Instant, windows: Windows) -> Instant:
    """Return when a generation that is published now may start.

    So late that mostly all know of it before: then ordered messages wait for W + epsilon only.
    Nothing is unsafe about a record that lands later, or even after its start.
    """
    return later(now, 2 * refresh_limit_ms(windows) + windows.clock_skew_ms_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a process knows of the generations, oldest first.

    `read_boot_us` is when the newest read of them *began*, `seen_boot_us` when the read *ended*
    that showed a generation first, by its number: both on this process's own boot clock.
    """

    generations: tuple[Generation, ...]
    read_boot_us: int
    seen_boot_us: Mapping[int, int]

    @classmethod
    def of(
        cls, generations: Sequence[Generation], *, began_boot_us: int, ended_boot_us: int
    ) -> "Picture":
        """Return the picture of a first read; raises `GenerationsAltered`."""
        if [one.number for one in generations] != list(range(1, len(generations) + 1)):
            raise GenerationsAltered("generations are numbered from 1, and none is missing")
        if not generations:
            raise GenerationsAltered("there is no generation")
        for earlier, following in pairwise(generations):
            if earlier.starts_at >= following.starts_at:
                raise GenerationsAltered(
                    f"generation {following.number} does not start after the one before"
                )
        return cls(
            generations=tuple(generations),
            read_boot_us=began_boot_us,
            seen_boot_us={one.number: ended_boot_us for one in generations},
        )

    def refreshed(
        self, generations: Sequence[Generation], *, began_boot_us: int, ended_boot_us: int
    ) -> "Picture":
        """Return the picture after one more read; raises `GenerationsAltered`.

        Reads follow one another: what an earlier one showed is never gone.
        """
        newer = Picture.of(generations, began_boot_us=began_boot_us, ended_boot_us=ended_boot_us)
        if newer.generations[: len(self.generations)] != self.generations:
            raise GenerationsAltered("a generation that was there is gone, or is another one now")
        return Picture(
            generations=newer.generations,
            read_boot_us=began_boot_us,
            seen_boot_us={**newer.seen_boot_us, **self.seen_boot_us},
        )

    def generation_at(self, now: ClockReading, windows: Windows) -> Generation:
        """Return the generation of a try of writing that begins now; raises `PictureOld`.

        It is asked for at every try: a rewrite may have to go elsewhere.
        """
        if now.boot_us - self.read_boot_us > refresh_limit_ms(windows) * _US_PER_MS:
            raise PictureOld("the generations were not read for too long")
        return self.generation_by_clock(now.wall)

    def generation_by_clock(self, now: Instant) -> Generation:
        """Return the newest generation that has started.

        For whoever shows it: by this alone nothing may be written.
        """
        started = [one for one in self.generations if one.starts_at <= now]
        # A clock that is behind may see none of a cluster that has just begun.
        return started[-1] if started else self.generations[0]

    def ordered_generation_at(self, now: ClockReading, windows: Windows) -> Generation | None:
        """Return the same for a message with an ordering key, None while it has to wait.

        Clocks and pictures differ, so that around a start some ingesters write to the old
        generation and some to the new one, which is read after it.  A successor in the old one
        would overtake; so the new one takes ordered messages when the old one takes none any more.
        """
        chosen = self.generation_at(now, windows)
        if chosen.number > 1 and not self.is_over(chosen.number - 1, now, windows):
            return None
        return chosen

    def is_over(self, number: int, now: ClockReading, windows: Windows) -> bool:
        """Return whether whatever a generation has acknowledged is there for a read from now on.

        So is the name of each of its lanes.
        """
        if number >= self.generations[-1].number:
            return False
        following = self.generations[number]
        end = later(
            Instant(following.starts_at), windows.write_deadline_ms + windows.clock_skew_ms_max
        )
        known_us = now.boot_us - self.seen_boot_us[following.number]
        blind_us = (refresh_limit_ms(windows) + windows.write_deadline_ms) * _US_PER_MS
        return now.wall > end and known_us > blind_us


def is_in_time(begun: ClockReading, now: ClockReading, windows: Windows) -> bool:
    """Return whether a try that began then may still write, or count what it wrote.

    The first question follows the announcement of a lane: rows of a lane whose name came later
    could lie where those have looked already that wait for the generation's end.
    """
    deadline_us = windows.write_deadline_ms * _US_PER_MS
    return now.wall - begun.wall <= deadline_us and now.boot_us - begun.boot_us <= deadline_us


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneListing:
    """The lanes that were announced, of all generations, as a read found them that began then."""

    began: ClockReading
    lanes: frozenset[LaneId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """What holds a lane back: lanes of earlier generations of its channel that are not drained.

    `drained` has the clock time of each drained lane's closing read.
    """

    listing: LaneListing
    drained: Mapping[LaneId, Instant]

    def before(self, lane: LaneId) -> frozenset[LaneId]:
        """Return the lanes of all earlier generations that this one comes after.

        Of all, not of the one before: that one may have had no lane at all.
        """
        return frozenset(
            one
            for one in self.listing.lanes
            if one.channel == lane.channel and one.generation < lane.generation
        )

    def waits_for(self, lane: LaneId) -> frozenset[LaneId]:
        """Return those of them that are not drained."""
        return self.before(lane) - self.drained.keys()

    def may_act(self, lane: LaneId, picture: Picture, windows: Windows) -> bool:
        """Return whether a lane may act on anything: a row, a timer, a command, or be drained.

        A listing that began before the generation was over may lack lanes, and says nothing.
        """
        if lane.generation == 1:
            return True
        is_complete = picture.is_over(lane.generation - 1, self.listing.began, windows)
        return is_complete and not self.waits_for(lane)

    def prompt_from(self, lane: LaneId, windows: Windows) -> Instant:
        """Return the instant after which a message must be born for its row to be prompt.

        One that is born earlier may have been claimed in an earlier generation: its timeline tells.
        """
        closed = [self.drained[one] for one in self.before(lane) if one in self.drained]
        return later(max(closed), windows.clock_skew_ms_max) if closed else Instant(0)
