"""Until when a message is worth sending: as a point in time, or as a span from now.

A point in time means the same whenever the same input is sent again; a span does not, so it is
for doors that know when the message was first asked for.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.errors import SubmissionInvalid
from pipeline.instant import DurationMs, Instant

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MS_OF_UNIT: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_span: Final = re.compile(r"([0-9]{1,9})([smhd])").fullmatch
_EXAMPLE: Final = "write it like 2030-01-31T18:00:00Z, or 2h"


def parse_expires_at(text: str) -> Instant:
    """Return the instant of an RFC 3339 date and time with an offset.

    An instant that is over is no error: the message expires, and that can be seen.  Raises
    `SubmissionInvalid("expires_at", ...)`.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SubmissionInvalid("expires_at", f"not a date and time; {_EXAMPLE}") from None
    if moment.tzinfo is None:
        raise SubmissionInvalid("expires_at", f"has no offset from UTC; {_EXAMPLE}")
    instant = (moment - _EPOCH) // _MICROSECOND
    if instant < 0:
        raise SubmissionInvalid("expires_at", f"lies before 1970; {_EXAMPLE}")
    return Instant(instant)


def is_span(text: str) -> bool:
    """Return whether a text is a span, and so for `parse_validity`."""
    return _span(text.strip()) is not None


def parse_validity(text: str, *, validity_ms_max: DurationMs) -> DurationMs:
    """Return the span of a text like `90s`, `15m`, `2h` or `3d`.

    Raises `SubmissionInvalid("validity", ...)`, also for nothing and for more than the longest.
    """
    match = _span(text.strip())
    if match is None:
        raise SubmissionInvalid("validity", "write a number and s, m, h or d, like 2h")
    span_ms = int(match[1]) * _MS_OF_UNIT[match[2]]
    if not 0 < span_ms <= validity_ms_max:
        longest = f"{validity_ms_max // _MS_OF_UNIT['s']}s"
        raise SubmissionInvalid("validity", f"must be more than 0 and at most {longest}")
    return DurationMs(span_ms)
