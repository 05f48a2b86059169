"""What the journal contradicts is not claimed, whatever waits in memory.

`tests/support/lane_story.py` says what the words mean.
"""

import pytest

from pipeline.lane.window import Candidate
from pipeline.lifecycle import Step
from pipeline.message import PartitionKey
from tests.support.lane_story import LaneStory, id_of


def slipped(story: LaneStory, name: str, *, fold: Step | None) -> None:
    """Let a message wait to be claimed that should not."""
    pk, born = PartitionKey(id_of(name)), story.born(name)
    story.lane._backlog._let_claim(
        id_of(name), Candidate(pk, born, "default/g", fold, story.body(name))
    )


@pytest.mark.parametrize("ended", ["", "took SAYS:a=TAKE applied"], ids=["claimed", "sent"])
def test_what_is_claimed_or_gone_is_not_claimed_again(ended: str) -> None:
    story = LaneStory().tell(f"ring:a CLAIM:a applied HAND:a {ended}")
    slipped(story, "a", fold=None)
    story.tell("+0 NOCLAIM")
    assert story.lane.claims.withheld_count == 1


def test_others_are_claimed_all_the_same() -> None:
    story = LaneStory().tell("ring:a CLAIM:a applied HAND:a")
    slipped(story, "a", fold=None)
    story.tell("ring:b CLAIM:b")
