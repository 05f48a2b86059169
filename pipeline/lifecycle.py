"""The life of a message: the one table of what may follow what.

A message's state is a fold of its timeline: the state after its largest step.  A step is one
number made of (attempt, try, event), growing in the order of the protocol, so that writing an
event twice is harmless and two writers cannot disagree about the order.  The events are numbered
so that this holds inside one try, too: what settles an uncertain message is larger than UNCERTAIN.

`docs/lifecycle.md` is drawn from `TRANSITIONS` by `tools/draw_lifecycle.py`.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, NewType

from pipeline.errors import ShardpostError

Step = NewType("Step", int)


class MessageState(StrEnum):
    """Where a message stands."""

    ACCEPTED = "accepted"  # durable in the buffer, not yet named by its lane
    CLAIMED = "claimed"  # the decision to hand it over is journaled; its outcome is not
    WAITING = "waiting"  # certainly not with a provider; waits for its next claim
    UNCERTAIN = "uncertain"  # perhaps handed over; settled by a receipt, a query or an audited act
    SENT = "sent"  # the provider took it
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"


class Event(IntEnum):
    """What can happen to a message; the number is part of the step and never changes."""

    CLAIM = 1
    NOT_SENT = 2
    DEFER = 3
    LOSE_ANSWER = 4
    TAKE = 5
    REFUSE = 6
    DELIVER = 7
    EXPIRE = 8
    CANCEL = 9
    SUPPRESS = 10


class IllegalTransition(ShardpostError):
    """The caller is wrong about the message's state; it must read again."""

    def __init__(self, state: MessageState, event: Event) -> None:
        super().__init__(f"{event.name} cannot follow {state}")
        self.state = state
        self.event = event


_S, _E = MessageState, Event

_UNCLAIMED: Final = {
    _E.CLAIM: _S.CLAIMED,
    _E.DEFER: _S.WAITING,
    # Its claim is lost: the data was restored from a backup that is older.
    _E.LOSE_ANSWER: _S.UNCERTAIN,
    # It ends the process that touches it; no provider refuses what nobody handed over.
    _E.REFUSE: _S.FAILED,
    _E.EXPIRE: _S.EXPIRED,
    _E.CANCEL: _S.CANCELLED,
    _E.SUPPRESS: _S.SUPPRESSED,
}

TRANSITIONS: Final[Mapping[MessageState, Mapping[Event, MessageState]]] = MappingProxyType(
    {
        _S.ACCEPTED: _UNCLAIMED,
        _S.CLAIMED: {
            # The claim is over and nothing left this process: irrevocable once journaled.
            _E.NOT_SENT: _S.WAITING,
            # The provider said "later", before it took anything.
            _E.DEFER: _S.WAITING,
            _E.TAKE: _S.SENT,
            _E.REFUSE: _S.FAILED,
            # Never back to WAITING by itself: a blind resend could deliver twice.
            _E.LOSE_ANSWER: _S.UNCERTAIN,
        },
        _S.WAITING: _UNCLAIMED,
        _S.UNCERTAIN: {
            # A receipt, a query or a testimony is proof of what became of it.
            _E.TAKE: _S.SENT,
            _E.REFUSE: _S.FAILED,
            _E.DELIVER: _S.DELIVERED,
            _E.DEFER: _S.WAITING,
        },
        _S.SENT: {
            _E.DELIVER: _S.DELIVERED,
            _E.REFUSE: _S.FAILED,
        },
        _S.DELIVERED: {},
        _S.FAILED: {
            _E.DEFER: _S.WAITING,
        },
        _S.EXPIRED: {},
        _S.CANCELLED: {},
        _S.SUPPRESSED: {},
    }
)

assert set(TRANSITIONS) == set(MessageState)

# From these states a message waits again only because somebody asked for it by name, and knew that
# it may be the second one.
ONLY_WHEN_ASKED: Final = frozenset({(_S.UNCERTAIN, _E.DEFER), (_S.FAILED, _E.DEFER)})

# Each event leads to one state, from wherever it may happen; that is what makes a fold possible.
STATE_AFTER: Final[Mapping[Event, MessageState]] = MappingProxyType(
    {event: state for edges in TRANSITIONS.values() for event, state in edges.items()}
)
assert all(
    STATE_AFTER[event] is state for edges in TRANSITIONS.values() for event, state in edges.items()
)
assert set(STATE_AFTER) == set(Event)

# States from which the lane itself does nothing more.
RESOLVED_STATES: Final = frozenset(
    {
        MessageState.SENT,
        MessageState.DELIVERED,
        MessageState.FAILED,
        MessageState.EXPIRED,
        MessageState.CANCELLED,
        MessageState.SUPPRESSED,
        MessageState.UNCERTAIN,
    }
)

# The events that a person asks for; of all others there are too many to list.
OPEN_QUESTIONS: Final = (Event.LOSE_ANSWER, Event.REFUSE, Event.EXPIRE)

# A step fits in 32 bits.  16 bits of tries outlast the longest validity at the slowest pace.
_TRY_BITS: Final = 16
_EVENT_BITS: Final = 8
EVENT_MASK: Final = (1 << _EVENT_BITS) - 1
TRIES_MAX: Final = (1 << _TRY_BITS) - 1
ATTEMPTS_MAX: Final = (1 << (32 - _TRY_BITS - _EVENT_BITS)) - 1

# From this number on, an event resolves the message as far as its lane is concerned.
RESOLVED_FROM: Final = Event.LOSE_ANSWER
assert all((STATE_AFTER[event] in RESOLVED_STATES) == (event >= RESOLVED_FROM) for event in Event)


def next_state(state: MessageState, event: Event) -> MessageState:
    """Return the state that follows, or raise `IllegalTransition`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def step_of(*, attempt: int, try_no: int, event: Event) -> Step:
    """Return the step of an event; attempts and tries start at 1."""
    assert 1 <= attempt <= ATTEMPTS_MAX, attempt
    assert 1 <= try_no <= TRIES_MAX, try_no
    return Step(attempt << (_TRY_BITS + _EVENT_BITS) | try_no << _EVENT_BITS | event)


def event_of(step: Step) -> Event:
    """Return the event of a step."""
    return Event(step & EVENT_MASK)


def attempt_of(step: Step) -> int:
    """Return the attempt of a step, from 1."""
    return step >> (_TRY_BITS + _EVENT_BITS)


def try_of(step: Step) -> int:
    """Return the try of a step, from 1."""
    return step >> _EVENT_BITS & TRIES_MAX


def state_of(step: Step | None) -> MessageState:
    """Return the state of a message whose largest step this is; without one it is accepted."""
    return MessageState.ACCEPTED if step is None else STATE_AFTER[event_of(step)]


def attempt_awaited(step: Step | None) -> int | None:
    """Return the attempt that a message with this largest step waits for, None if none.

    A row or timer of attempt n is claimed only if this is n (docs/protocol.md, 5.5).
    """
    if step is None:
        return 1
    match event_of(step):
        case Event.NOT_SENT:
            return attempt_of(step)
        case Event.DEFER:
            return attempt_of(step) + 1
        case _:
            return None


def next_claim(step: Step | None) -> Step:
    """Return the claim that may follow; the message must wait for one (`attempt_awaited`)."""
    if step is None:
        return step_of(attempt=1, try_no=1, event=Event.CLAIM)
    match event_of(step):
        case Event.NOT_SENT:
            return step_of(attempt=attempt_of(step), try_no=try_of(step) + 1, event=Event.CLAIM)
        case Event.DEFER:
            return step_of(attempt=attempt_of(step) + 1, try_no=1, event=Event.CLAIM)
        case event:
            raise IllegalTransition(STATE_AFTER[event], Event.CLAIM)


def step_after(step: Step | None, event: Event) -> Step:
    """Return the step of an event that follows; raise `IllegalTransition` if it may not."""
    state = state_of(step)
    next_state(state, event)
    if step is None or state is MessageState.WAITING:
        return Step(next_claim(step) - Event.CLAIM + event)
    # What was asked for by name is a try of its own: it follows what settled the one before.
    try_no = try_of(step) + ((state, event) in ONLY_WHEN_ASKED)
    return step_of(attempt=attempt_of(step), try_no=try_no, event=event)
