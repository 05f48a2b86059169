"""A row below the offset that nobody answers for was missed."""

import pytest

from pipeline.instant import Instant
from pipeline.lane.missed import is_answered_for, missed_rows
from pipeline.lifecycle import Event, Step, step_of
from pipeline.message import AT_ONCE
from tests.support.lane_story import GROUP, NOW, id_of, pk_of


def step(event: Event, attempt: int = 1) -> Step:
    return step_of(attempt=attempt, try_no=1, event=event)


@pytest.mark.parametrize(
    ("fold", "attempt", "is_answered"),
    [
        pytest.param(None, 1, False, id="never named"),
        pytest.param(step(Event.TAKE), 1, True, id="sent"),
        pytest.param(step(Event.LOSE_ANSWER), 1, True, id="uncertain"),
        pytest.param(step(Event.CLAIM), 1, True, id="claimed: its entry answers for it"),
        pytest.param(step(Event.CLAIM), 2, False, id="the row of an attempt after the claim"),
        pytest.param(step(Event.NOT_SENT), 1, False, id="waits for this attempt"),
        pytest.param(step(Event.DEFER), 1, True, id="waits for the next attempt"),
        pytest.param(step(Event.DEFER), 2, False, id="waits for this one, put off"),
    ],
)
def test_a_row_is_answered_for_by_the_fold_of_its_message(
    fold: Step | None, attempt: int, is_answered: bool
) -> None:
    assert is_answered_for(fold, attempt) is is_answered


def test_a_missed_row_is_written_again_as_it_was() -> None:
    born = Instant(NOW - 7)
    rows = [
        (Instant(NOW + n), id_of(name), pk_of(name), born, 1, AT_ONCE, GROUP)
        for n, name in enumerate("abc")
    ]
    known, folds = {id_of("a"): step(Event.CLAIM)}, {id_of("b"): step(Event.TAKE)}
    assert missed_rows(rows, known, folds) == [(id_of("c"), pk_of("c"), born, 1, AT_ONCE, GROUP)]
