"""The verdict on steps agrees with the lifecycle table, whatever the path."""

from itertools import pairwise

import pytest

from actors.cli.audit.timeline_verdict import judge
from pipeline.lifecycle import (
    TRANSITIONS,
    Event,
    Step,
    event_of,
    state_of,
    step_after,
    step_of,
)
from tests.support.seed import seeded_random


def path_of(choices: list[int]) -> list[Step]:
    """Walk the table; each number picks one of the events that may follow."""
    steps: list[Step] = []
    for choice in choices:
        state = state_of(steps[-1] if steps else None)
        events = sorted(TRANSITIONS[state])
        if not events:
            break
        event = events[choice % len(events)]
        steps.append(step_after(steps[-1] if steps else None, event))
    return steps


def text(steps: list[Step]) -> str:
    return ",".join(map(str, steps))


def test_every_path_through_the_table_is_lawful() -> None:
    chance = seeded_random()
    for _ in range(2_000):
        steps = path_of([chance.randrange(10) for _ in range(chance.randrange(1, 9))])
        if any(later <= earlier for earlier, later in pairwise(steps)):
            # REFUSE after TAKE and DELIVER after both keep growing; nothing else may not.
            raise AssertionError(steps)
        shuffled = chance.sample(steps, len(steps)) + steps[:1]
        verdict = judge(text(shuffled))
        assert verdict.fault is None, steps
        assert verdict.fold == steps[-1]
        assert verdict.event is event_of(steps[-1])
        assert verdict.state == state_of(steps[-1]).value


def test_a_path_that_lost_any_step_but_its_last_ones_is_a_fault() -> None:
    chance = seeded_random()
    checked = 0
    for _ in range(2_000):
        steps = path_of([chance.randrange(10) for _ in range(8)])
        if len(steps) < 2 or event_of(steps[0]) is not Event.CLAIM:
            continue
        if event_of(steps[1]) in (Event.DEFER, Event.LOSE_ANSWER, Event.REFUSE):
            continue  # unclaimed it may be put off, doubted after a restore, or end as poison
        without_first = judge(text(steps[1:]))
        assert without_first.fault is not None, steps
        checked += 1
    assert checked > 100


def one(event: Event, attempt: int = 1, try_no: int = 1) -> Step:
    return step_of(attempt=attempt, try_no=try_no, event=event)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([one(Event.TAKE)], "TAKE cannot follow accepted"),
        ([one(Event.CLAIM), one(Event.EXPIRE)], "EXPIRE cannot follow claimed"),
        ([one(Event.CLAIM, 2)], "another attempt or try"),
        ([one(Event.CLAIM, 1, 2)], "another attempt or try"),
        ([one(Event.CLAIM), one(Event.TAKE, 1, 2)], "another attempt or try"),
        (
            [one(Event.CLAIM), one(Event.NOT_SENT), one(Event.CLAIM, 2)],
            "another attempt or try",
        ),
        ([one(Event.CLAIM), one(Event.DEFER), one(Event.CLAIM, 1, 2)], "another attempt or try"),
        ([Step(one(Event.CLAIM) + 40)], "no release knows"),
        ([Step(0)], "no release knows"),
    ],
)
def test_what_the_table_does_not_allow_is_a_fault(steps: list[Step], told: str) -> None:
    fault = judge(text(steps)).fault
    assert fault is not None
    assert told in fault


@pytest.mark.parametrize(
    ("events", "may"),
    [
        ([Event.CLAIM], True),
        ([Event.CLAIM, Event.TAKE], True),
        ([Event.CLAIM, Event.LOSE_ANSWER, Event.REFUSE], True),
        ([Event.CLAIM, Event.NOT_SENT], False),
        ([Event.CLAIM, Event.REFUSE], False),
        ([Event.EXPIRE], False),
    ],
)
def test_only_what_was_claimed_and_not_refused_may_have_been_handed_over(
    events: list[Event], may: bool
) -> None:
    assert judge(text([one(event) for event in events])).may_be_handed_over is may


def test_takes_are_counted() -> None:
    assert judge(text([one(Event.CLAIM), one(Event.TAKE)])).takes_count == 1
    assert judge(text([one(Event.CLAIM), one(Event.TAKE), one(Event.TAKE, 2)])).takes_count == 2


def walked(*events: Event) -> str:
    steps: list[Step] = []
    for event in events:
        steps.append(step_after(steps[-1] if steps else None, event))
    return text(steps)


def test_what_somebody_asked_for_again_may_be_taken_again() -> None:
    claimed = (Event.CLAIM, Event.TAKE)
    again = judge(walked(*claimed, Event.REFUSE, Event.DEFER, *claimed))
    assert (again.takes_count, again.resends_count) == (1, 1)
    assert again.fault is None
    lost = judge(walked(Event.CLAIM, Event.LOSE_ANSWER, Event.DEFER, *claimed))
    assert (lost.takes_count, lost.resends_count) == (1, 1)


def test_what_is_tried_again_by_itself_is_no_resend() -> None:
    verdict = judge(walked(Event.CLAIM, Event.DEFER, Event.CLAIM, Event.NOT_SENT, Event.CLAIM))
    assert verdict.resends_count == 0
    twice = [
        step_of(attempt=1, try_no=1, event=Event.TAKE),
        step_of(attempt=2, try_no=1, event=Event.TAKE),
    ]
    assert judge(text(twice)).takes_count == 2


def test_only_a_take_that_answers_a_claim_was_said_by_its_provider() -> None:
    assert judge(walked(Event.CLAIM, Event.TAKE)).answered_at == step_of(
        attempt=1, try_no=1, event=Event.CLAIM
    )
    resolved = judge(walked(Event.CLAIM, Event.LOSE_ANSWER, Event.TAKE))
    assert resolved.answered_at is None
    assert resolved.takes_count == 1
