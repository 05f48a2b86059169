"""When a message is to be sent: as it is asked for, and as it is decided at acceptance.

Asked for are an instant or a delay, hours in which it may be sent, and an end.  What depends on
when the message was asked for is resolved from its born, so that a call that is repeated gives the
same body: it becomes due at the first instant of its hours that is not before it was wanted.  Hours
are looked at here and nowhere later: a message that comes late, or is tried again, goes out when it
can.

An instant that is over means at once.  A message that is due later always gets an end, the longest
validity after it is due, as the validity of others is counted from their born.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.expiry import is_span, parse_expires_at, parse_validity
from pipeline.ingest.send_window import OpenHours, parse_send_window
from pipeline.ingest.time_zone import zone_name_of, zone_named
from pipeline.instant import DurationMs, Instant, later
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import AT_ONCE, Submission

DEFAULT_ZONE: Final = "UTC"  # of a recipient whose zone nobody said and no number tells
HORIZON_DAYS: Final = SCHEDULE_MS_MAX // (24 * 3600 * 1000)

_TIMINGS_REMEMBERED: Final = 4_096
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# Calendars end with the year 9999; hours are looked for some weeks ahead.
_INSTANT_MAX: Final = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_delay: Final = re.compile(r"in\s+([0-9]{1,9})\s*([smhd])", re.IGNORECASE).fullmatch
_EXAMPLE: Final = "write it like 2030-01-31T18:00:00Z, or in 2h"


class Timing(NamedTuple):
    """What is asked for, checked and in canonical form; see `Submission`."""

    expires_at: Instant | None = None
    due_at: Instant | None = None
    window: str = ""
    time_zone: str = ""
    delay_ms: DurationMs | None = None
    validity_ms: DurationMs | None = None


NO_TIMING: Final = Timing()


@lru_cache(maxsize=_TIMINGS_REMEMBERED)
def parse_timing(
    *, due: str, expires: str, window: str, time_zone: str, validity_ms_max: DurationMs
) -> Timing:
    """Return what texts ask for; an empty one asks for nothing.

    Raises `SubmissionInvalid` for `due_at`, `expires_at`, `window` or `time_zone`.
    """
    zone = time_zone.strip()
    if zone:
        zone_named(zone)
    due_at, delay_ms = _parse_due(due.strip(), zone)
    expires_at = validity_ms = None
    if is_span(expires):
        try:
            validity_ms = parse_validity(expires, validity_ms_max=validity_ms_max)
        except SubmissionInvalid as invalid:
            raise SubmissionInvalid("expires_at", invalid.reason) from None
    elif expires.strip():
        expires_at = parse_expires_at(expires)
    hours = parse_send_window(window).text if window.strip() else ""
    # A zone alone says nothing about when.
    is_zone_used = bool(hours)
    return Timing(expires_at, due_at, hours, zone if is_zone_used else "", delay_ms, validity_ms)


def _parse_due(text: str, zone: str) -> tuple[Instant | None, DurationMs | None]:
    if not text:
        return None, None
    if match := _delay(text):
        unit_ms = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[match[2].lower()]
        return None, DurationMs(int(match[1]) * unit_ms)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SubmissionInvalid("due_at", f"not a date and time; {_EXAMPLE}") from None
    if moment.tzinfo is None:
        if not zone:
            raise SubmissionInvalid(
                "due_at", f"has no offset from UTC, and no time zone is named; {_EXAMPLE}"
            )
        # Of a time that the clock shows twice the first; one that it skips is as much later.
        moment = moment.replace(tzinfo=zone_named(zone))
    instant = (moment - _EPOCH) // _MICROSECOND
    if instant < 0:
        raise SubmissionInvalid("due_at", f"lies before 1970; {_EXAMPLE}")
    return Instant(instant), None


def check_timing(asked: Timing, *, recipient: str | None, now: Instant | None) -> None:
    """Refuse what cannot be kept, whenever it is asked for again: `now` can only allow more.

    Without `now` it is not asked how far ahead the instant lies, and without the recipient nothing
    that depends on where that is.
    """
    if asked.due_at is not None:
        if asked.due_at < 0:
            raise SubmissionInvalid("due_at", "is not an instant after 1970")
        if asked.due_at > _INSTANT_MAX:
            raise _too_far_ahead()
        if asked.delay_ms is not None:
            raise SubmissionInvalid("due_at", "an instant and a delay; name one of them")
        if now is not None and asked.due_at > later(now, SCHEDULE_MS_MAX):
            raise _too_far_ahead()
    if asked.delay_ms is not None and not 0 <= asked.delay_ms <= SCHEDULE_MS_MAX:
        raise _too_far_ahead()
    if asked.validity_ms is not None and (asked.validity_ms <= 0 or asked.expires_at is not None):
        raise SubmissionInvalid("expires_at", "one instant, or one span that is more than 0")
    if asked.due_at is None or asked.expires_at is None:
        return
    if asked.expires_at <= asked.due_at:
        raise SubmissionInvalid("expires_at", "is not after the message is due")
    if asked.window and (asked.time_zone or recipient is not None):
        zone = zone_named(
            zone_name_of(recipient or "", explicit=asked.time_zone or None, default=DEFAULT_ZONE)
        )
        opens_at = parse_send_window(asked.window).next_open(asked.due_at, zone)
        if asked.expires_at <= opens_at:
            raise SubmissionInvalid("expires_at", "is over before the send window opens")


def _too_far_ahead() -> SubmissionInvalid:
    return SubmissionInvalid("due_at", f"lies more than {HORIZON_DAYS} days ahead")


def validate_timing(submission: Submission, *, now: Instant | None) -> None:
    """Refuse what a door that is not trusted says of the time; raises `SubmissionInvalid`."""
    if submission.time_zone:
        zone_named(submission.time_zone)
    if submission.window and parse_send_window(submission.window).text != submission.window:
        raise SubmissionInvalid("window", "must be in its canonical form")
    check_timing(timing_of(submission), recipient=submission.recipient, now=now)


def timing_of(submission: Submission) -> Timing:
    """Return what a submission asks for."""
    due_at, expires_at = submission.due_at, submission.expires_at
    delay_ms, validity_ms = submission.delay_ms, submission.validity_ms
    return Timing(
        None if expires_at is None else Instant(expires_at),
        None if due_at is None else Instant(due_at),
        submission.window,
        submission.time_zone,
        None if delay_ms is None else DurationMs(delay_ms),
        None if validity_ms is None else DurationMs(validity_ms),
    )


class SendTimes:
    """Decides when messages are due; of a campaign most cost one look-up."""

    def __init__(self, *, validity_ms_max: DurationMs) -> None:
        self._validity_ms_max = validity_ms_max
        self._hours = OpenHours(default_zone=DEFAULT_ZONE)

    def resolve(self, asked: Submission, *, born: Instant) -> Submission:
        """Return the submission with instants instead of spans; always the same for one born."""
        wanted = later(born, asked.delay_ms or 0) if asked.due_at is None else Instant(asked.due_at)
        due_at = self._first_open(asked, max(wanted, born))
        valid_ms = self._validity_ms_max
        if asked.validity_ms is not None:
            valid_ms = min(valid_ms, DurationMs(asked.validity_ms))
        end = later(due_at, valid_ms)
        return msgspec.structs.replace(
            asked,
            due_at=due_at if asked.is_timed else None,
            expires_at=end if asked.expires_at is None else min(asked.expires_at, end),
            delay_ms=None,
            validity_ms=None,
        )

    def row_due_at(self, resolved: Submission, *, now: Instant) -> Instant:
        """Return what a row that is written now says: when the message is due, or at once.

        A call that is repeated after the hours it was accepted for waits for the next ones.
        """
        if resolved.due_at is None:
            return AT_ONCE
        due_at = self._first_open(resolved, max(Instant(resolved.due_at), now))
        return AT_ONCE if due_at <= now else due_at

    def _first_open(self, submission: Submission, at: Instant) -> Instant:
        if not submission.window:
            return at
        zone = zone_name_of(
            submission.recipient, explicit=submission.time_zone or None, default=DEFAULT_ZONE
        )
        return max(at, self._hours.opening(submission.window, zone, at).opens_at)
