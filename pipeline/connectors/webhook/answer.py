"""What became of a request: from an exchange, however it ended, to the event that a lane records.

Three questions, in this order.  *Did anything leave?*  A name that is not found, a connection or a
handshake that fails, a time that has passed: nothing left, and the message waits.  *Did an answer
come?*  If not, the provider may have the message whatever the error is called.  *Does the answer
say yes or no?*

Only an answer that cannot stand behind a message that was taken counts as a no.  What a server or a
proxy before it says when it lost its way (5xx, 408) may do so, also 503, which proxies use for a
connection that broke when the request was through; so may a redirect that tells a form where to
look after it was taken (302, 303); so may 409, with which providers say that they have, or are
working on, a message of this key.  All these are LOSE_ANSWER for every class of provider.  That
costs a provider of class K nothing: what may be with it is asked for again under the same key, as
"later" would be; `Retry-After` is passed on for that.  It keeps one that knows no keys from being
sent a second copy, and any from being called done when another connector could still be asked.

A redirect that names another place for the same request (301, 307, 308) is a no, and never
followed: its target would have to be trusted.  401, 402 and 407 say something about our account and
nothing about the message, which so waits for the operator.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple, assert_never

import msgspec

from pipeline.instant import DurationMs, Instant, elapsed_ms
from pipeline.lifecycle import Event
from pipeline.limits import REFERENCE_CHARS_MAX
from pipeline.route.suppression import SuppressionReason

RETRY_AFTER_MS_MAX: Final = 24 * 3600 * 1000

_US_PER_S: Final = 1_000_000
_REASON_CHARS_MAX: Final = 120
_REFERENCE_NAMES: Final = ("reference", "message_id", "id")
_REASON_NAMES: Final = ("message", "detail", "reason", "title")
_seconds: Final = re.compile(r"[0-9]{1,18}").fullmatch
_decode_any: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer's head came, and as much of its body as was read."""

    status: int
    retry_after: str = ""  # the header
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class NotConnected:
    """There was no connection that the request could have left by."""

    reason: str


@dataclass(frozen=True, slots=True)
class AddressForbidden:
    """The host is, or has, an address that must not be reached, or the port is none to use."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The request cannot be written as HTTP; no repeat can change that."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLate:
    """The time came before which the request should have left; it did not leave."""


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """Some of the request may have left, and no answer came."""

    reason: str


Exchange = Answered | NotConnected | AddressForbidden | Unsendable | TooLate | AnswerLost


class Verdict(NamedTuple):
    """What is recorded of one message."""

    event: Event
    detail: str = ""
    reference: str = ""
    retry_after_ms: DurationMs = DurationMs(0)
    unwanted: str = ""  # why its recipient is to get nothing more; "": nobody said so


_LATER: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PAYMENT_REQUIRED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_MAY_BE_TAKEN: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})
_ELSEWHERE: Final = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)


def judge(exchange: Exchange, *, now: Instant, is_own_url: bool) -> Verdict:
    """Return what an exchange says about its message.

    `is_own_url`: the operator set the URL, so that what is wrong with it is no fault of the
    message; else it is the recipient.
    """
    match exchange:
        case Answered():
            verdict = _judge_answer(exchange, now)
            if is_gone(exchange) and not is_own_url:
                # "Gone" is how a receiver of webhooks says that it wants no more of them.
                verdict = verdict._replace(unwanted=SuppressionReason.OPT_OUT.value)
            return verdict
        case NotConnected(reason=reason):
            return Verdict(Event.DEFER, reason)
        case AddressForbidden(reason=reason):
            return Verdict(Event.DEFER if is_own_url else Event.REFUSE, reason)
        case Unsendable(reason=reason):
            return Verdict(Event.REFUSE, reason)
        case TooLate():
            return Verdict(Event.NOT_SENT, "its time to leave had passed")
        case AnswerLost(reason=reason):
            return Verdict(Event.LOSE_ANSWER, reason)
        case _:
            assert_never(exchange)


def _judge_answer(answer: Answered, now: Instant) -> Verdict:
    status = answer.status
    if 200 <= status <= 299:
        return Verdict(Event.TAKE, reference=reference_of(answer.body))
    detail = _told(answer)
    if status in _LATER:
        return Verdict(Event.DEFER, detail, retry_after_ms=retry_after_ms(answer.retry_after, now))
    if status in _ELSEWHERE or (400 <= status <= 499 and status not in _MAY_BE_TAKEN):
        return Verdict(Event.REFUSE, detail)
    return Verdict(
        Event.LOSE_ANSWER, detail, retry_after_ms=retry_after_ms(answer.retry_after, now)
    )


def is_gone(exchange: Exchange) -> bool:
    """Whether the receiver says that it wants nothing more, ever."""
    return isinstance(exchange, Answered) and exchange.status == HTTPStatus.GONE


def retry_after_ms(header: str, now: Instant) -> DurationMs:
    """Return how long `Retry-After` asks to wait: seconds or a date of HTTP; 0 if it says nothing.

    At most a day: a provider's slip must not put a message off for years.
    """
    text = header.strip()
    if _seconds(text):
        asked = int(text) * 1_000
    else:
        try:
            moment = parsedate_to_datetime(text)
            # A date without a zone is a date of HTTP all the same, which are all in GMT.
            aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            asked = elapsed_ms(since=now, until=Instant(int(aware.timestamp()) * _US_PER_S))
        except (ValueError, OverflowError, TypeError):
            return DurationMs(0)
    return DurationMs(min(max(asked, 0), RETRY_AFTER_MS_MAX))


def reference_of(body: bytes) -> str:
    """Return the provider's own name for the message, empty if the answer tells none."""
    fields = _fields_of(body)
    for name in _REFERENCE_NAMES:
        told = fields.get(name)
        text = str(told) if type(told) is int else told
        if isinstance(text, str) and 0 < len(text) <= REFERENCE_CHARS_MAX and text.isprintable():
            return text
    return ""


def _told(answer: Answered) -> str:
    """Return the status and, if it is short and plain, what the provider says about it."""
    try:
        status = f"HTTP {answer.status} {HTTPStatus(answer.status).phrase}"
    except ValueError:
        status = f"HTTP {answer.status}"
    fields = _fields_of(answer.body)
    error = fields.get("error")
    inner: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    for text in (source.get(name) for source in (inner, fields) for name in _REASON_NAMES):
        if isinstance(text, str) and text.strip():
            plain = "".join(c if c.isprintable() else " " for c in text)
            return f"{status}: {' '.join(plain.split())[:_REASON_CHARS_MAX]}"
    return status


def _fields_of(body: bytes) -> Mapping[str, Any]:
    try:
        fields = _decode_any(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
