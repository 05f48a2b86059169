"""What a lane answers to a command, by the message's largest step alone (design 5.5)."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from pipeline.command import CommandBody, CommandKind, Verdict
from pipeline.instant import Instant
from pipeline.lifecycle import (
    ATTEMPTS_MAX,
    EVENT_MASK,
    TRANSITIONS,
    Event,
    MessageState,
    Step,
    attempt_of,
    state_of,
    step_after,
)
from pipeline.message import AT_ONCE


class Ruled(NamedTuple):
    """The answer, and the event that carries it out; None: nothing happens to the message."""

    verdict: Verdict
    detail: str
    event: Event | None = None
    due_at: Instant = AT_ONCE  # with DEFER


_S = MessageState
_WAITS: Final = frozenset({_S.ACCEPTED, _S.WAITING})
# A provider has it, or may have it.
_GONE: Final = frozenset({_S.CLAIMED, _S.UNCERTAIN, _S.SENT, _S.DELIVERED})

_TO_WAITING: Final = frozenset(
    {
        CommandKind.CANCEL,
        CommandKind.EDIT,
        CommandKind.EXPEDITE,
        CommandKind.PAUSE,
        CommandKind.RESUME,
    }
)
_RESOLUTIONS: Final = frozenset({Event.TAKE, Event.DELIVER, Event.REFUSE})
_PAST: Final[Mapping[CommandKind, str]] = {
    CommandKind.CANCEL: "cancelled",
    CommandKind.EDIT: "edited",
    CommandKind.EXPEDITE: "expedited",
    CommandKind.PAUSE: "paused",
    CommandKind.RESUME: "resumed",
    CommandKind.RESOLVE: "resolved",
    CommandKind.RESEND: "resent",
    CommandKind.RECEIPT: "receipt",
    CommandKind.TESTIMONY: "testimony",
}


def told(kind: CommandKind, by: str, why: str) -> str:
    """Return what a timeline says of a command that was carried out."""
    head = f"{_PAST[kind]} by {by}" if by else _PAST[kind]
    return f"{head}: {why}" if why else head


def rule(kind: CommandKind, body: CommandBody, step: Step | None) -> Ruled | None:
    """Return what becomes of a command to a message with this largest step.

    None: not before the outcome of the claim that is under way is journaled.
    """
    state = state_of(step)
    if kind in _TO_WAITING:
        return _of_waiting(kind, body, step, state)
    match kind:
        case CommandKind.RESOLVE:
            return _resolved(body, state)
        case CommandKind.RESEND:
            if state not in (_S.UNCERTAIN, _S.FAILED):
                return _refused(state, "only what is uncertain or failed is sent again")
            return _put_off(step, AT_ONCE)
        case CommandKind.RECEIPT:
            return None if state is _S.CLAIMED else _settled(body.event, state)
        case CommandKind.TESTIMONY:
            if state is _S.CLAIMED:
                return None
            if step is None or step & ~EVENT_MASK != body.step & ~EVENT_MASK:
                return Ruled(Verdict.DONE, "it speaks of another claim")
            if state is not _S.UNCERTAIN:
                return Ruled(Verdict.DONE, f"it is {state} already")
            return _settled(body.event, state)
        case other:
            raise AssertionError(other)


def _of_waiting(
    kind: CommandKind, body: CommandBody, step: Step | None, state: MessageState
) -> Ruled:
    if kind is CommandKind.CANCEL and state is _S.CANCELLED:
        return Ruled(Verdict.DONE, "it was cancelled before")
    if state in _GONE:
        return Ruled(Verdict.TOO_LATE, f"it is {state}")
    if state not in _WAITS:
        return _refused(state, "nothing more happens to it")
    if kind is CommandKind.CANCEL:
        return Ruled(Verdict.DONE, "", Event.CANCEL)
    return _put_off(step, Instant(body.due_at or AT_ONCE))


def _put_off(step: Step | None, due_at: Instant) -> Ruled:
    if attempt_of(step_after(step, Event.DEFER)) >= ATTEMPTS_MAX:
        return Ruled(Verdict.REFUSED, "it was put off too often")
    return Ruled(Verdict.DONE, "", Event.DEFER, due_at)


def _resolved(body: CommandBody, state: MessageState) -> Ruled:
    if body.event not in _RESOLUTIONS:
        return Ruled(Verdict.REFUSED, "say sent, delivered or failed")
    if state is not _S.UNCERTAIN:
        return _refused(state, "only what is uncertain can be resolved")
    return Ruled(Verdict.DONE, "", Event(body.event))


def _settled(event: int, state: MessageState) -> Ruled:
    """Take a provider's word; one that comes late, or twice, changes nothing."""
    if event not in _RESOLUTIONS:
        return Ruled(Verdict.REFUSED, f"no receipt says {event}")
    if state in _WAITS or Event(event) not in TRANSITIONS[state]:
        return Ruled(Verdict.DONE, f"it is {state} already")
    return Ruled(Verdict.DONE, "", Event(event))


def _refused(state: MessageState, why: str) -> Ruled:
    return Ruled(Verdict.REFUSED, f"it is {state}: {why}")
