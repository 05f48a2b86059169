"""Who may take a lane, and from whom."""

import pytest

from pipeline.instant import DurationMs
from pipeline.lane.takeover import (
    GONE,
    Mine,
    Open,
    OwnerWatch,
    Steal,
    TakeoverDecision,
    Wait,
    decide_takeover,
)
from pipeline.ports import Ownership, Segment

D_MS, D_US = 10_000, 10_000_000
PLATFORM, OTHER_PLATFORM = b"today-", b"before"
ME = PLATFORM + b"0123456789"
NEIGHBOUR = PLATFORM + b"9876543210"
STRANGER = OTHER_PLATFORM + b"0123456789"

# What was seen of the owner's heartbeat: (value, boot time in microseconds).
LIVING = [(1, 0), (2, D_US)]
SILENT = [(1, 0), (1, D_US)]
RELEASED = [(GONE, 0)]


@pytest.mark.parametrize(
    ("newest", "platform", "seen", "expected"),
    [
        pytest.param(None, PLATFORM, [], Open(0, 1), id="nobody had it"),
        pytest.param((7, ME), PLATFORM, [], Mine(5, 7), id="an earlier try of mine applied"),
        pytest.param((7, STRANGER), PLATFORM, LIVING, Steal(5, 7), id="another platform's"),
        pytest.param((7, STRANGER), PLATFORM, [], Steal(5, 7), id="without any look"),
        pytest.param((7, NEIGHBOUR), PLATFORM, [], Wait(), id="never looked at"),
        pytest.param((7, NEIGHBOUR), PLATFORM, LIVING, Wait(), id="its owner lives"),
        pytest.param((7, NEIGHBOUR), PLATFORM, SILENT, Steal(5, 7), id="it is silent"),
        pytest.param((7, NEIGHBOUR), PLATFORM, RELEASED, Steal(5, 7), id="it let go"),
        pytest.param((7, STRANGER), b"", LIVING, Wait(), id="shared store: all wait"),
        pytest.param((7, STRANGER), b"", SILENT, Steal(5, 7), id="shared store: silent"),
        pytest.param((7, ME), b"", [], Mine(5, 7), id="shared store: mine"),
        pytest.param((-7, STRANGER), PLATFORM, LIVING, Open(6, 8), id="it stopped in a roll"),
        pytest.param((-7, NEIGHBOUR), PLATFORM, LIVING, Wait(), id="it is rolling and lives"),
        pytest.param((-7, NEIGHBOUR), PLATFORM, SILENT, Open(6, 8), id="silent in a roll"),
        pytest.param((-7, STRANGER), b"", LIVING, Wait(), id="shared store: it is rolling"),
        pytest.param((-7, STRANGER), b"", SILENT, Open(6, 8), id="shared store: silent in a roll"),
        pytest.param((-7, ME), PLATFORM, [], Open(6, 8), id="I stopped in a roll"),
    ],
)
def test_who_takes_a_lane(
    newest: tuple[int, bytes] | None,
    platform: bytes,
    seen: list[tuple[int | None, int]],
    expected: TakeoverDecision,
) -> None:
    watch = OwnerWatch(steal_after_ms=DurationMs(D_MS))
    if newest is not None:
        for value, boot_us in seen:
            watch.observe(newest[1], value, boot_us=boot_us)
    decision = decide_takeover(
        None if newest is None else Segment(5, Ownership(*newest)),
        me=ME,
        platform=platform,
        watch=watch,
        boot_us=seen[-1][1] if seen else 0,
    )
    assert decision == expected


@pytest.mark.parametrize(
    ("looks", "is_silent"),
    [
        pytest.param([(5, 0)], False, id="one look proves nothing"),
        pytest.param([(5, 0), (5, D_US - 1)], False, id="not yet D apart"),
        pytest.param([(5, 0), (5, D_US)], True, id="D apart"),
        pytest.param([(5, 0), (5, 1), (5, D_US)], True, id="looks between change nothing"),
        pytest.param([(5, 0), (6, D_US)], False, id="a new beat"),
        pytest.param([(5, 0), (6, 1), (6, D_US)], False, id="counted from the newest beat"),
        pytest.param([(5, 0), (6, 1), (6, D_US + 1)], True, id="and silent since"),
        pytest.param([(6, 0), (5, D_US)], False, id="a beat may be smaller: clocks go back"),
        pytest.param([(None, 0)], False, id="no row yet"),
        pytest.param([(None, 0), (None, D_US)], True, id="no row for D"),
        pytest.param([(5, 0), (None, D_US)], False, id="its row went away just now"),
        pytest.param([(GONE, 0)], True, id="it said that it goes"),
        pytest.param([(5, 0), (GONE, 1)], True, id="it says so now"),
        pytest.param([(GONE, 0), (5, 1)], False, id="it came back"),
    ],
)
def test_an_owner_is_silent_by_the_watchers_clock_alone(
    looks: list[tuple[int | None, int]], is_silent: bool
) -> None:
    watch = OwnerWatch(steal_after_ms=DurationMs(D_MS))
    for value, boot_us in looks:
        watch.observe(b"owner", value, boot_us=boot_us)
    assert watch.is_silent(b"owner", boot_us=looks[-1][1]) is is_silent


def test_owners_are_told_apart() -> None:
    watch = OwnerWatch(steal_after_ms=DurationMs(D_MS))
    watch.observe(b"a", 1, boot_us=0)
    watch.observe(b"b", 1, boot_us=D_US)
    assert watch.is_silent(b"a", boot_us=D_US)
    assert not watch.is_silent(b"b", boot_us=D_US)
    assert not watch.is_silent(b"c", boot_us=D_US)
