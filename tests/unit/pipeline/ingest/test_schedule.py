"""When a message is to be sent: what is asked for, what is refused, what is decided."""

from datetime import datetime
from typing import Any

import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.schedule import SendTimes, Timing, check_timing, parse_timing
from pipeline.ingest.submission import validate_body
from pipeline.instant import DurationMs, Instant, earlier, later
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import AT_ONCE, Submission, decode_body, encode_body
from tests.support.fake_clock import NOW

VALIDITY = DurationMs(3_600_000)
TIMES = SendTimes(validity_ms_max=VALIDITY)
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def at(text: str) -> Instant:
    return Instant(int(datetime.fromisoformat(text).timestamp() * 1_000_000))


def parsed(**said: str) -> Timing:
    texts = {"due": "", "expires": "", "window": "", "time_zone": "", **said}
    return parse_timing(validity_ms_max=VALIDITY, **texts)


def asked(**fields: Any) -> Submission:
    plain = {"tenant": "acme", "channel": "sms", "recipient": "+447700900000", "content": "x"}
    return Submission(**{**plain, **fields})


# --- as it is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, Timing()),
        ({"due": "2030-01-31T18:00:00+01:00"}, Timing(due_at=at("2030-01-31T17:00:00Z"))),
        ({"due": "2030-01-31 18:00", "time_zone": "Europe/Paris"},
         Timing(due_at=at("2030-01-31T17:00:00Z"))),
        # Skipped in the night to 31 March 2030, shown twice in that to 27 October.
        ({"due": "2030-03-31 02:30", "time_zone": "Europe/Paris"},
         Timing(due_at=at("2030-03-31T01:30:00Z"))),
        ({"due": "2030-10-27 02:30", "time_zone": "Europe/Paris"},
         Timing(due_at=at("2030-10-27T00:30:00Z"))),
        ({"due": "in 2h"}, Timing(delay_ms=DurationMs(2 * HOUR_MS))),
        ({"due": " In 90 s "}, Timing(delay_ms=DurationMs(90_000))),
        ({"expires": "2030-01-31T18:00:00Z"}, Timing(expires_at=at("2030-01-31T18:00:00Z"))),
        ({"expires": "30m"}, Timing(validity_ms=DurationMs(30 * MINUTE_MS))),
        ({"window": "Mon-Fri 9:00-18:00", "time_zone": "Europe/Paris"},
         Timing(window="mon-fri 09:00-18:00", time_zone="Europe/Paris")),
    ],
)  # fmt: skip
def test_texts_ask_for_a_time(said: dict[str, str], expected: Timing) -> None:
    assert parsed(**said) == expected


@pytest.mark.parametrize(
    ("said", "field", "reason"),
    [
        ({"due": "soon"}, "due_at", "not a date and time"),
        ({"due": "2h"}, "due_at", "in 2h"),
        ({"due": "2030-01-31T18:00:00"}, "due_at", "no time zone is named"),
        ({"due": "1969-12-31T18:00:00Z"}, "due_at", "before 1970"),
        ({"expires": "2h30m"}, "expires_at", "not a date and time"),
        ({"expires": "2h"}, "expires_at", "at most 3600s"),
        ({"window": "noon"}, "window", "no rule"),
        ({"window": "daily 09:00-18:00", "time_zone": "Paris"}, "time_zone", "no time zone"),
    ],
)
def test_what_is_no_time_is_refused(said: dict[str, str], field: str, reason: str) -> None:
    with pytest.raises(SubmissionInvalid) as caught:
        parsed(**said)
    assert caught.value.field == field
    assert reason in caught.value.reason


# --- what cannot be kept --------------------------------------------------------------------------

FARTHEST = later(NOW, SCHEDULE_MS_MAX)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"due_at": FARTHEST}, None),
        ({"due_at": FARTHEST + 1}, "due_at"),
        ({"delay_ms": SCHEDULE_MS_MAX}, None),
        ({"delay_ms": SCHEDULE_MS_MAX + 1}, "due_at"),
        ({"delay_ms": -1}, "due_at"),
        ({"due_at": -1}, "due_at"),
        ({"due_at": 2**63}, "due_at"),
        ({"due_at": NOW, "delay_ms": 1}, "due_at"),
        ({"due_at": earlier(NOW, DAY_MS)}, None),
        ({"due_at": NOW, "expires_at": NOW + 1}, None),
        ({"due_at": NOW, "expires_at": NOW}, "expires_at"),
        ({"validity_ms": 0}, "expires_at"),
        ({"validity_ms": 1, "expires_at": NOW}, "expires_at"),
        ({"window": "daily 9:00-18:00"}, "window"),
        ({"window": "x"}, "window"),
        ({"window": "daily 09:00-18:00", "time_zone": "Paris"}, "time_zone"),
        # The recipient's morning is an hour before noon in UTC: the window opened already.
        ({"due_at": at("2023-11-20T08:30:00Z"), "expires_at": at("2023-11-20T09:00:00Z"),
          "window": "daily 09:00-18:00", "time_zone": "Europe/Paris"}, None),
        ({"due_at": at("2023-11-20T08:30:00Z"), "expires_at": at("2023-11-20T09:00:00Z"),
          "window": "daily 09:00-18:00"}, "expires_at"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_at_the_door(
    said: dict[str, Any], field: str | None
) -> None:
    body = encode_body(asked(**said))
    if field is None:
        assert validate_body(body, now=NOW) == asked(**said)
        return
    with pytest.raises(SubmissionInvalid) as caught:
        validate_body(body, now=NOW)
    assert caught.value.field == field


def test_what_was_accepted_is_not_refused_when_it_is_asked_for_later() -> None:
    timing = Timing(due_at=FARTHEST, expires_at=Instant(FARTHEST + 1))
    for now in (NOW, FARTHEST, later(FARTHEST, SCHEDULE_MS_MAX)):
        check_timing(timing, recipient="", now=now)


def test_what_lies_behind_the_end_of_calendars_is_refused_whatever_the_time() -> None:
    timing = parse_timing(
        due="9999-12-31T23:00Z",
        expires="9999-12-31T23:30Z",
        window="daily 01:00-02:00",
        time_zone="Asia/Tokyo",
        validity_ms_max=DurationMs(DAY_MS),
    )
    with pytest.raises(SubmissionInvalid, match="days ahead"):
        check_timing(timing, recipient="", now=None)


def test_what_says_nothing_of_time_keeps_the_bytes_it_always_had() -> None:
    assert encode_body(asked())[0] == 0x98  # eight fields
    assert decode_body(encode_body(asked(window="daily 09:00-18:00"))).window


# --- as it is decided -----------------------------------------------------------------------------

# NOW is 22:13:20 on a Tuesday in UTC.
NINE, NINE_TOMORROW = at("2023-11-15T09:00:00Z"), at("2023-11-16T09:00:00Z")


@pytest.mark.parametrize(
    ("said", "due_at", "expires_at"),
    [
        ({"due_at": later(NOW, 5)}, later(NOW, 5), later(NOW, 5 + VALIDITY)),
        ({"due_at": earlier(NOW, 5)}, NOW, later(NOW, VALIDITY)),
        ({"delay_ms": 5}, later(NOW, 5), later(NOW, 5 + VALIDITY)),
        ({"due_at": later(NOW, 5), "validity_ms": 7}, later(NOW, 5), later(NOW, 12)),
        ({"due_at": later(NOW, 5), "expires_at": later(NOW, 6)}, later(NOW, 5), later(NOW, 6)),
        ({"due_at": later(NOW, 5), "expires_at": later(NOW, DAY_MS)},
         later(NOW, 5), later(NOW, 5 + VALIDITY)),
        ({"validity_ms": 7}, None, later(NOW, 7)),
        ({"window": "daily 09:00-18:00"}, NINE, later(NINE, VALIDITY)),
        ({"window": "daily 22:00-23:00"}, NOW, later(NOW, VALIDITY)),
        ({"window": "daily 09:00-18:00", "time_zone": "Asia/Tokyo"},
         at("2023-11-15T00:00:00Z"), at("2023-11-15T01:00:00Z")),
        # A German number tells its zone.
        ({"window": "daily 09:00-18:00", "recipient": "+4915112345678"},
         at("2023-11-15T08:00:00Z"), at("2023-11-15T09:00:00Z")),
        ({"window": "daily 09:00-18:00", "due_at": at("2023-11-15T18:00:00Z")},
         NINE_TOMORROW, later(NINE_TOMORROW, VALIDITY)),
    ],
)  # fmt: skip
def test_it_is_due_at_the_first_instant_that_is_allowed(
    said: dict[str, Any], due_at: Instant | None, expires_at: Instant
) -> None:
    resolved = TIMES.resolve(asked(**said), born=NOW)
    assert (resolved.due_at, resolved.expires_at) == (due_at, expires_at)
    assert (resolved.delay_ms, resolved.validity_ms) == (None, None)
    assert resolved.window == said.get("window", "")


@pytest.mark.parametrize(
    ("said", "now", "expected"),
    [
        ({"validity_ms": 7}, NOW, AT_ONCE),
        ({"due_at": later(NOW, 5)}, NOW, later(NOW, 5)),
        ({"due_at": later(NOW, 5)}, later(NOW, 5), AT_ONCE),
        ({"due_at": later(NOW, 5)}, later(NOW, DAY_MS), AT_ONCE),
        ({"window": "daily 09:00-18:00"}, NOW, NINE),
        ({"window": "daily 09:00-18:00"}, later(NINE, 5), AT_ONCE),
        pytest.param({"window": "daily 09:00-18:00"}, at("2023-11-15T18:00:00Z"), NINE_TOMORROW,
                     id="repeated after its hours, it waits for the next ones"),
    ],
)  # fmt: skip
def test_a_row_is_due_when_the_message_is_or_at_once(
    said: dict[str, Any], now: Instant, expected: Instant
) -> None:
    assert TIMES.row_due_at(TIMES.resolve(asked(**said), born=NOW), now=now) == expected
