"""What a new owner does with what its predecessor left in the journal."""

import pytest

from pipeline.lane import actions as act
from pipeline.lane.books import decode_counts
from pipeline.lane.recovery import JournalReadBack
from pipeline.lifecycle import Event, MessageState, step_of
from pipeline.ports import BookCell, JournalEntry
from tests.support.lane_story import LaneStory, fresh, id_of


def successor_of(story: LaneStory) -> LaneStory:
    """Return the lane under its next owner, who reads back what is in the journal by now."""
    read_back = JournalReadBack(newest_segment=0, first_offset=fresh().offset)
    read_back.on_entries(
        [JournalEntry(seq, body) for seq, body in reversed(story.journal)], limit=1_000
    )
    return LaneStory(read_back.result(), borns=story.borns, now=story.now)


def successor(told: str) -> LaneStory:
    return successor_of(LaneStory().tell(told))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            "ring:a,b applied HAND:a,b",
            "SAYS:a=LOSE_ANSWER,b=LOSE_ANSWER NOHAND applied NOHAND OPEN:0",
            id="what was claimed may have been handed over: it is uncertain",
        ),
        pytest.param(
            "ring:a applied took",
            "SAYS:a=LOSE_ANSWER NOHAND",
            id="an outcome that was not journaled is not known",
        ),
        pytest.param(
            "ring:a applied unsent",
            "SAYS:a=LOSE_ANSWER NOHAND",
            id="nor is not_sent: only its owner knows that it did not send",
        ),
        pytest.param(
            "ring:a CLAIM:a",
            "ring:a CLAIM:a applied HAND:a",
            id="what was never claimed is claimed as ever",
        ),
        pytest.param(
            "ring:a applied took applied",
            "NOAPPEND ring:a row:a NOAPPEND NOBODIES",
            id="what has an outcome is over",
        ),
        pytest.param(
            "ring:a applied",
            "ring:a row:a NOBODIES WAITING:0 applied ring:a NOAPPEND",
            id="no doorbell and no row claims an open claim again",
        ),
        pytest.param(
            "ring:a applied unsent applied",
            "ring:a NOAPPEND row:a BODIES:a bodies:a CLAIM:a applied HAND:a",
            id="what was certainly not sent is claimed again from its row",
        ),
        pytest.param(
            "ring:a,b,c,d applied",
            "SAYS:a=LOSE_ANSWER,b=LOSE_ANSWER,c=LOSE_ANSWER,d=LOSE_ANSWER ring:e NOCLAIM applied"
            " CLAIM:e",
            id="a full lane goes on once their end is journaled",
        ),
        pytest.param(
            "expiring:a=0 ring:a applied",
            "NOAPPEND ring:a NOAPPEND",
            id="what has expired is over",
        ),
        pytest.param(
            "ring:a applied",
            "fenced FENCED NOHAND",
            id="a successor may be deposed before its first append",
        ),
        pytest.param(
            "ring:a applied",
            "drain SAYS:a=LOSE_ANSWER BUSY applied settle DRAINED",
            id="a drain answers for open claims first",
        ),
    ],
)
def test_open_claims_are_answered_for_and_nothing_is_handed_over_twice(
    before: str, after: str
) -> None:
    successor(before).tell(after)


def test_the_second_claim_of_what_was_not_sent_is_its_second_try() -> None:
    story = successor("ring:a applied unsent applied").tell("row:a bodies:a CLAIM:a")
    assert story.entry is not None
    assert story.entry.steps == [step_of(attempt=1, try_no=2, event=Event.CLAIM)]
    assert story.entry.events_before == [Event.NOT_SENT]


def test_all_that_is_not_retired_is_projected_again() -> None:
    told = "ring:a applied projected took applied projected ring:b applied"
    successor(told).tell("PROJECT:a=CLAIM,a=TAKE,b=CLAIM")


def test_nothing_that_has_retired_is() -> None:
    story = LaneStory().tell("ring:a applied took applied row:a settle")
    for _ in range(5):
        story.tell("+1000 row settle +250 settle")
    successor_of(story).tell("NOPROJECT ring:a NOAPPEND +1000 NOAPPEND")


def test_the_cursor_starts_at_the_journaled_offset() -> None:
    story = LaneStory().tell(
        "ring:a applied took applied row:a settle +1000 row settle +250 settle"
    )
    assert story.lane.offset > fresh().offset
    after = successor_of(story)
    assert after.lane.offset == story.lane.offset
    assert after.asked_for(act.ReadRows).from_at == story.lane.offset


def test_the_next_append_follows_the_last_one() -> None:
    story = LaneStory().tell("ring:a applied took applied ring:b applied")
    assert successor_of(story).asked_for(act.Append).seq == 3


def test_the_books_are_those_of_the_predecessor_and_what_it_did_not_write() -> None:
    story = LaneStory().tell(
        "ring:a,b applied booksread bookswritten took applied +1000 BOOKSWRITE"
    )
    written_last = BookCell("group:default/g", 0, b'{"claimed":2}')
    after = successor_of(story).tell("BOOKSREAD")
    after.asked.remove(after.asked_for(act.ReadBooks))
    after.lane.projection.on_books_read([written_last])
    after.tell("+0 BOOKSWRITE")
    cells = {cell.book: cell for cell in after.asked_for(act.WriteBooks).cells}
    assert decode_counts(cells["group:default/g"].counts) == {MessageState.SENT: 2}
    assert cells["group:default/g"].as_of == 1


def test_what_the_predecessor_left_retires_under_the_successor() -> None:
    story = successor("ring:a applied took applied ring:b applied row:a,b")
    story.tell("SAYS:b=LOSE_ANSWER applied row:a,b settle")
    for _ in range(5):
        story.tell("+1000 row settle +250 settle")
    assert story.lane.offset > story.born("b")
    successor_of(story).tell("NOPROJECT NOAPPEND OPEN:0")


def test_claims_that_were_named_again_are_answered_for_once() -> None:
    story = LaneStory().tell("ring:a,b applied ring:c applied +180001 CARRY:a,b,c applied")
    after = successor_of(story)
    after.tell("SAYS:a=LOSE_ANSWER,b=LOSE_ANSWER,c=LOSE_ANSWER applied NOAPPEND OPEN:0")
    assert after.lane.backlog_count == 0
    assert id_of("a") in after.lane._recent
