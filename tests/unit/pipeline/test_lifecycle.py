import pytest

from pipeline.lifecycle import (
    ATTEMPTS_MAX,
    ONLY_WHEN_ASKED,
    RESOLVED_STATES,
    TRANSITIONS,
    TRIES_MAX,
    Event,
    IllegalTransition,
    MessageState,
    Step,
    attempt_awaited,
    attempt_of,
    event_of,
    next_claim,
    next_state,
    state_of,
    step_after,
    step_of,
    try_of,
)

_S, _E = MessageState, Event

# Written a second time, by hand: a table that is compared with itself holds anything.
MAY_FOLLOW = {
    _S.ACCEPTED: "CLAIM DEFER LOSE_ANSWER REFUSE EXPIRE CANCEL SUPPRESS",
    _S.WAITING: "CLAIM DEFER LOSE_ANSWER REFUSE EXPIRE CANCEL SUPPRESS",
    _S.CLAIMED: "NOT_SENT DEFER TAKE REFUSE LOSE_ANSWER",
    _S.UNCERTAIN: "TAKE REFUSE DELIVER DEFER",
    _S.SENT: "DELIVER REFUSE",
    _S.DELIVERED: "",
    _S.FAILED: "DEFER",
    _S.EXPIRED: "",
    _S.CANCELLED: "",
    _S.SUPPRESSED: "",
}
LEADS_TO = {
    _E.CLAIM: _S.CLAIMED,
    _E.NOT_SENT: _S.WAITING,
    _E.DEFER: _S.WAITING,
    _E.LOSE_ANSWER: _S.UNCERTAIN,
    _E.TAKE: _S.SENT,
    _E.REFUSE: _S.FAILED,
    _E.DELIVER: _S.DELIVERED,
    _E.EXPIRE: _S.EXPIRED,
    _E.CANCEL: _S.CANCELLED,
    _E.SUPPRESS: _S.SUPPRESSED,
}


@pytest.mark.parametrize("state", MessageState)
def test_what_may_follow_a_state_is_what_was_agreed(state: MessageState) -> None:
    assert {event.name for event in TRANSITIONS[state]} == set(MAY_FOLLOW[state].split())


@pytest.mark.parametrize("state", MessageState)
@pytest.mark.parametrize("event", Event)
def test_everything_else_is_refused(state: MessageState, event: Event) -> None:
    if event.name in MAY_FOLLOW[state].split():
        assert next_state(state, event) is LEADS_TO[event]
    else:
        with pytest.raises(IllegalTransition):
            next_state(state, event)


@pytest.mark.parametrize("state", [_S.UNCERTAIN, _S.FAILED])
def test_what_may_be_with_a_provider_is_claimed_again_only_when_asked(state: MessageState) -> None:
    reached = {state}
    while (
        more := {
            after
            for state in reached
            for event, after in TRANSITIONS[state].items()
            if (state, event) not in ONLY_WHEN_ASKED
        }
        - reached
    ):
        reached |= more
    assert _S.CLAIMED not in reached
    assert _S.WAITING not in reached


def test_the_lane_is_done_with_what_it_may_not_claim() -> None:
    assert set(MessageState) - RESOLVED_STATES == {_S.ACCEPTED, _S.CLAIMED, _S.WAITING}


def test_the_numbers_of_events_are_stored_and_so_never_change() -> None:
    assert {event.name: event.value for event in Event} == {
        "CLAIM": 1,
        "NOT_SENT": 2,
        "DEFER": 3,
        "LOSE_ANSWER": 4,
        "TAKE": 5,
        "REFUSE": 6,
        "DELIVER": 7,
        "EXPIRE": 8,
        "CANCEL": 9,
        "SUPPRESS": 10,
    }


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("attempt", [1, 2, ATTEMPTS_MAX])
@pytest.mark.parametrize("try_no", [1, 2, TRIES_MAX])
def test_a_step_tells_what_it_was_made_of(attempt: int, try_no: int, event: Event) -> None:
    step = step_of(attempt=attempt, try_no=try_no, event=event)
    assert (attempt_of(step), try_of(step), event_of(step)) == (attempt, try_no, event)
    assert state_of(step) is LEADS_TO[event]
    assert step < 2**32


def test_a_step_grows_by_attempt_then_try_then_event() -> None:
    steps = [
        step_of(attempt=attempt, try_no=try_no, event=event)
        for attempt in (1, 2, ATTEMPTS_MAX)
        for try_no in (1, 2, TRIES_MAX)
        for event in Event
    ]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("attempt", "try_no"), [(0, 1), (1, 0), (ATTEMPTS_MAX + 1, 1), (1, TRIES_MAX + 1)]
)
def test_an_attempt_or_try_out_of_range_is_a_mistake(attempt: int, try_no: int) -> None:
    with pytest.raises(AssertionError):
        step_of(attempt=attempt, try_no=try_no, event=Event.CLAIM)


def test_a_message_without_a_step_is_accepted_and_waits_for_its_first_attempt() -> None:
    assert state_of(None) is MessageState.ACCEPTED
    assert attempt_awaited(None) == 1
    assert next_claim(None) == step_of(attempt=1, try_no=1, event=Event.CLAIM)


def test_after_not_sent_the_same_attempt_is_claimed_again_as_the_next_try() -> None:
    not_sent = step_of(attempt=3, try_no=2, event=Event.NOT_SENT)
    assert attempt_awaited(not_sent) == 3
    assert next_claim(not_sent) == step_of(attempt=3, try_no=3, event=Event.CLAIM)


def test_after_a_deferral_the_next_attempt_begins_with_its_first_try() -> None:
    deferred = step_of(attempt=3, try_no=2, event=Event.DEFER)
    assert attempt_awaited(deferred) == 4
    assert next_claim(deferred) == step_of(attempt=4, try_no=1, event=Event.CLAIM)


@pytest.mark.parametrize("event", sorted(set(Event) - {Event.NOT_SENT, Event.DEFER}))
def test_after_anything_else_no_attempt_is_awaited(event: Event) -> None:
    step = step_of(attempt=1, try_no=1, event=event)
    assert attempt_awaited(step) is None
    with pytest.raises(IllegalTransition):
        next_claim(step)


def test_along_every_way_through_the_table_steps_grow_and_the_fold_is_the_state() -> None:
    ways: list[tuple[MessageState, Step | None]] = [(MessageState.ACCEPTED, None)]
    seen = set()
    while ways:
        state, largest = ways.pop()
        assert state_of(largest) is state
        if (state, largest) in seen or (largest is not None and attempt_of(largest) > 3):
            continue
        seen.add((state, largest))
        for event in TRANSITIONS[state]:
            step = step_after(largest, event)
            if try_of(step) > 3:
                continue
            assert largest is None or step > largest
            ways.append((next_state(state, event), step))
    assert len(seen) > 50


def test_what_was_asked_for_by_name_is_a_try_of_its_own() -> None:
    uncertain = step_of(attempt=2, try_no=1, event=Event.LOSE_ANSWER)
    asked = step_after(uncertain, Event.DEFER)
    assert asked == step_of(attempt=2, try_no=2, event=Event.DEFER) > uncertain
    assert step_after(asked, Event.CLAIM) == step_of(attempt=3, try_no=1, event=Event.CLAIM)


def test_what_waits_is_put_off_without_a_claim() -> None:
    assert step_after(None, Event.DEFER) == step_of(attempt=1, try_no=1, event=Event.DEFER)
    not_sent = step_of(attempt=1, try_no=4, event=Event.NOT_SENT)
    assert step_after(not_sent, Event.DEFER) == step_of(attempt=1, try_no=5, event=Event.DEFER)
    with pytest.raises(IllegalTransition):
        step_after(step_of(attempt=1, try_no=1, event=Event.TAKE), Event.DEFER)
