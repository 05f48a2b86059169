from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.send_window import OpenHours, parse_send_window
from pipeline.instant import Instant
from pipeline.limits import SEND_WINDOW_CHARS_MAX, SEND_WINDOW_SPANS_MAX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _at(text: str, zone: str = "UTC") -> Instant:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return Instant((moment - _EPOCH) // timedelta(microseconds=1))


def _shown(instant: Instant, zone: str) -> str:
    return datetime.fromtimestamp(instant / 1e6, ZoneInfo(zone)).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mon-fri 09:00-18:00; sat 10:00-14:00", "mon-fri 09:00-18:00; sat 10:00-14:00"),
        (" MON-FRI 9:00-18:00 ", "mon-fri 09:00-18:00"),
        ("mon, wed 09:00-12:00, 13:00-18:00", "mon,wed 09:00-12:00,13:00-18:00"),
        ("fri 22:00-02:00", "fri 22:00-02:00"),
        ("daily 00:00-24:00", "daily 00:00-24:00"),
        ("sat-mon 10:00-24:00", "sat-mon 10:00-24:00"),
    ],
)
def test_a_window_has_one_text_that_reads_back(text: str, canonical: str) -> None:
    window = parse_send_window(text)
    assert str(window) == canonical
    assert parse_send_window(canonical) == window


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("daily 09:00-18:00", "mon-sun 09:00-12:00,11:00-18:00"),
        ("sat-sun 00:00-24:00", "sat 00:00-24:00; sun 00:00-24:00"),
        ("sun 22:00-02:00; mon 01:00-03:00", "sun 22:00-03:00"),
        ("daily 00:00-24:00", "daily 00:00-13:00, 12:00-00:00"),
    ],
)
def test_windows_with_the_same_points_are_equal(one: str, other: str) -> None:
    assert parse_send_window(one) == parse_send_window(other)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no rule of days and times"),
        ("mon-fri", "no rule of days and times"),
        ("09:00-18:00", "no rule of days and times"),
        ("mon-fri 09:00-18:00;", "no rule of days and times"),
        ("mon-fry 09:00-18:00", "'mon-fry' is no day"),
        ("mo 09:00-18:00", "'mo' is no day"),
        ("mon- 09:00-18:00", "'mon-' is no day"),
        ("mon 09:00", "'09:00' is no span of time"),
        ("mon 9-18", "'9' is no time of day"),
        ("mon 09:60-18:00", "'09:60' is no time of day"),
        ("mon 09:00-25:00", "'25:00' is no time of day"),
        ("mon 09:00-24:01", "'24:01' is no time of day"),
        ("mon 09:00-09:00", "a whole day is 00:00-24:00"),
        ("mon 24:00-09:00", "a whole day is 00:00-24:00"),
        ("mon 09:00-18:00" + " " * SEND_WINDOW_CHARS_MAX, "characters, at most"),
        (f"daily {','.join(['09:00-10:00'] * 10)}", f"at most {SEND_WINDOW_SPANS_MAX}"),
    ],
)
def test_what_is_no_window_is_refused_with_what_to_write(text: str, complaint: str) -> None:
    with pytest.raises(SubmissionInvalid, match=r"^window: ") as refused:
        parse_send_window(text)
    assert complaint in refused.value.reason
    assert "write it like mon-fri 09:00-18:00" in refused.value.reason


# Europe/Berlin: 2026-03-29 02:00 -> 03:00 and 2026-10-25 03:00 -> 02:00, both Sundays.
@pytest.mark.parametrize(
    ("window", "zone", "now", "opens", "closes"),
    [
        pytest.param(
            *("mon-fri 09:00-18:00", "Europe/Berlin", "2026-06-03T10:30"),
            *("2026-06-03T10:30+02:00", "2026-06-03T18:00+02:00"),
            id="it is open",
        ),
        pytest.param(
            *("mon-fri 09:00-18:00", "Europe/Berlin", "2026-06-03T18:00"),
            *("2026-06-04T09:00+02:00", "2026-06-04T18:00+02:00"),
            id="its end is not in it",
        ),
        pytest.param(
            *("mon-fri 09:00-18:00", "Europe/Berlin", "2026-06-05T20:00"),
            *("2026-06-08T09:00+02:00", "2026-06-08T18:00+02:00"),
            id="over a weekend",
        ),
        pytest.param(
            *("fri 22:00-02:00", "Europe/Berlin", "2026-06-06T01:59"),
            *("2026-06-06T01:59+02:00", "2026-06-06T02:00+02:00"),
            id="over midnight",
        ),
        pytest.param(
            *("sun 22:00-02:00", "Europe/Berlin", "2026-06-08T01:00"),
            *("2026-06-08T01:00+02:00", "2026-06-08T02:00+02:00"),
            id="over the end of the week",
        ),
        pytest.param(
            *("daily 02:15-02:45", "Europe/Berlin", "2026-03-29T00:00"),
            *("2026-03-30T02:15+02:00", "2026-03-30T02:45+02:00"),
            id="the hour that is skipped: not that day",
        ),
        pytest.param(
            *("sun 02:15-02:45", "Europe/Berlin", "2026-03-29T00:00"),
            *("2026-04-05T02:15+02:00", "2026-04-05T02:45+02:00"),
            id="the hour that is skipped: not that week",
        ),
        pytest.param(
            *("daily 02:30-04:00", "Europe/Berlin", "2026-03-29T00:00"),
            *("2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"),
            id="the clock jumps into it",
        ),
        pytest.param(
            *("daily 01:00-02:30", "Europe/Berlin", "2026-03-29T01:30"),
            *("2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"),
            id="the clock jumps out of it",
        ),
        pytest.param(
            *("daily 02:15-02:45", "Europe/Berlin", "2026-10-25T00:00"),
            *("2026-10-25T02:15+02:00", "2026-10-25T02:45+02:00"),
            id="the hour that comes twice: first",
        ),
        pytest.param(
            *("daily 02:15-02:45", "Europe/Berlin", "2026-10-25T02:45+02:00"),
            *("2026-10-25T02:15+01:00", "2026-10-25T02:45+01:00"),
            id="the hour that comes twice: again",
        ),
        pytest.param(
            *("daily 01:00-02:30", "Europe/Berlin", "2026-10-25T02:40+02:00"),
            *("2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00"),
            id="the clock jumps back into it",
        ),
        pytest.param(
            *("sun 00:00-24:00", "Europe/Berlin", "2026-10-24T12:00"),
            *("2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
            id="a day of 25 hours",
        ),
        pytest.param(
            *("fri 09:00-18:00", "Pacific/Apia", "2011-12-29T20:00"),
            *("2012-01-06T09:00+14:00", "2012-01-06T18:00+14:00"),
            id="a Friday that there was not",
        ),
        pytest.param(
            *("daily 02:00-02:10", "Australia/Lord_Howe", "2026-10-04T00:00"),
            *("2026-10-05T02:00+11:00", "2026-10-05T02:10+11:00"),
            id="half an hour that is skipped",
        ),
    ],
)
def test_the_next_opening(window: str, zone: str, now: str, opens: str, closes: str) -> None:
    opening = parse_send_window(window).opening(_at(now, zone), ZoneInfo(zone))
    assert _shown(opening.opens_at, zone) == opens
    assert opening.closes_at is not None
    assert _shown(opening.closes_at, zone) == closes


def test_a_window_that_is_always_open_never_closes() -> None:
    now = _at("2026-10-25T00:00")
    opening = parse_send_window("daily 00:00-24:00").opening(now, ZoneInfo("Europe/Berlin"))
    assert opening == (now, None)


def test_an_opening_is_exact_to_the_microsecond() -> None:
    zone = ZoneInfo("Europe/Berlin")
    window = parse_send_window("daily 09:00-18:00")
    nine = _at("2026-06-03T09:00", "Europe/Berlin")
    assert window.next_open(Instant(nine - 1), zone) == nine
    assert window.next_open(Instant(nine + 1), zone) == nine + 1


class TestOpenHours:
    WINDOW = "mon-fri 09:00-18:00"

    def test_each_message_gets_the_hours_of_its_own_zone(self) -> None:
        hours = OpenHours(default_zone="Europe/Berlin")
        now = _at("2026-06-03T08:30", "UTC")
        assert hours.opening(self.WINDOW, "", now).opens_at <= now
        here = hours.opening(self.WINDOW, "America/New_York", now)
        assert _shown(here.opens_at, "America/New_York") == "2026-06-03T09:00-04:00"

    def test_what_is_remembered_is_what_would_be_found_again(self) -> None:
        zone = "Europe/Berlin"
        hours = OpenHours(default_zone=zone)
        begin = _at("2026-10-24T00:00", zone)
        # Also when the clock is set back by a day in between.
        steps = [*range(0, 72 * 60, 7), *range(48 * 60, 96 * 60, 7)]
        for minutes in steps:
            now = Instant(begin + minutes * 60_000_000)
            fresh = parse_send_window(self.WINDOW).opening(now, ZoneInfo(zone))
            opening = hours.opening(self.WINDOW, zone, now)
            assert max(opening.opens_at, now) == fresh.opens_at
            assert opening.closes_at == fresh.closes_at

    def test_a_zone_that_this_machine_does_not_know_counts_as_the_default(self) -> None:
        hours = OpenHours(default_zone="Asia/Tokyo")
        now = _at("2026-06-03T20:00", "Asia/Tokyo")
        assert hours.opening(self.WINDOW, "Moon/Tycho", now) == hours.opening(self.WINDOW, "", now)
