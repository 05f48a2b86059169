"""Hours in which a message may be sent, by the clock on the recipient's wall.

    mon-fri 09:00-12:00, 13:00-18:00; sat 10:00-14:00; fri 22:00-02:00

A window is a set of points of a week.  It is open at an instant if the wall's clock shows one of
them, and nothing else is asked; so summer time needs no rule of its own.  An hour that the clock
skips is not there that day, an hour that it shows twice is open twice, and a clock that jumps into
the middle of the window opens it there.

The next opening is found by walking from edge to edge of the window under the offset that counts
now, a day at most at a time, and from there again where the offset changed on the way.  Asking for
the instant of a local time was not chosen: such an instant may exist twice or not at all, and a
window that opens by a jump opens at no local time that it names.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.time_zone import zone_named
from pipeline.instant import Instant
from pipeline.limits import (
    SEND_WINDOW_CHARS_MAX,
    SEND_WINDOW_SPANS_MAX,
    SEND_WINDOWS_REMEMBERED,
)

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAILY: Final = "daily"
_S: Final = 1_000_000
_MINUTE: Final = 60 * _S
_DAY: Final = 24 * 60 * _MINUTE
_WEEK: Final = 7 * _DAY
_EPOCH_IN_WEEK: Final = 3 * _DAY  # 1970-01-01 was a Thursday
# The longest time without an opening: a window in an hour that is skipped, and its next week.
_STEPS_MAX: Final = 64

_rule: Final = re.compile(r"([a-z, -]+?) *([0-9][0-9:, -]*)").fullmatch
_time: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})").fullmatch
_EXAMPLE: Final = "write it like mon-fri 09:00-18:00; sat 10:00-14:00"


class Opening(NamedTuple):
    """A stretch of time in which a window is open; `closes_at` is None if it never closes."""

    opens_at: Instant
    closes_at: Instant | None


@dataclass(frozen=True, slots=True)
class SendWindow:
    """A set of points of a week, never empty.  Made by `parse_send_window`; its text reads back."""

    text: str = field(compare=False)
    # Microseconds since Monday 00:00, where it opens and closes by turns, beginning with an
    # opening; nothing for a window that is always open.  One over the end of the week wraps.
    edges: tuple[int, ...]

    def __str__(self) -> str:
        return self.text

    def opening(self, now: Instant, zone: ZoneInfo) -> Opening:
        """Return the stretch that is open at `now`, with `opens_at` = now, else the next one."""
        if not self.edges:
            return Opening(now, None)
        opens_at = self._next(now, zone, wanted=True)
        return Opening(opens_at, self._next(opens_at, zone, wanted=False))

    def next_open(self, now: Instant, zone: ZoneInfo) -> Instant:
        """Return the first instant from `now` on at which the window is open."""
        return self._next(now, zone, wanted=True)

    def _is_open_at(self, place: int) -> bool:
        # Between an opening and a closing lies an odd number of edges to the left, unless the
        # week begins open.
        return not self.edges or bisect_right(self.edges, place) % 2 == 1 or self._wraps(place)

    def _wraps(self, place: int) -> bool:
        return self.edges[-1] > _WEEK and place < self.edges[-1] - _WEEK

    def _next(self, now: Instant, zone: ZoneInfo, *, wanted: bool) -> Instant:
        at = now
        for _ in range(_STEPS_MAX):
            offset = _offset(at, zone)
            place = _place(at, offset)
            if self._is_open_at(place) is wanted:
                return at
            # No zone changes its offset twice within a day, so that a change there and back
            # between two looks need not be feared.
            ahead = Instant(at + min(self._to_next_edge(place), _DAY))
            at = ahead if _offset(ahead, zone) == offset else _change(at, ahead, zone)
        raise AssertionError(f"{self.text} never opens in {zone.key}")

    def _to_next_edge(self, place: int) -> int:
        return min((edge - place) % _WEEK or _WEEK for edge in self.edges)


def _offset(at: Instant, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at // _S, zone).utcoffset()
    assert offset is not None
    return offset.days * _DAY + offset.seconds * _S


def _place(at: Instant, offset: int) -> int:
    return (at + offset + _EPOCH_IN_WEEK) % _WEEK


def _change(before: Instant, after: Instant, zone: ZoneInfo) -> Instant:
    """Return the first instant with another offset than `before`; offsets change at full seconds.

    `after` has another one.
    """
    old = _offset(before, zone)
    low, high = before // _S, after // _S
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(Instant(middle * _S), zone) == old:
            low = middle
        else:
            high = middle
    return Instant(high * _S)


# --- the text -----------------------------------------------------------------------------------


def _invalid(reason: str) -> SubmissionInvalid:
    return SubmissionInvalid("window", f"{reason}; {_EXAMPLE}")


@lru_cache(maxsize=SEND_WINDOWS_REMEMBERED)
def parse_send_window(text: str) -> SendWindow:
    """Return the window of a text; raises `SubmissionInvalid("window", what to change)`.

    Rules stand between semicolons: days (`mon-fri`, `sat,sun`, `daily`), then spans of time.  A
    span whose end is not after its beginning ends the next day; 24:00 is the end of a day.
    """
    if len(text) > SEND_WINDOW_CHARS_MAX:
        raise _invalid(f"has {len(text)} characters, at most {SEND_WINDOW_CHARS_MAX}")
    rules: list[str] = []
    spans: list[tuple[int, int]] = []
    for rule in text.lower().split(";"):
        match = _rule(rule.strip())
        if match is None:
            raise _invalid(f"{rule.strip()!r} is no rule of days and times")
        days_text, times_text = match[1].replace(" ", ""), match[2].replace(" ", "")
        days = sorted({day for part in days_text.split(",") for day in _days(part)})
        times = [_span(part) for part in times_text.split(",")]
        spans += [(day * _DAY + start, day * _DAY + end) for day in days for start, end in times]
        rules.append(f"{days_text} {','.join(map(_span_text, times))}")
    if len(spans) > SEND_WINDOW_SPANS_MAX:
        raise _invalid(f"opens {len(spans)} times a week, at most {SEND_WINDOW_SPANS_MAX}")
    return SendWindow("; ".join(rules), _edges(spans))


def _days(part: str) -> Iterator[int]:
    if part == _DAILY:
        yield from range(len(_DAYS))
        return
    first, dash, last = part.partition("-")
    if first not in _DAYS or (dash and last not in _DAYS):
        raise _invalid(f"{part!r} is no day; days are {', '.join(_DAYS)} and {_DAILY}")
    start = _DAYS.index(first)
    count = (_DAYS.index(last) - start) % len(_DAYS) + 1 if dash else 1
    for day in range(start, start + count):
        yield day % len(_DAYS)


def _span(part: str) -> tuple[int, int]:
    first, dash, last = part.partition("-")
    if not dash:
        raise _invalid(f"{part!r} is no span of time")
    start, end = _of_day(first), _of_day(last)
    if start in (end, _DAY):
        raise _invalid(f"{part!r} is empty; a whole day is 00:00-24:00")
    return start, end if end > start else end + _DAY


def _of_day(text: str) -> int:
    match = _time(text)
    at = (int(match[1]) * 60 + int(match[2])) * _MINUTE if match and int(match[2]) < 60 else None
    if at is None or at > _DAY:
        raise _invalid(f"{text!r} is no time of day")
    return at


def _span_text(span: tuple[int, int]) -> str:
    start, end = span
    return f"{_time_text(start)}-{_time_text(end if end <= _DAY else end - _DAY)}"


def _time_text(at: int) -> str:
    hours, minutes = divmod(at // _MINUTE, 60)
    return f"{hours:02}:{minutes:02}"


def _edges(spans: list[tuple[int, int]]) -> tuple[int, ...]:
    """Return where the union of the spans opens and closes, once around the week."""
    # Laid out over three weeks, the middle one sees what comes in and goes out at its ends.
    laid = sorted((s + w * _WEEK, e + w * _WEEK) for s, e in spans for w in range(3))
    merged: list[list[int]] = []
    for start, end in laid:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    if any(end - start >= _WEEK for start, end in merged):
        return ()
    return tuple(
        edge - _WEEK for start, end in merged if _WEEK <= start < 2 * _WEEK for edge in (start, end)
    )


class OpenHours:
    """Answers for many messages: what it found for a window and a zone is remembered.

    A campaign has one window and a few zones, so that most messages cost one look-up.
    """

    def __init__(self, *, default_zone: str) -> None:
        self._default_zone = default_zone
        # With the instant from which on each answer holds.
        self._openings: dict[tuple[str, str], tuple[Instant, Opening]] = {}

    def opening(self, window: str, zone_name: str, now: Instant) -> Opening:
        """Return when the window is open next, at once if `opens_at` <= now, and until when.

        The window was accepted, so it can be parsed.  A zone that this machine does not know
        counts as the default: the message was accepted where it is known.
        """
        key = (window, zone_name)
        known = self._openings.get(key)
        if known is not None:
            since, opening = known
            if since <= now and (opening.closes_at is None or now < opening.closes_at):
                return opening
        if len(self._openings) >= SEND_WINDOWS_REMEMBERED:
            self._openings.clear()
        opening = parse_send_window(window).opening(now, self._zone(zone_name))
        self._openings[key] = now, opening
        return opening

    def _zone(self, name: str) -> ZoneInfo:
        try:
            return zone_named(name or self._default_zone)
        except SubmissionInvalid:
            return zone_named(self._default_zone)
