"""When a lane's journal goes on in another segment, and what each answer of a roll means."""

from collections.abc import Callable

import pytest

from pipeline.lane import actions as act
from pipeline.lane.recovery import Recovered
from pipeline.lane.rolling import Roll, RollStep, begins_segment
from pipeline.limits import Windows
from pipeline.ports import Ownership
from tests.support.fake_clock import NOW
from tests.support.lane_story import LaneStory

ME, OTHER = b"me", b"other"
EPOCH = 7

# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seq", "new_segment_seq", "begins"),
    [
        pytest.param(0, None, False, id="the first entry has its segment"),
        pytest.param(1, None, False, id="there is room"),
        pytest.param(3, None, False, id="the last that fits"),
        pytest.param(4, None, True, id="the first that does not"),
        pytest.param(5, None, False, id="and there is room again"),
        pytest.param(8, None, True, id="the next that does not"),
        pytest.param(8, 8, False, id="its segment is there and empty"),
        pytest.param(12, 8, True, id="the one after that is not"),
        pytest.param(6, 6, False, id="a segment that was opened by a take-over"),
    ],
)
def test_an_entry_whose_seq_is_a_multiple_of_the_limit_begins_a_segment(
    seq: int, new_segment_seq: int | None, begins: bool
) -> None:
    assert begins_segment(seq, entries_max=4, new_segment_seq=new_segment_seq) is begins


@pytest.mark.parametrize("is_segment_new", [False, True])
def test_a_lane_says_which_append_begins_a_segment(is_segment_new: bool) -> None:
    story = LaneStory(
        Recovered(
            next_seq=6,
            offset=NOW,
            retired_through=5,
            is_segment_new=is_segment_new,
            entries=[],
        ),
        windows=Windows(claims_open_max=4, segment_entries_max=3),
    )
    begun = []
    for name in "abcdefg":
        story.tell(f"ring:{name}")
        begun.append(story.asked_for(act.Append).begins_segment)
        story.tell("applied took")
        begun.append(story.asked_for(act.Append).begins_segment)
        story.tell(f"SAYS:{name}=TAKE applied")
    assert begun[0] is not is_segment_new
    assert [n for n, begins in enumerate(begun[1:], start=1) if begins] == [3, 6, 9, 12]


# --- how ------------------------------------------------------------------------------------------


def told(answers: str) -> Roll:
    """Give a roll the answers of a story; an unknown one is not given at all."""
    roll = Roll(3, epoch=EPOCH, owner=ME)
    words: dict[str, Callable[[], None]] = {
        "hinted": roll.on_hinted,
        "yes": lambda: roll.on_written(is_applied=True),
        "no": lambda: roll.on_written(is_applied=False),
        "nobody": lambda: roll.on_cells(None),
        "closed-by-me": lambda: roll.on_cells(Ownership(-EPOCH, ME)),
        "mine": lambda: roll.on_cells(Ownership(EPOCH, ME)),
        "stolen": lambda: roll.on_cells(Ownership(EPOCH + 1, OTHER)),
        "closed-by-thief": lambda: roll.on_cells(Ownership(-EPOCH - 1, OTHER)),
        "another-me": lambda: roll.on_cells(Ownership(EPOCH + 1, ME)),
        "same-epoch": lambda: roll.on_cells(Ownership(EPOCH, OTHER)),
    }
    for word in answers.split():
        words[word]()
    return roll


@pytest.mark.parametrize(
    ("answers", "step"),
    [
        pytest.param("", RollStep.HINT, id="first the hint"),
        pytest.param("hinted", RollStep.CLOSE, id="then the old segment is closed"),
        pytest.param("hinted yes", RollStep.OPEN, id="then the new one is opened"),
        pytest.param("hinted yes yes", RollStep.ROLLED, id="and it is ours"),
        pytest.param("hinted no", RollStep.LOOK_AT_CLOSED, id="not closed by this try"),
        pytest.param("hinted no closed-by-me", RollStep.OPEN, id="but by an earlier one"),
        pytest.param("hinted no stolen", RollStep.FENCED, id="stolen before it was closed"),
        pytest.param("hinted no closed-by-thief", RollStep.FENCED, id="and closed by the thief"),
        pytest.param("hinted yes no", RollStep.LOOK_AT_OPENED, id="not opened by this try"),
        pytest.param("hinted yes no mine", RollStep.ROLLED, id="but by an earlier one, ours"),
        pytest.param("hinted yes no stolen", RollStep.FENCED, id="opened by a successor"),
        pytest.param("hinted yes no closed-by-thief", RollStep.FENCED, id="who is further"),
        pytest.param("hinted yes no another-me", RollStep.FENCED, id="another life of ours"),
        pytest.param("hinted yes no same-epoch", RollStep.FENCED, id="an epoch is not an owner"),
        pytest.param("hinted yes no nobody", RollStep.FENCED, id="an absence is no ownership"),
    ],
)
def test_each_answer_of_a_roll_leads_to_one_step(answers: str, step: RollStep) -> None:
    roll = told(answers)
    assert roll.step is step
    assert roll.is_over is (step in (RollStep.ROLLED, RollStep.FENCED))
    assert (roll.segment, roll.next_segment) == (3, 4)


@pytest.mark.parametrize(
    "answers", ["yes", "mine", "hinted hinted", "hinted mine", "hinted no yes"]
)
def test_an_answer_to_what_was_not_asked_is_a_mistake(answers: str) -> None:
    with pytest.raises(AssertionError):
        told(answers)
