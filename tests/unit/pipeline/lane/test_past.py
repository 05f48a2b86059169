"""What lies behind a message that waits: attempts that no connector saw do not count against it.

`tests/support/lane_story.py` says what the words mean.  F is 4, H 180 s.
"""

from collections import Counter

import pytest

from pipeline.instant import Instant
from pipeline.lane import actions as act
from pipeline.lane.past import Past, past_of, told_deferral, told_refusal
from pipeline.lifecycle import Event, step_of
from pipeline.limits import FALLBACK_ATTEMPTS, RETRY_ATTEMPTS_MAX
from pipeline.ports import TimelineEvent
from tests.support.commanded import Commanded, commanded
from tests.support.gates import gate_of
from tests.support.lane_story import id_of

OFTEN = RETRY_ATTEMPTS_MAX + 3


def put_off_often(story: Commanded, kind: str = "expedite") -> Commanded:
    """Let somebody put a message off that no connector has seen, and then claim it."""
    story.known_folds = {}
    for _ in range(OFTEN):
        story.ask(kind, "a").written().tell("SAYS:a=DEFER applied")
    story.answer_read([story.row("a", attempt=OFTEN + 1)])
    return story.tell("+0 bodies:a CLAIM:a applied HAND:a")


def test_what_was_put_off_by_hand_has_all_of_its_attempts() -> None:
    story = put_off_often(commanded())
    story.tell("deferred kept SAYS:a=DEFER applied")


def test_what_was_put_off_by_hand_has_not_been_tried_by_its_connector() -> None:
    story = put_off_often(commanded(gate=gate_of(fallback=["second"])))
    for _ in range(FALLBACK_ATTEMPTS - 1):
        assert story.asked_for(act.HandOverWindow).connector == "file"
        story.tell("settle deferred kept SAYS:a=DEFER applied +60000 CLAIM:a applied HAND:a")
    story.tell("settle deferred kept SAYS:a=DEFER applied +0 CLAIM:a applied HAND:a")
    assert story.asked_for(act.HandOverWindow).connector == "second"


def test_a_successor_knows_what_no_connector_saw() -> None:
    story = commanded()
    story.known_folds[id_of("a")] = step_of(attempt=OFTEN, try_no=1, event=Event.DEFER)
    story.known_pasts[id_of("a")] = Past(unseen=OFTEN)
    story.answer_read([story.row("a", attempt=OFTEN + 1)])
    story.tell(f"+0 folds:a=DEFER/{OFTEN} bodies:a CLAIM:a applied HAND:a")
    story.tell("deferred kept SAYS:a=DEFER")


def test_what_is_sent_again_by_hand_is_tried_anew() -> None:
    story = commanded()
    story.known_folds[id_of("a")] = step_of(
        attempt=RETRY_ATTEMPTS_MAX, try_no=1, event=Event.REFUSE
    )
    story.ask("resend", "a").written().tell("SAYS:a=DEFER applied")
    story.answer_read([story.row("a", attempt=RETRY_ATTEMPTS_MAX + 1)])
    story.tell("+0 bodies:a CLAIM:a applied HAND:a deferred kept SAYS:a=DEFER")


def test_what_a_connector_saw_so_often_is_given_up() -> None:
    story = commanded()
    story.answer_read([story.row("a", attempt=OFTEN + 1)])
    story.tell(f"+0 folds:a=DEFER/{OFTEN} bodies:a CLAIM:a applied HAND:a")
    story.tell("deferred SAYS:a=REFUSE")


C, D = Event.CLAIM, Event.DEFER
A_REFUSED, B_REFUSED = told_refusal("a", "550 no"), told_refusal("b", "")
STOPPED = "its group is stopped"


@pytest.mark.parametrize(
    ("told", "past"),
    [
        ([(1, C, "a"), (1, D, A_REFUSED)], Past(("a",))),
        ([(1, C, "a"), (1, D, A_REFUSED), (2, C, "b"), (2, Event.NOT_SENT, "b")], Past(("a",))),
        ([(1, C, "a"), (1, D, A_REFUSED), (2, C, "b"), (2, D, B_REFUSED)], Past(("a", "b"))),
        ([(1, C, "a"), (1, D, told_deferral("refused by a: it is a joke"))], None),
        ([(1, C, "a"), (1, D, A_REFUSED), (2, C, "b"), (2, Event.REFUSE, "")], Past((), 1)),
        ([(1, C, "a"), (1, D, "busy")], None),
        ([(1, D, STOPPED)], Past((), 1)),
        ([(1, C, "a"), (1, D, "busy"), (2, D, STOPPED), (3, D, STOPPED)], Past((), 2)),
        ([(1, C, "a"), (1, D, A_REFUSED), (2, D, STOPPED)], Past(("a",), 1)),
        ([(1, C, "a"), (1, Event.NOT_SENT, "a"), (1, D, STOPPED)], Past((), 1)),
    ],
)
def test_the_past_is_found_in_the_timeline(
    told: list[tuple[int, Event, str]], past: Past | None
) -> None:
    tries: Counter[int] = Counter()
    events = []
    for attempt, event, detail in told:
        # A claim is a try of its own, and so is what the lane itself decides of one that waits.
        tries[attempt] += event is C or detail == STOPPED
        step = step_of(attempt=attempt, try_no=tries[attempt], event=event)
        events.append(TimelineEvent(Instant(0), step, detail))
    assert past_of(events) == past


def test_what_was_before_an_end_counts_no_more() -> None:
    events = [
        TimelineEvent(Instant(0), step_of(attempt=32, try_no=n, event=event), detail)
        for n, event, detail in [
            (1, Event.CLAIM, "a"),
            (1, Event.REFUSE, "given up after 32 attempts: busy"),
            (2, Event.DEFER, "resent by ann: the provider was down"),
        ]
    ]
    assert past_of(events) == Past(unseen=32)
