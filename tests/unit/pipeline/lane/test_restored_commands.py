"""What a person hurries after a restore may have been hurried before it: that is uncertain.

`tests/support/lane_story.py` says what the words mean.
"""

from dataclasses import replace

import pytest

from pipeline.command import Verdict
from pipeline.instant import Instant, earlier, later
from pipeline.lane import actions as act
from pipeline.lane.entry import decode_entry
from pipeline.lane.restored import RESTORED
from pipeline.later import GroupOrder
from pipeline.lifecycle import Event, step_of
from pipeline.message import PartitionKey, TimerRow
from tests.support.commanded import Commanded, commanded
from tests.support.lane_story import GROUP, NOW, WINDOWS, fresh, id_of

R = earlier(NOW, 500)
LONG_AGO, SINCE = earlier(R, 60_000), later(R, 100)
TOMORROW = later(NOW, 86_400_000)


def restored(**borns: Instant) -> Commanded:
    """Return a lane whose doubtful rows and timers were all ruled on."""
    recovered = replace(fresh(offset=earlier(R, 600_000)), restored_at=R)
    story = commanded(recovered=recovered, borns=dict(borns), answers_rulings=False)
    story.answers_rulings = True
    story.tell("row timer +1000")
    assert story.lane._guard is not None
    assert story.lane._guard.is_settled
    return story


def paused(story: Commanded, name: str) -> TimerRow:
    """The timer of a message that was paused: it is due when the message ends."""
    story.known_folds[id_of(name)] = step_of(attempt=1, try_no=1, event=Event.DEFER)
    end = later(story.born(name), WINDOWS.validity_ms_max)
    return end, id_of(name), PartitionKey(id_of(name)), story.born(name), 2, GROUP


def ended(story: Commanded) -> dict[bytes, str]:
    """What the append in flight says of messages, by id."""
    entry = decode_entry(story.asked_for(act.Append).body)
    rows = entry.timeline_rows()
    return {row[0]: f"{Event(row[2] & 255).name} {row[4]}" for row in rows}


@pytest.mark.parametrize("kind", ["resume", "expedite"])
def test_what_was_paused_before_is_uncertain_when_it_is_hurried(kind: str) -> None:
    story = restored(a=LONG_AGO)
    paused(story, "a")
    story.ask(kind, "a")
    assert story.verdicts == [Verdict.TOO_LATE]
    assert ended(story) == {id_of("a"): f"LOSE_ANSWER {RESTORED}"}
    story.tell("applied +1000 NOCLAIM")


def test_new_words_for_it_are_not_kept() -> None:
    story = restored(a=LONG_AGO)
    paused(story, "a")
    story.ask("edit", "a", body=bytes(story.body("a")))
    assert story.verdicts == [Verdict.TOO_LATE]
    assert not decode_entry(story.asked_for(act.Append).body).editions


@pytest.mark.parametrize("kind", ["resume", "expedite"])
def test_of_a_group_what_was_there_is_uncertain_and_what_came_since_goes_on(kind: str) -> None:
    story = restored(a=LONG_AGO, b=SINCE)
    story.timers = [paused(story, "a"), paused(story, "b")]
    if kind == "resume":
        story.orders = [GroupOrder(GROUP, "pause", NOW, b"o" * 16, "ada")]
    story.ask_group(kind)
    assert ended(story) == {id_of("a"): f"LOSE_ANSWER {RESTORED}"}
    story.tell("applied")
    assert [row[0] for row in story.asked_for(act.WriteRuled).rows] == [id_of("b")]
    story.written()
    assert list(ended(story)) == [id_of("b")]
    assert ended(story)[id_of("b")].startswith("DEFER")


def test_what_is_put_off_until_later_is_not_doubted() -> None:
    story = restored(a=LONG_AGO)
    story.known_folds = {}
    story.ask("pause", "a", due_at=TOMORROW)
    assert story.verdicts == []
    assert [row[0] for row in story.asked_for(act.WriteRuled).timers] == [TOMORROW]


def test_what_failed_before_can_be_sent_again() -> None:
    story = restored(a=LONG_AGO)
    story.known_folds[id_of("a")] = step_of(attempt=1, try_no=1, event=Event.REFUSE)
    story.ask("resend", "a").written()
    assert story.verdicts == [Verdict.DONE]
    assert ended(story)[id_of("a")].startswith("DEFER")
