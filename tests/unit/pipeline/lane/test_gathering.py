"""Where many entries are not retired, the next one waits a moment for more outcomes."""

from typing import cast

import pytest

from pipeline.instant import earlier, later
from pipeline.lane.gathering import Gathering
from pipeline.lane.window import Answer, Window
from pipeline.lifecycle import Event
from pipeline.limits import (
    ENTRIES_GATHER_FROM,
    ENTRIES_PARK_FROM,
    GATHER_MS_MAX,
    Windows,
)
from pipeline.outcome import Outcomes
from tests.support.fake_clock import NOW
from tests.support.lane_story import LaneStory

FEW, MANY = ENTRIES_GATHER_FROM - 1, ENTRIES_PARK_FROM
EIGHT = "a,b,c,d,e,f,g,h"
ONE = "part:a=TAKE"


def answer(count: int) -> Answer:
    window = cast(Window, None)  # nobody asks for it
    return Answer(window, Outcomes.all_alike(Event.TAKE, count), None)


@pytest.mark.parametrize(
    ("entries_count", "answered_count", "after_ms", "waits"),
    [
        pytest.param(FEW, 1, 0, False, id="there are few entries"),
        pytest.param(MANY, 1, 0, True, id="there are many"),
        pytest.param(MANY, 15, 0, True, id="less than a quarter of the claims has an outcome"),
        pytest.param(MANY, 16, 0, False, id="a quarter of the claims has an outcome"),
        pytest.param(MANY, 1, GATHER_MS_MAX - 1, True, id="almost long enough"),
        pytest.param(MANY, 1, GATHER_MS_MAX, False, id="long enough"),
        pytest.param(FEW + 1, 1, GATHER_MS_MAX // 8 - 1, True, id="with fewer entries"),
        pytest.param(FEW + 1, 1, GATHER_MS_MAX // 8, False, id="with fewer entries not so long"),
        pytest.param(2 * MANY, 1, GATHER_MS_MAX, False, id="never longer"),
    ],
)
def test_the_more_entries_there_are_the_longer_the_next_one_waits(
    entries_count: int, answered_count: int, after_ms: int, waits: bool
) -> None:
    gathering = Gathering(NOW)
    gathering.on_applied(NOW)
    now = later(NOW, after_ms)
    answers = [answer(1)] * answered_count
    assert gathering.waits(now, answers, entries_count=entries_count, open_count=64) == waits
    assert (gathering.until is not None) == waits


def test_a_clock_that_is_set_back_makes_nobody_wait_for_long() -> None:
    gathering = Gathering(NOW)
    then = earlier(NOW, 3_600_000)
    gathering.on_clock_set_back(then)
    assert gathering.waits(then, [answer(1)], entries_count=MANY, open_count=64)
    assert gathering.until == later(then, GATHER_MS_MAX)


@pytest.fixture
def story() -> LaneStory:
    """Eight claims are with a provider, as many as there may be; two more messages wait."""
    story = LaneStory(windows=Windows(claims_open_max=8))
    story.lane._claims.gathering.gathers_from = 1
    return story.tell(f"row ring:{EIGHT},x,y applied HAND:{EIGHT}")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(f"{ONE} NOAPPEND +24 NOAPPEND +1 SAYS:a=TAKE CLAIM:x", id="for a while"),
        pytest.param(f"{ONE} part:b=TAKE SAYS:a=TAKE,b=TAKE CLAIM:x,y", id="until a part is there"),
        pytest.param(f"{ONE} drain SAYS:a=TAKE", id="not at its end"),
        pytest.param("took SAYS:a=TAKE,b=TAKE,c=TAKE,d=TAKE,e=TAKE,f=TAKE,g=TAKE,h=TAKE", id="all"),
    ],
)
def test_a_lane_whose_connector_is_busy_gathers_outcomes(story: LaneStory, words: str) -> None:
    story.tell(words)


def test_it_wakes_when_the_wait_is_over(story: LaneStory) -> None:
    story.tell(f"{ONE} NOAPPEND")
    assert story.lane.wake_at() == later(story.now, GATHER_MS_MAX // 8)


def test_what_may_be_claimed_waits_for_nothing() -> None:
    story = LaneStory(windows=Windows(claims_open_max=8))
    story.lane._claims.gathering.gathers_from = 1
    story.tell("row ring:a,b,c,d,e applied HAND:a,b,c,d,e ring:x CLAIM:x applied")
    story.tell(f"{ONE} NOAPPEND ring:y SAYS:a=TAKE CLAIM:y")
