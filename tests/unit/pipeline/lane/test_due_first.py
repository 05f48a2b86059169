"""What is due comes before what is fresh, and does not keep it out."""

import pytest

from pipeline.instant import Instant
from pipeline.lane import actions as act
from pipeline.lane.in_turn import InTurn
from pipeline.lane.window import Candidate
from pipeline.lifecycle import Event, step_after
from pipeline.limits import DUE_PER_FRESH
from pipeline.message import PartitionKey
from tests.support.fake_clock import NOW
from tests.support.lane_story import WINDOWS, LaneStory, id_of, name_of

AHEAD = WINDOWS.read_ahead_rows_max
F = WINDOWS.claims_open_max
DUE = WINDOWS.due_rows_max
DEFERRED = "ring:a applied HAND:a deferred kept applied"


def names(letter: str, count: int) -> str:
    return ",".join(f"{letter}{number}" for number in range(count))


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(
            f"{DEFERRED} ring:{names('f', AHEAD)} CLAIM:f0,f1,f2,f3 +1000 applied took"
            " CLAIM:a,f4,f5,f6",
            id="a retry",
        ),
        pytest.param(
            f"due:t=30000 timer:t folds +29900 ring:{names('f', AHEAD)} +100 BODIES:t bodies:t"
            " applied took CLAIM:t,f4,f5,f6",
            id="a timer, whose body is read first, too",
        ),
        pytest.param(
            f"ring:a,b applied unsent applied ring:{names('f', F)} +1000 CLAIM:a,b,f0,f1",
            id="what a connector kept to itself",
        ),
        pytest.param(
            "due:x=20000,y=10000,z=30000 timer:x,y,z folds +30000 bodies:y,x,z CLAIM:y,x,z",
            id="the first to be due first",
        ),
    ],
)
def test_what_is_due_comes_before_what_is_fresh(story: str) -> None:
    LaneStory().tell(story)


def test_what_is_due_has_room_however_much_is_fresh_and_the_other_way_round() -> None:
    timers = names("t", DUE + 2 * F)
    story = LaneStory().tell(f"due:{timers.replace(',', '=30000,')}=30000")
    for start in range(0, DUE + 2 * F, F):
        some = ",".join(timers.split(",")[start : start + F])
        story.tell(f"moretimers:{some} folds")
    story.tell(f"row ring:{names('f', AHEAD - F)} CLAIM:f0,f1,f2,f3 +30000")
    assert len(story.lane._backlog) == AHEAD - 2 * F + DUE
    # Bodies of what is due are read although those of two windows are here.
    assert len(story.asked_for(act.ReadBodies).keys) == 2 * F
    waiting = {name_of(id_) for _, id_ in story.asked_for(act.ReadBodies).keys}
    assert waiting <= set(timers.split(","))
    story.tell(f"bodies:{','.join(sorted(waiting))} ring:g CAUGHTUP")
    assert story.lane.doorbells_dropped_count == 0


def test_the_cursor_reads_on_behind_everything_that_is_due() -> None:
    timers = names("t", DUE)
    story = LaneStory().tell(f"row due:{timers.replace(',', '=30000,')}=30000")
    for start in range(0, DUE, F):
        some = ",".join(timers.split(",")[start : start + F])
        story.tell(f"moretimers:{some} folds")
    story.tell(f"+30000 bodies:{timers} READ CAUGHTUP")
    assert story.asked_for(act.ReadRows).limit == AHEAD


def waiting(due: int, fresh: int) -> InTurn:
    line = InTurn()
    for number in range(max(due, fresh)):
        if number < fresh:
            line.add(id_of(f"f{number}"), candidate())
        if number < due:
            line.add(id_of(f"d{number}"), candidate(event=Event.DEFER))
    return line


def candidate(*, event: Event | None = None, due_at: int = 0) -> Candidate:
    fold = None if event is None else step_after(None, Event.CLAIM) - Event.CLAIM + event
    return Candidate(PartitionKey(b"p" * 16), NOW, "default/g", fold, None, Instant(due_at))  # type: ignore[arg-type]


def order(line: InTurn, *, at_once: int, most: int = 100) -> str:
    """Return whose turn it was, claimed some at once."""
    found: list[str] = []
    while len(line) and len(found) < most:
        turn = [id_ for id_, _ in list(line.in_turn())[:at_once]]
        line.take(turn)
        found += [name_of(id_)[0] for id_ in turn]
    return "".join(found)


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
@pytest.mark.parametrize(
    ("due", "fresh", "turns"),
    [
        pytest.param(3, 3, "dddfff", id="first what is due"),
        pytest.param(9, 3, "dddddddfddff", id="one in eight is fresh"),
        pytest.param(17, 2, "dddddddfdddddddfddd", id="until nothing is fresh"),
        pytest.param(0, 2, "ff", id="nothing is due"),
        pytest.param(2, 0, "dd", id="nothing is fresh"),
    ],
)
def test_turns_do_not_depend_on_how_many_are_claimed_at_once(
    due: int, fresh: int, turns: str, at_once: int
) -> None:
    assert DUE_PER_FRESH == 7
    assert order(waiting(due, fresh), at_once=at_once) == turns


@pytest.mark.parametrize("at_once", [1, 5, 512])
def test_what_is_fresh_gets_its_part_however_often_what_is_due_comes_back(at_once: int) -> None:
    line = waiting(20, 20)
    turns = ""
    while line.fresh:
        pairs = list(line.in_turn())[:at_once]
        line.take(id_ for id_, _ in pairs)
        for id_, row in pairs:
            turns += name_of(id_)[0]
            if row.fold is not None:
                line.add(id_, row)  # refused for now, and due again at once
    assert turns.count("d") <= DUE_PER_FRESH * 20 + at_once


def test_a_message_stands_in_one_line_only() -> None:
    line = waiting(0, 2)
    line.add(id_of("f1"), candidate(due_at=NOW))
    assert [name_of(id_) for id_, _ in line.in_turn()] == ["f1", "f0"]
    assert len(line) == 2
    assert line.pop(id_of("f1")) is not None
    assert line.pop(id_of("f1")) is None
    assert id_of("f1") not in line
    assert line.get(id_of("f0")) is not None


def test_what_comes_back_after_its_row_was_read_waits_in_one_place() -> None:
    """The row of the next attempt is read while the entry that says so is on its way.

    In two places, and with no room for what is due, it was claimed twice.
    """
    story = LaneStory()
    story.tell("ring:a applied HAND:a deferred kept due:a=500 row2:a +1000 BODIES:a bodies:a")
    backlog, a = story.lane._backlog, id_of("a")
    read = backlog._queue.get(a)
    assert read is not None
    backlog.put_back(a, read)
    assert a in backlog.later
    assert a not in backlog._queue
    story.tell("applied CLAIM:a applied HAND:a took applied settle +60000 settle")
    assert story.lane.claims.handed_over_count == 2
    assert story.lane.backlog_count == 0
