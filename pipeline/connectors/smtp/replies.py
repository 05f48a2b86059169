"""What a server's reply, or its silence, says of the message: refused, deferred, taken, unknown.

A reply is the server's word (RFC 5321, 4.2): 4yz is "not taken, perhaps later", 5yz "not taken, and
never", at the end of the data as much as before it.  Before the final dot was written the server
cannot have taken anything, whatever it did or did not answer (RFC 5321, 3.8: it drops what it has).
From the dot on, only a reply tells; without one the mail may be delivered (RFC 1047), and nothing
here calls that a failure.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from pipeline.lifecycle import Event
from pipeline.limits import OUTCOME_DETAIL_CHARS_MAX
from pipeline.route.suppression import reason_of_status

_REFERENCE_CHARS_MAX: Final = 128


class Phase(StrEnum):
    """What was said to the server last."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"  # the command, or the text without its final dot
    END = "end of data"  # the final dot, or a part of it, may have been written


class Reply(NamedTuple):
    """One reply, its lines joined by newlines; a code that is none of SMTP's was not understood."""

    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of the message, and whether the connection may carry another."""

    event: Event
    detail: str
    reference: str = ""
    is_session_usable: bool = False
    unwanted: str = ""  # why its recipient is to get nothing more; "": nobody said so


# The server shuts the connection, whatever was asked.
_CLOSING: Final = 421
_GO_AHEAD: Final = 354
# Of this connection, not of this message: out of order, not implemented, log in or encrypt first.
_OF_THE_SESSION: Final = frozenset({502, 503, 530, 534, 535, 538})

_unseen: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+").sub
_enhanced: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?: |$)").match
_reference_in: Final = tuple(
    re.compile(pattern, re.IGNORECASE).search
    for pattern in (
        r"\bqueued as ([\w.-]+)",  # Postfix and many behind it
        r"\bid=([\w.-]+)",  # Exim
        r"^(?:2\.\d\.\d )?(?:ok:? )?([\w.-]{6,}) message accepted",  # Sendmail
        r"^(?:2\.\d\.\d )?ok:? +(?!queued\b|id\b|message\b)([\w.-]*\d[\w.-]*)",
    )
)


def judge_reply(phase: Phase, reply: Reply) -> Verdict | None:
    """Return what a reply says of the message, None if the next command may be given."""
    kind = reply.code // 100
    detail = told(phase, f"{reply.code} {_one_line(reply.text)}")
    if phase is Phase.END:
        return _judge_end(reply, detail)
    if kind == 2 and phase in (Phase.MAIL, Phase.RCPT):
        return None
    if reply.code == _GO_AHEAD and phase is Phase.DATA:
        return None
    if kind == 5 and reply.code not in _OF_THE_SESSION:
        unwanted = _unwanted(reply) if phase is Phase.RCPT else ""
        return Verdict(event=Event.REFUSE, detail=detail, is_session_usable=True, unwanted=unwanted)
    # 4yz, and what makes no sense here: nothing was taken, as there was no dot.
    return Verdict(
        event=Event.DEFER, detail=detail, is_session_usable=kind == 4 and reply.code != _CLOSING
    )


def _unwanted(reply: Reply) -> str:
    """Return BOUNCE if the address itself is refused for good, by its enhanced status."""
    status = _enhanced(reply.text)
    reason = None if status is None else reason_of_status(status[0])
    return "" if reason is None else reason.value


def _judge_end(reply: Reply, detail: str) -> Verdict:
    match reply.code // 100:
        case 2:
            return Verdict(
                event=Event.TAKE,
                detail=detail,
                reference=reference_of(reply.text),
                is_session_usable=True,
            )
        case 4:
            return Verdict(
                event=Event.DEFER, detail=detail, is_session_usable=reply.code != _CLOSING
            )
        case 5:
            return Verdict(event=Event.REFUSE, detail=detail, is_session_usable=True)
        case _:
            return Verdict(event=Event.LOSE_ANSWER, detail=detail)


def judge_silence(phase: Phase, what: str) -> Verdict:
    """Return what became of a message whose connection was lost, or that was not answered."""
    event = Event.LOSE_ANSWER if phase is Phase.END else Event.DEFER
    return Verdict(event=event, detail=told(phase, what))


def reference_of(text: str) -> str:
    """Return the name that the server gave the mail in its queue, "" if it names none."""
    line = _one_line(text)
    for search in _reference_in:
        if found := search(line):
            return found[1][:_REFERENCE_CHARS_MAX]
    return ""


def told(phase: Phase, what: str) -> str:
    """Return what a person may read of it."""
    return readable(f"{phase}: {what}")


def readable(text: str) -> str:
    """Return what a stranger said, without what cannot be shown, at most as long as a detail."""
    return _unseen(" ", text)[:OUTCOME_DETAIL_CHARS_MAX].rstrip()


def _one_line(text: str) -> str:
    """Join the lines of a reply; of the status codes that each of them repeats the first stays."""
    first, *others = text.split("\n")
    parts = [first]
    for line in others:
        status = _enhanced(line)
        parts.append(line[status.end() :] if status else line)
    return " ".join(part.strip() for part in parts if part.strip())
