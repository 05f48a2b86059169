"""What the owner of a lane does about what happens to it, one story a line.

`tests/support/lane_story.py` says what the words mean.  F is 4, P 3 s, checkpoints 250 ms.
"""

import pytest

from pipeline.instant import Instant
from tests.support.fake_clock import NOW
from tests.support.lane_story import LaneStory

CLAIMED_A = "ring:a CLAIM:a applied HAND:a"


def stories(*told: tuple[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "story", [pytest.param(story, id=promise) for promise, story in told]
    )


@stories(
    (
        "nothing is handed over before the definite answer",
        "ring:a CLAIM:a NOHAND +29000 NOHAND applied HAND:a OPEN:1",
    ),
    ("whoever is fenced sends nothing", "ring:a CLAIM:a fenced NOHAND NOAPPEND FENCED"),
    (
        "whoever is fenced takes nothing more",
        "ring:a CLAIM:a fenced ring:b NOAPPEND WAITING:0 FENCED",
    ),
    (
        "what a deposed owner had handed over changes nothing any more",
        "ring:a applied HAND:a ring:b CLAIM:b fenced took FENCED OPEN:2",
    ),
    (
        "one append is in flight, the next waits",
        "ring:a CLAIM:a ring:b CLAIM:a NOHAND applied HAND:a CLAIM:b applied HAND:a,b",
    ),
    (
        "no more than F messages are claimed without outcome",
        "ring:a,b,c,d,e,f CLAIM:a,b,c,d applied HAND:a,b,c,d OPEN:4 WAITING:2 NOAPPEND",
    ),
    (
        "an outcome makes room in the body that carries it",
        "ring:a,b,c,d,e applied took CLAIM:e SAYS:a=TAKE,b=TAKE,c=TAKE,d=TAKE OPEN:1",
    ),
    (
        "claims of several windows count together",
        "ring:a,b,c applied ring:d,e CLAIM:d applied HAND:a,b,c,d NOAPPEND OPEN:4",
    ),
    (
        "windows may be answered in any order",
        "ring:a applied HAND:a ring:b applied HAND:a,b took SAYS:a=TAKE applied took SAYS:b=TAKE",
    ),
    (
        "a message is claimed once, however often its doorbell rings",
        "ring:a ring:a CLAIM:a applied ring:a NOAPPEND took applied ring:a NOCLAIM WAITING:0",
    ),
    (
        "what was refused is over",
        f"{CLAIMED_A} refused SAYS:a=REFUSE applied ring:a NOAPPEND OPEN:0",
    ),
    (
        "what may be with the provider is never claimed again",
        f"{CLAIMED_A} lost SAYS:a=LOSE_ANSWER applied +60000 ring:a NOCLAIM OPEN:0",
    ),
)
def test_claims(story: str) -> None:
    LaneStory().tell(story)


@stories(
    (
        "what is answered is journaled though its neighbours are not",
        "ring:a,b,c applied part:b=TAKE SAYS:b=TAKE applied OPEN:2 part:c=REFUSE SAYS:c=REFUSE"
        " applied part:a=TAKE SAYS:a=TAKE applied OPEN:0",
    ),
    (
        "it makes room for others",
        "ring:a,b,c,d,e,f applied part:a=TAKE,d=TAKE CLAIM:e,f SAYS:a=TAKE,d=TAKE OPEN:4",
    ),
    (
        "parts that came while an append was in flight go together",
        "ring:a,b,c applied ring:d CLAIM:d part:a=TAKE part:c=LOSE_ANSWER applied"
        " SAYS:a=TAKE,c=LOSE_ANSWER OPEN:2",
    ),
    (
        "what was not sent is claimed again beside what still is with the provider",
        "ring:a,b applied part:a=NOT_SENT SAYS:a=NOT_SENT applied +100 CLAIM:a OPEN:2",
    ),
    (
        "after H only what is not answered is named again",
        "ring:a,b,c applied part:b=TAKE applied +180001 CARRY:a,c applied OPEN:2 part:a=TAKE"
        " applied part:c=TAKE applied OPEN:0",
    ),
    (
        "the entry that says what became of one names the others again",
        "ring:a,b,c applied +179999 ring:d CLAIM:d part:b=TAKE +2 applied SAYS:b=TAKE CARRY:a,c"
        " applied OPEN:3",
    ),
)
def test_windows_answered_in_parts(story: str) -> None:
    LaneStory().tell(story)


@stories(
    ("a row's body is read, then it is claimed", "row:a BODIES:a bodies:a CLAIM:a applied HAND:a"),
    ("a doorbell may come without the body", "hint:a BODIES:a bodies:a CLAIM:a"),
    (
        "a doorbell brings the body that is being read",
        "row:a BODIES:a ring:a CLAIM:a bodies:a applied NOAPPEND HAND:a WAITING:0",
    ),
    ("a doorbell without a body adds nothing to one with it", "ring:a hint:a CLAIM:a NOBODIES"),
    (
        "a body that is missing is asked for again, and keeps nobody waiting",
        "row:a,b BODIES:a,b bodies:b CLAIM:b NOBODIES WAITING:1 +999 NOBODIES +1 BODIES:a"
        " bodies:a applied CLAIM:a",
    ),
    (
        "bodies that could not be read are asked for again",
        "row:a bodiesfail NOBODIES +250 BODIES:a bodies:a settle CLAIM:a",
    ),
    ("the row of what a doorbell brought is nothing new", "ring:a CLAIM:a row:a NOBODIES NOFOLDS"),
    (
        "the row of what was claimed and answered is nothing new",
        f"{CLAIMED_A} took applied +1000 row:a NOBODIES NOFOLDS NOCLAIM",
    ),
    ("the first read comes at once", "READ"),
    ("the next one a second later", "row NOREAD +999 NOREAD +1 READ"),
    ("a read in progress is the only one", "READ +5000 READ"),
    ("a page that another follows is followed at once", "more:a READ row:b NOREAD"),
    ("a read that failed is begun again, later", "readfails NOREAD +1000 READ row:a BODIES:a"),
    (
        "of a window's bodies no more are read ahead than two windows need",
        "row:a,b,c,d,e,f,g,h,i,j BODIES:a,b,c,d,e,f,g,h",
    ),
)
def test_rows_and_bodies(story: str) -> None:
    LaneStory().tell(story)


@stories(
    ("up to P after its birth a row is prompt", "born:a +3000 row:a NOFOLDS BODIES:a"),
    ("later only the fold can tell", "born:a +3001 row:a FOLDS:a NOBODIES WAITING:1"),
    ("no fold: it was never claimed", "born:a +3001 row:a folds BODIES:a bodies:a settle CLAIM:a"),
    ("taken: nothing is left to do", "born:a +3001 row:a folds:a=TAKE NOBODIES WAITING:0"),
    ("claimed: its owner answers for it", "born:a +3001 row:a folds:a=CLAIM NOBODIES WAITING:0"),
    ("uncertain stays so", "born:a +3001 row:a folds:a=LOSE_ANSWER NOBODIES WAITING:0"),
    ("expired stays so", "born:a +3001 row:a folds:a=EXPIRE NOBODIES WAITING:0"),
    (
        "not sent: it waits for this attempt",
        "born:a +3001 row:a folds:a=NOT_SENT BODIES:a bodies:a settle CLAIM:a",
    ),
    (
        "deferred: it waits for another attempt than the row's",
        "born:a +3001 row:a folds:a=DEFER NOBODIES WAITING:0",
    ),
    (
        "the doorbell of what is pending is dropped",
        "born:a +3001 row:a ring:a NOCLAIM folds:a=TAKE NOCLAIM NOBODIES WAITING:0",
    ),
    (
        "further rows of what is pending wait with the first",
        "born:a +3001 row:a FOLDS:a +1000 row:a FOLDS:a folds BODIES:a bodies:a settle CLAIM:a"
        " applied NOAPPEND",
    ),
    (
        "folds that could not be read are asked for again",
        "born:a +3001 row:a foldsfail NOFOLDS WAITING:1 +250 FOLDS:a folds BODIES:a",
    ),
    (
        "a late row of what is queued already adds nothing",
        "ring:a,b,c,d,e,f CLAIM:a,b,c,d +3001 row:e NOFOLDS NOBODIES WAITING:2",
    ),
    (
        "a late row of what waits for its body adds nothing",
        "row:a BODIES:a +3001 row:a NOFOLDS bodies:a settle CLAIM:a applied NOAPPEND",
    ),
)
def test_late_rows(story: str) -> None:
    LaneStory().tell(story)


@stories(
    (
        "what was not sent is claimed again after a pause",
        f"{CLAIMED_A} unsent SAYS:a=NOT_SENT NOCLAIM applied NOAPPEND WAITING:1 +99 NOAPPEND"
        " +1 CLAIM:a",
    ),
    (
        "not before that is definite",
        f"{CLAIMED_A} unsent +5000 SAYS:a=NOT_SENT NOCLAIM applied CLAIM:a",
    ),
    (
        "the pause doubles",
        f"{CLAIMED_A} unsent applied +100 CLAIM:a applied HAND:a unsent applied +199 NOAPPEND"
        " +1 CLAIM:a applied unsent applied +399 NOAPPEND +1 CLAIM:a",
    ),
    (
        "the pause holds for the whole lane",
        f"{CLAIMED_A} unsent applied ring:b NOAPPEND WAITING:2 +100 CLAIM:a,b",
    ),
    (
        "a window that was sent ends it",
        f"{CLAIMED_A} unsent applied +100 applied took applied ring:b applied unsent applied"
        " +100 CLAIM:b",
    ),
    (
        "a part that was not sent is claimed alone",
        "ring:a,b applied says:a=TAKE,b=NOT_SENT SAYS:a=TAKE,b=NOT_SENT applied +100 CLAIM:b",
    ),
    (
        "its row and its doorbell add nothing",
        f"{CLAIMED_A} unsent applied ring:a row:a NOBODIES WAITING:1 +100 CLAIM:a applied NOAPPEND",
    ),
    (
        "its row may come while its end is being journaled",
        f"{CLAIMED_A} unsent row:a BODIES:a applied WAITING:1 bodies:a +100 CLAIM:a applied"
        " NOAPPEND HAND:a",
    ),
    (
        "an answer to the claim that comes past the deadline hands nothing over",
        "ring:a CLAIM:a +30001 applied NOHAND SAYS:a=NOT_SENT NOCLAIM applied CLAIM:a",
    ),
    ("up to the deadline it does", "ring:a CLAIM:a +30000 applied HAND:a"),
)
def test_what_was_not_sent(story: str) -> None:
    LaneStory().tell(story)


@stories(
    (
        "what has expired is not claimed",
        "expiring:a=0 ring:a,b SAYS:a=EXPIRE CLAIM:b applied HAND:b",
    ),
    ("what has expired alone needs no window", "expiring:a=0 ring:a SAYS:a=EXPIRE applied NOHAND"),
    ("an instant before, it is", "expiring:a=1 ring:a CLAIM:a"),
    (
        "it may expire while it waits for room",
        "expiring:e=10 ring:a,b,c,d,e applied +10 took SAYS:a=TAKE,b=TAKE,c=TAKE,d=TAKE,e=EXPIRE",
    ),
    (
        "it may expire between two tries",
        f"expiring:a=50 {CLAIMED_A} unsent applied +100 SAYS:a=EXPIRE NOCLAIM applied ring:a"
        " NOAPPEND",
    ),
    (
        "no message outlives the longest validity",
        "ring:a,b,c,d,e applied HAND:a,b,c,d +259200000 CARRY:a,b,c,d applied"
        " SAYS:e=EXPIRE applied took SAYS:a=TAKE,b=TAKE,c=TAKE,d=TAKE",
    ),
)
def test_expiry(story: str) -> None:
    LaneStory().tell(story)


@stories(
    (
        "a claim that stays open longer than H is named again",
        f"{CLAIMED_A} +180000 NOCARRY +1 CARRY:a applied OPEN:1 took SAYS:a=TAKE applied OPEN:0",
    ),
    ("it is named again after another H", f"{CLAIMED_A} +180001 applied NOAPPEND +180001 CARRY:a"),
    (
        "what is answered needs not be named again",
        f"{CLAIMED_A} +179000 ring:b CLAIM:b took +2000 applied SAYS:a=TAKE NOCARRY",
    ),
)
def test_claims_older_than_the_near_horizon(story: str) -> None:
    LaneStory().tell(story)


@stories(
    (
        "what is claimed is finished",
        f"{CLAIMED_A} drain BUSY took SAYS:a=TAKE applied settle DRAINED",
    ),
    (
        "what is not claimed is left to the next owner",
        "ring:a,b,c,d,e applied drain took NOCLAIM applied settle DRAINED WAITING:1",
    ),
    (
        "a claim whose answer is on its way is handed over",
        "ring:a drain CLAIM:a applied HAND:a BUSY",
    ),
    ("doorbells come too late", "drain ring:a NOAPPEND WAITING:0"),
    ("nothing more is read", f"row {CLAIMED_A} +1000 READ row drain +5000 BUSY NOREAD"),
    (
        "nothing is claimed for the second time",
        f"{CLAIMED_A} drain unsent applied +5000 NOCLAIM settle DRAINED",
    ),
    (
        "it is over when the timeline has everything",
        f"{CLAIMED_A} settle drain took applied bookswritten BUSY PROJECT:a=TAKE projected DRAINED",
    ),
    (
        "and the books count everything",
        f"{CLAIMED_A} settle drain took applied projected BUSY bookswritten DRAINED",
    ),
    ("a lane without work is drained at once", "row drain DRAINED"),
    ("twice is once", f"{CLAIMED_A} drain drain took applied settle drain DRAINED"),
)
def test_drain(story: str) -> None:
    LaneStory().tell(story)


@stories(
    (
        "only what is journaled is projected",
        "ring:a CLAIM:a NOPROJECT applied PROJECT:a=CLAIM took PROJECT:a=CLAIM projected NOPROJECT"
        " applied PROJECT:a=TAKE",
    ),
    (
        "what could not be projected is projected again",
        f"{CLAIMED_A} projectfails NOPROJECT +249 NOPROJECT +1 PROJECT:a=CLAIM projected NOPROJECT",
    ),
    (
        "several entries are projected together",
        "ring:a applied PROJECT:a=CLAIM ring:b applied ring:c applied projected"
        " PROJECT:b=CLAIM,c=CLAIM",
    ),
    (
        "a fenced owner's answer projects nothing",
        "ring:a CLAIM:a fenced NOPROJECT FENCED",
    ),
    (
        "a book's cell is read once, then written at checkpoints",
        f"{CLAIMED_A} BOOKSREAD NOBOOKSWRITE booksread BOOKSWRITE bookswritten NOBOOKSREAD took"
        " applied NOBOOKSREAD NOBOOKSWRITE +250 BOOKSWRITE bookswritten NOBOOKSWRITE",
    ),
    (
        "cells that could not be read are asked for again",
        f"{CLAIMED_A} booksreadfails NOBOOKSREAD +249 NOBOOKSREAD +1 BOOKSREAD",
    ),
    (
        "cells that could not be written are written again",
        f"{CLAIMED_A} booksread bookswritefails NOBOOKSWRITE +249 NOBOOKSWRITE +1 BOOKSWRITE",
    ),
    (
        "even when there is no time to lose",
        f"{CLAIMED_A} booksread drain bookswritefails NOBOOKSWRITE +250 BOOKSWRITE",
    ),
)
def test_projection_and_books(story: str) -> None:
    LaneStory().tell(story)


def test_a_clock_that_is_set_back_by_an_hour_delays_a_lane_by_no_hour() -> None:
    story = LaneStory()
    story.answer_read([], through=NOW)
    story.tell("NOREAD")
    story.pass_time(-3_600_000)
    story.tell("+1000")
    # Its `at` goes on where those before it ended, far beyond its born.
    story.answer_read([story.row("a", at=Instant(NOW + 1))], through=Instant(NOW + 1))
    story.tell(
        "FOLDS:a folds BODIES:a bodies:a settle CLAIM:a applied HAND:a took SAYS:a=TAKE applied"
    )
    story.tell("settle +250 settle +1000")
    story.answer_read([], through=Instant(NOW + 2))
    story.tell("+250")
    assert story.entry is not None
    assert story.entry.checkpoint is not None
    assert story.entry.checkpoint.offset > NOW


@stories(
    (
        "its row is durable before the outcome is journaled",
        f"{CLAIMED_A} deferred KEEP:a=1000 NOAPPEND kept SAYS:a=DEFER applied OPEN:0 WAITING:0",
    ),
    (
        "it is claimed again when it is due, not before",
        f"{CLAIMED_A} deferred kept applied +999 NOCLAIM +1 CLAIM:a applied HAND:a took"
        " SAYS:a=TAKE",
    ),
    (
        "each attempt waits longer",
        f"{CLAIMED_A} deferred kept applied +1000 CLAIM:a applied deferred KEEP:a=2000",
    ),
    (
        "a row that may not be there is written again",
        f"{CLAIMED_A} deferred KEEP:a=1000 keptnot NOKEEP NOAPPEND +249 NOKEEP +1 KEEP:a=750 kept"
        " SAYS:a=DEFER",
    ),
    (
        "what else the window says waits for nothing",
        "ring:a,b applied says:a=DEFER,b=TAKE KEEP:a=1000 SAYS:b=TAKE applied OPEN:1 kept"
        " SAYS:a=DEFER applied OPEN:0",
    ),
    (
        "its own row adds nothing",
        f"row {CLAIMED_A} deferred kept applied settle due:a=1000 +1000 CLAIM:a row2:a NOFOLDS"
        " NOBODIES applied HAND:a",
    ),
    (
        "a doorbell cannot hurry it",
        f"{CLAIMED_A} deferred kept applied ring:a NOCLAIM +1000 CLAIM:a",
    ),
    (
        "a drain writes what it must and leaves the rest to the next owner",
        f"{CLAIMED_A} drain deferred KEEP:a=1000 BUSY kept SAYS:a=DEFER applied settle DRAINED",
    ),
)
def test_what_the_provider_defers(story: str) -> None:
    LaneStory().tell(story)


@stories(
    (
        "a row that is due later is claimed then",
        "due:a=5000 row:a NOBODIES NOCLAIM WAITING:0 +4999 NOBODIES +1 BODIES:a bodies:a"
        " settle CLAIM:a",
    ),
    (
        "a timer counts if the fold waits for its attempt",
        "due:a=30000 TIMERS timer:a FOLDS:a folds NOBODIES +30000 BODIES:a bodies:a CLAIM:a",
    ),
    (
        "one whose message is over is dropped",
        "due:a=30000 timer:a FOLDS:a folds:a=TAKE +30000 NOBODIES NOCLAIM",
    ),
    (
        "one of another attempt than the fold waits for is dropped",
        "due:a=30000 timer:a=2 FOLDS:a folds +30000 NOBODIES NOCLAIM",
    ),
    (
        "one of the next attempt waits for the outcome of this one",
        f"due:a=30000 {CLAIMED_A} timer:a=2 NOFOLDS deferred kept applied +1000 CLAIM:a",
    ),
    (
        "timers that could not be read are read again",
        "timersfail NOTIMERS +249 NOTIMERS +1 TIMERS",
    ),
    ("a page may be short", "due:a=1000 moretimers:a TIMERS"),
    ("nothing is read twice", "timer +1000 NOTIMERS"),
    ("the next slice is read when its time comes", "timer row +61000 TIMERS"),
    ("a drain reads none", "drain timer NOTIMERS DRAINED"),
)
def test_what_is_due_later(story: str) -> None:
    LaneStory().tell(story)
