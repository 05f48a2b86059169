"""Which generation takes a message, when an old one is over, and what waits for its end."""

import random
from bisect import bisect_left
from dataclasses import replace
from itertools import pairwise

import pytest

from cluster.topology.generation import Generation
from pipeline.instant import Instant, earlier, later
from pipeline.lane_id import LaneId
from pipeline.limits import Windows
from pipeline.ports import ClockReading
from pipeline.turnover import (
    Barrier,
    GenerationsAltered,
    LaneListing,
    Picture,
    PictureOld,
    earliest_start,
    is_in_time,
    refresh_limit_ms,
)
from tests.support.seed import seeded_random
from tests.support.topologies import make_generation

WINDOWS = Windows()
NOW = Instant(1_800_000_000_000_000)
START = earliest_start(NOW, WINDOWS)
FIRST = make_generation(starts_at=earlier(NOW, 3_600_000))
SECOND = replace(make_generation(shard_count=3), number=2, starts_at=START)
THIRD = replace(FIRST, number=3, starts_at=later(START, 60_000))
LIMIT_US = refresh_limit_ms(WINDOWS) * 1_000
BLIND_US = LIMIT_US + WINDOWS.write_deadline_ms * 1_000
END = later(START, WINDOWS.write_deadline_ms + WINDOWS.clock_skew_ms_max)


def at(wall: int, boot_us: int = 0) -> ClockReading:
    return ClockReading(wall=Instant(wall), boot_us=boot_us)


def picture(*generations: Generation, read: int = 0, seen: int = 0) -> Picture:
    return Picture.of(generations, began_boot_us=read, ended_boot_us=seen)


# --- pictures -------------------------------------------------------------------------------------


def test_a_try_goes_to_the_generation_of_its_time() -> None:
    both = picture(FIRST, SECOND)
    assert both.generation_at(at(START - 1), WINDOWS).number == 1
    assert both.generation_at(at(START), WINDOWS).number == 2
    assert both.generation_at(at(FIRST.starts_at - 1), WINDOWS).number == 1


def test_a_picture_is_as_old_as_the_beginning_of_its_read() -> None:
    old = picture(FIRST, read=7, seen=8_000_000)
    assert old.generation_at(at(NOW, 7 + LIMIT_US), WINDOWS).number == 1
    with pytest.raises(PictureOld):
        old.generation_at(at(NOW, 8 + LIMIT_US), WINDOWS)
    fresh = old.refreshed([FIRST], began_boot_us=9, ended_boot_us=10)
    assert fresh.generation_at(at(NOW, 9 + LIMIT_US), WINDOWS).number == 1


def test_a_generation_stays_known_since_the_read_that_showed_it_first() -> None:
    known = picture(FIRST, read=1, seen=2)
    known = known.refreshed([FIRST, SECOND], began_boot_us=3, ended_boot_us=4)
    known = known.refreshed([FIRST, SECOND], began_boot_us=5, ended_boot_us=6)
    assert known.seen_boot_us == {1: 2, 2: 4}


@pytest.mark.parametrize(
    "read",
    [
        [],
        [FIRST],
        [FIRST, replace(SECOND, starts_at=START + 1)],
        [FIRST, replace(SECOND, number=3)],
        [FIRST, SECOND, replace(THIRD, starts_at=START)],
    ],
    ids=["none", "one gone", "another one", "one missing", "not later"],
)
def test_what_contradicts_the_picture_is_refused(read: list[Generation]) -> None:
    with pytest.raises(GenerationsAltered):
        picture(FIRST, SECOND).refreshed(read, began_boot_us=1, ended_boot_us=2)


# --- the end of a generation ----------------------------------------------------------------------


def test_a_generation_is_over_by_the_clock_and_by_the_time_since_the_next_one_was_seen() -> None:
    both = picture(FIRST, SECOND, seen=5)
    past = 5 + BLIND_US + 1
    assert both.is_over(1, at(END + 1, past), WINDOWS)
    assert not both.is_over(1, at(END, past), WINDOWS)
    assert not both.is_over(1, at(END + 1, past - 1), WINDOWS)
    assert not both.is_over(2, at(END + 1, past), WINDOWS)
    assert not picture(FIRST).is_over(1, at(END + 1, past), WINDOWS)


def test_ordered_messages_wait_from_the_start_of_a_generation_to_the_end_of_the_one_before() -> (
    None
):
    def number_at(wall: int, seen_ago_us: int = BLIND_US + 1) -> int | None:
        known = picture(FIRST, SECOND, read=seen_ago_us, seen=0)
        chosen = known.ordered_generation_at(at(wall, seen_ago_us), WINDOWS)
        return None if chosen is None else chosen.number

    assert number_at(START - 1) == 1
    assert number_at(START) is None
    assert number_at(END) is None
    assert number_at(END + 1) == 2
    assert number_at(END + 1, BLIND_US) is None


def test_a_try_has_its_time_by_both_clocks() -> None:
    deadline_us = WINDOWS.write_deadline_ms * 1_000
    assert is_in_time(at(5, 7), at(5 + deadline_us, 7 + deadline_us), WINDOWS)
    assert not is_in_time(at(5, 7), at(6 + deadline_us, 7), WINDOWS)
    assert not is_in_time(at(5, 7), at(5, 8 + deadline_us), WINDOWS)


class Process:
    """One with a clock of its own that refreshes its picture now and then, not always in time."""

    def __init__(self, chance: random.Random, *, lands_at: int, until: int) -> None:
        self._wall_us = chance.randint(0, WINDOWS.clock_skew_ms_max * 1_000)
        self._boot_us = chance.randrange(1 << 40)
        self._pictures: list[tuple[int, Picture]] = []
        known: Picture | None = None
        time = -10_000_000
        while time < until:
            took = chance.choice((1_000, 50_000, chance.randint(0, 3_000_000)))
            # Somewhere between its beginning and its end the read finds the record or does not.
            found = [FIRST, SECOND] if chance.randint(time, time + took) >= lands_at else [FIRST]
            if known is not None and known.generations[-1] is SECOND:
                found = [FIRST, SECOND]
            began, ended = time + self._boot_us, time + took + self._boot_us
            known = (
                Picture.of(found, began_boot_us=began, ended_boot_us=ended)
                if known is None
                else known.refreshed(found, began_boot_us=began, ended_boot_us=ended)
            )
            self._pictures.append((time + took, known))
            time += took + chance.choice((100_000, 5_000_000, 5_000_000, 30_000_000))

    def reading(self, time: int) -> ClockReading:
        return at(NOW + time + self._wall_us, time + self._boot_us)

    def picture(self, time: int) -> Picture:
        return next(known for ended, known in reversed(self._pictures) if ended <= time)

    def first_closing(self, until: int) -> int:
        """Return when the old generation is over for it: once it is, it remains so."""
        return bisect_left(
            range(until),
            True,
            key=lambda time: self.picture(time).is_over(1, self.reading(time), WINDOWS),
        )


def wait(chance: random.Random) -> int:
    return chance.choice((1_000, 1_000, chance.randint(0, 2_500_000)))


def test_nothing_is_acknowledged_behind_the_end_and_no_key_goes_back() -> None:
    chance = seeded_random()
    until = 150_000_000
    acknowledged = {1: 0, 2: 0}
    waited = 0
    for _ in range(40):
        # The record is meant to land long before its start, but may land at any time.
        lands_at = chance.choice((100_000, chance.randint(0, 60_000_000)))
        processes = [Process(chance, lands_at=lands_at, until=until) for _ in range(4)]
        # When one of them may begin the read, or the listing, that closes the old generation.
        first_closing = min(process.first_closing(until) for process in processes)
        time, newest = 0, 1
        while time < min(until, first_closing + 5_000_000):
            time += wait(chance)
            ingester = chance.choice(processes)
            begun = ingester.reading(time)
            is_ordered = chance.random() < 0.7
            choose = Picture.ordered_generation_at if is_ordered else Picture.generation_at
            try:
                chosen = choose(ingester.picture(time), begun, WINDOWS)
            except PictureOld:
                continue
            if chosen is None:
                waited += 1
                continue
            announced = time + wait(chance)
            if not is_in_time(begun, ingester.reading(announced), WINDOWS):
                continue
            # It may be visible at any time after: whoever looks for the lane finds it by then.
            assert chosen.number == 2 or announced < first_closing
            visible = announced + wait(chance)
            answered = visible + wait(chance)
            if not is_in_time(begun, ingester.reading(answered), WINDOWS):
                continue
            acknowledged[chosen.number] += 1
            assert chosen.number == 2 or visible < first_closing
            if is_ordered:
                # The next one of the key is submitted when this one was acknowledged.
                assert chosen.number >= newest
                newest, time = chosen.number, answered
    assert min(*acknowledged.values(), waited) > 20, (acknowledged, waited)


# --- what waits for the end -----------------------------------------------------------------------


def lane(generation: int, *, channel: str = "sms", band: str = "urgent") -> LaneId:
    return LaneId(generation, "node-a", 0, channel, band)


ALL = picture(FIRST, SECOND, THIRD)
LATE = at(THIRD.starts_at + 60_000_000, BLIND_US + 1)


def barrier(*lanes: LaneId, began: ClockReading = LATE, **drained: int) -> Barrier:
    by_name = {f"g{one.generation}": one for one in lanes}
    return Barrier(
        listing=LaneListing(began=began, lanes=frozenset(lanes)),
        drained={by_name[name]: Instant(when) for name, when in drained.items()},
    )


def test_a_lane_acts_when_those_of_its_channel_before_are_drained() -> None:
    lanes = (lane(1), lane(2), lane(3), lane(1, channel="email"))
    assert barrier(*lanes).may_act(lane(1), ALL, WINDOWS)
    assert not barrier(*lanes).may_act(lane(2), ALL, WINDOWS)
    held = Barrier(
        listing=LaneListing(began=LATE, lanes=frozenset(lanes)), drained={lane(1): Instant(5)}
    )
    assert held.may_act(lane(2), ALL, WINDOWS)
    assert not held.may_act(lane(3), ALL, WINDOWS)
    assert held.waits_for(lane(3)) == {lane(2)}
    assert not held.may_act(lane(2, channel="email"), ALL, WINDOWS)


def test_a_generation_without_a_lane_lets_nobody_by() -> None:
    assert not barrier(lane(1), lane(3)).may_act(lane(3), ALL, WINDOWS)
    assert barrier(lane(1), lane(3), g1=5).may_act(lane(3), ALL, WINDOWS)


def test_a_listing_from_before_the_end_says_nothing() -> None:
    early = at(LATE.wall, BLIND_US)
    assert not barrier(began=early).may_act(lane(2), ALL, WINDOWS)
    assert barrier().may_act(lane(2), ALL, WINDOWS)


def test_only_what_was_born_after_all_closings_is_prompt() -> None:
    skew_us = WINDOWS.clock_skew_ms_max * 1_000
    closed = barrier(lane(1), lane(2), lane(3), g1=900, g2=500)
    assert closed.prompt_from(lane(3), WINDOWS) == 900 + skew_us
    assert closed.prompt_from(lane(1), WINDOWS) == 0


def test_a_generation_starts_when_mostly_everybody_knows_of_it() -> None:
    ahead_us = START - NOW
    assert ahead_us == 2 * LIMIT_US + WINDOWS.clock_skew_ms_max * 1_000
    assert all(one.starts_at < next_.starts_at for one, next_ in pairwise((FIRST, SECOND, THIRD)))
