"""A lane whose data was restored claims nothing that may have been handed over before."""

from dataclasses import replace

import pytest

from pipeline.instant import Instant, earlier, later
from pipeline.lane import actions as act
from pipeline.lane.entry import Entry, decode_entry
from pipeline.lane.recovery import Recovered
from pipeline.lane.restored import RESTORED, RestoreGuard
from pipeline.lifecycle import Event, step_of
from pipeline.outcome import ProviderClass
from tests.support.gates import gate_of
from tests.support.lane_story import GROUP, NOW, LaneStory, fresh, id_of

R = earlier(NOW, 500)
LONG_AGO, SINCE = earlier(R, 60_000), later(R, 100)


def restored_story(
    recovered: Recovered | None = None, *, provider_class: ProviderClass = ProviderClass.NONE
) -> LaneStory:
    story = LaneStory(
        replace(recovered or fresh(offset=earlier(R, 600_000)), restored_at=R),
        borns={"old": LONG_AGO, "older": LONG_AGO},
        gate=gate_of(provider_class=provider_class),
    )
    story.tell("timer")
    return story


@pytest.mark.parametrize(
    ("at", "born", "attempt", "doubts"),
    [
        pytest.param(R, LONG_AGO, 1, True, id="there when it was restored"),
        pytest.param(R, LONG_AGO, 2, True, id="a retry that was there"),
        pytest.param(R, SINCE, 1, True, id="by the clock of the store, whatever that of its born"),
        pytest.param(SINCE, R, 1, True, id="a client that repeats itself"),
        pytest.param(SINCE, LONG_AGO, 2, False, id="a retry that the lane wrote since"),
        pytest.param(SINCE, SINCE, 1, False, id="new"),
    ],
)
def test_a_row_is_doubted_by_its_at_and_by_its_born(
    at: Instant, born: Instant, attempt: int, doubts: bool
) -> None:
    guard = RestoreGuard(R)
    assert guard.doubts_row(at=at, born=born, attempt=attempt) is doubts


def entry_of(story: LaneStory) -> Entry:
    return decode_entry(story.asked_for(act.Append).body)


def test_a_row_that_was_there_becomes_uncertain_and_says_why() -> None:
    story = restored_story()
    story.answer_read([story.row("old", at=R), story.row("older", at=R)])
    if story._asked(act.ReadFolds):
        story.tell("folds")
    story.tell("SAYS:old=LOSE_ANSWER,older=LOSE_ANSWER NOBODIES")
    entry = entry_of(story)
    assert {row[4] for row in entry.timeline_rows()} == {RESTORED}
    assert set(entry.events_before) == {0}
    story.tell("applied NOHAND settle +1000")
    story.answer_read([story.row("old", at=R)])
    story.tell("settle NOHAND NOBODIES")


def test_what_came_since_is_claimed_as_ever() -> None:
    story = restored_story()
    story.answer_read([story.row("new")])
    story.tell("bodies:new CLAIM:new applied HAND:new")


def test_a_doorbell_for_an_older_id_is_not_trusted() -> None:
    story = restored_story()
    story.tell("row ring:old,new CLAIM:new")


def test_a_timer_that_was_due_becomes_uncertain_and_one_that_was_not_is_sent() -> None:
    story = LaneStory(
        replace(fresh(offset=earlier(R, 600_000)), restored_at=R),
        borns={"old": LONG_AGO, "next": LONG_AGO},
    )
    story.dues = {"old": R, "next": later(NOW, 2_000)}
    story.tell("timer:old,next folds SAYS:old=LOSE_ANSWER applied settle row")
    story.tell("+2001 settle bodies:next CLAIM:next")


def test_no_command_is_judged_before_all_that_is_doubtful_is_ruled_on() -> None:
    story = LaneStory(
        replace(fresh(offset=earlier(R, 600_000)), restored_at=R), borns={"old": LONG_AGO}
    )
    commands = story.lane._commands
    story.answer_read([story.row("old", at=R)])
    assert not commands.has_caught_up
    story.tell("timer folds SAYS:old=LOSE_ANSWER")
    assert not commands.has_caught_up
    story.tell("applied settle +1000")
    assert commands.has_caught_up


def claimed(at: Instant, count: int = 1) -> Recovered:
    ids = [id_of(f"c{n}") for n in range(count)]
    entry = Entry(
        at=at,
        connector="file",
        message_ids=ids,
        steps=[step_of(attempt=1, try_no=1, event=Event.CLAIM)] * count,
        events_before=[0] * count,
        borns=[at] * count,
        groups=[GROUP] * count,
        partition_keys={},
        details={},
        checkpoint=None,
    )
    return Recovered(
        next_seq=1, offset=earlier(R, 600_000), retired_through=-1, entries=[(0, entry)]
    )


@pytest.mark.parametrize("provider_class", ProviderClass)
def test_an_open_claim_is_given_up_as_another_attempt_may_have_followed(
    provider_class: ProviderClass,
) -> None:
    story = restored_story(claimed(LONG_AGO), provider_class=provider_class)
    story.tell("SAYS:c0=LOSE_ANSWER")
    assert [row[4] for row in entry_of(story).timeline_rows()] == [RESTORED]
    story.tell("applied DOUBT:0 NOASK NOHAND")


def test_a_claim_that_was_made_since_is_judged_as_ever() -> None:
    story = restored_story(claimed(SINCE), provider_class=ProviderClass.KEYED)
    story.tell("DOUBT:1")


def test_every_claim_that_is_given_up_says_why() -> None:
    story = restored_story(claimed(LONG_AGO, count=500))
    told: dict[bytes, str] = {}
    for _ in range(100):
        if not story._asked(act.Append):
            break
        told |= {row[0]: row[4] for row in entry_of(story).timeline_rows()}
        story.tell("applied")
    assert len(told) == 500
    assert set(told.values()) == {RESTORED}
    assert story.lane.open_count == 0


def test_without_a_restore_nothing_of_it_is_there() -> None:
    story = LaneStory(borns={"old": LONG_AGO})
    assert story.lane._guard is None
    story.tell("row:a bodies:a CLAIM:a")
