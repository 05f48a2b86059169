"""What ends while no connector may take it has expired, without a turn of its own."""

import pytest

from pipeline.instant import DurationMs
from pipeline.lane.gate import Gate
from pipeline.limits import Windows
from pipeline.route.provider_health import HealthRule
from tests.support.gates import gate_of
from tests.support.lane_story import LaneStory

NOBODY = Gate("sms", [])


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(
            "expiring:a=5000 ring:a,b NOCLAIM +4900 NOAPPEND +1100 SAYS:a=EXPIRE NOCLAIM applied"
            " settle WAITING:1",
            id="what is fresh",
        ),
        pytest.param(
            "expiring:a~k=5000 row:a~k,b~k folds bodies:a~k NOCLAIM +4900 settle +1100"
            " SAYS:a~k=EXPIRE FOLDS:b~k",
            id="the head of a line, and the next one follows",
        ),
        pytest.param(
            "expiring:t=40000 due:t=30000 timer:t folds +30000 bodies:t NOCLAIM +11000"
            " SAYS:t=EXPIRE applied settle WAITING:0",
            id="what had waited for its time",
        ),
        pytest.param(
            "ring:a,b NOCLAIM +259200000 SAYS:a=EXPIRE,b=EXPIRE applied settle WAITING:0",
            id="what nobody set an end to, after the longest validity",
        ),
    ],
)
def test_what_ends_expires_though_no_connector_is_there(story: str) -> None:
    LaneStory(gate=NOBODY).tell(story)


def test_what_ends_expires_though_the_connector_is_broken() -> None:
    an_hour = DurationMs(3_600_000)
    rule = HealthRule(failures_in_row_max=1, cooldown_ms_min=an_hour, cooldown_ms_max=an_hour)
    broken = gate_of(health=rule)
    LaneStory(gate=broken).tell(
        "expiring:a=20000 ring:a,b applied HAND:a,b part:a=DEFER part:b=LOSE_ANSWER kept applied"
        " applied settle +10000 NOCLAIM settle +11000 SAYS:a=EXPIRE applied settle WAITING:0"
    )


def test_more_than_one_entry_holds_end_one_entry_after_another() -> None:
    story = LaneStory(gate=NOBODY, windows=Windows())
    names = [f"m{number}" for number in range(2_000)]
    story.tell(
        "expiring:" + "=5000,".join(names) + "=5000 ring:" + ",".join(names) + " WAITING:2000"
    )
    story.tell("+6000")
    while story.lane.backlog_count:
        story.tell("applied settle")
    assert len(story.journal) in range(3, 8)
