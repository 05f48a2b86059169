"""A backlog stays in the buffer: a lane reads ahead a bounded number of rows and catches up."""

import pytest

from pipeline.lane import actions as act
from pipeline.lane import lane as lane_module
from pipeline.limits import READ_PAGE_ROWS_MAX, Windows
from tests.support.lane_story import WINDOWS, LaneStory

AHEAD = WINDOWS.read_ahead_rows_max
F = WINDOWS.claims_open_max


def names(count: int, *, start: int = 0) -> str:
    return ",".join(f"m{number}" for number in range(start, start + count))


def test_a_doorbell_is_taken_as_far_as_there_is_room() -> None:
    story = LaneStory().tell(f"row ring:{names(AHEAD + 3)} OPEN:{F}")
    assert story.lane.backlog_count == AHEAD - F
    assert story.lane.doorbells_dropped_count == 3
    # What was dropped is looked for at once.
    assert story.lane.is_lagging


def test_what_was_dropped_is_found_by_the_cursor() -> None:
    story = LaneStory().tell(f"row ring:{names(AHEAD + 3)}")
    handed = 0
    for _ in range(AHEAD // F):
        story.tell("applied took")
        handed += F
    story.tell(f"READ row:{names(AHEAD + 3)} BODIES:{names(3, start=AHEAD)}")
    story.tell(f"bodies:{names(3, start=AHEAD)} settle applied CLAIM:{names(3, start=AHEAD)}")


def test_while_it_lags_it_takes_no_doorbells() -> None:
    story = LaneStory().tell(f"row ring:{names(AHEAD + 1)} LAGS applied took applied took")
    waiting = story.lane.backlog_count
    story.tell("ring:x,y LAGS")
    assert story.lane.doorbells_dropped_count == 1 + 2
    assert story.lane.backlog_count == waiting


def test_it_lags_until_a_last_page_was_read() -> None:
    story = LaneStory().tell(f"row ring:{names(AHEAD + 1)} LAGS applied")
    for _ in range(AHEAD // F - 1):
        story.tell("took applied")
    story.tell("READ LAGS")
    story.tell(f"more:{names(AHEAD)} LAGS took settle READ row CAUGHTUP")
    story.tell("ring:x")
    assert story.lane.backlog_count == 1


def test_it_reads_no_more_rows_than_it_has_room_for() -> None:
    story = LaneStory()
    assert story.asked_for(act.ReadRows).limit == AHEAD
    story.tell(f"more:{names(AHEAD - F)}")
    assert story.asked_for(act.ReadRows).limit == F
    story.tell(f"more:{names(1, start=100)} NOREAD LAGS")


def test_a_page_is_never_larger_than_the_store_may_be_asked_for() -> None:
    story = LaneStory(windows=Windows(claims_open_max=1_024))
    assert story.asked_for(act.ReadRows).limit == READ_PAGE_ROWS_MAX < 4_096


def test_the_rows_that_are_remembered_are_bounded_too() -> None:
    """The row of one open message holds the offset; those behind it that end are let go."""
    story = LaneStory().tell("ring:a applied row:a settle")
    story.asked.remove(story.asked_for(act.HandOverWindow))  # a's answer does not come
    for number in range(3 * AHEAD):
        name = f"m{number}"
        story.tell(f"+1000 settle row:{name} bodies:{name} settle CLAIM:{name} applied HAND:{name}")
        story.tell("took applied settle")
    assert len(story.lane._backlog.held) <= AHEAD
    assert story.lane.offset <= story.born("a")


def test_too_many_entries_that_do_not_retire_stop_the_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane_module, "ENTRIES_UNRETIRED_MAX", 6)
    story = LaneStory().tell("row")
    for name in "abc":
        story.tell(f"ring:{name} CLAIM:{name} applied took applied")
    story.tell("ring:x NOAPPEND WAITING:1")
    story.tell("+5000 settle row settle +250 settle CLAIM:x")


@pytest.mark.parametrize("claims_open_max", [1, 2, 512])
def test_the_read_ahead_is_a_multiple_of_f(claims_open_max: int) -> None:
    story = LaneStory(windows=Windows(claims_open_max=claims_open_max))
    assert story.asked_for(act.ReadRows).limit == min(4 * claims_open_max, READ_PAGE_ROWS_MAX)
