"""Send windows against a walk that looks at the wall's clock every minute."""

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.send_window import SendWindow, parse_send_window
from pipeline.instant import Instant

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTE = 60_000_000

# A zone and an instant near which its clock jumps: forth, back, by half an hour, by a day, never.
_JUMPS = (
    ("Europe/Berlin", "2026-03-29T01:00+00:00"),
    ("Europe/Berlin", "2026-10-25T01:00+00:00"),
    ("America/New_York", "2026-03-08T07:00+00:00"),
    ("America/New_York", "2026-11-01T06:00+00:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30+00:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00+00:00"),
    ("America/St_Johns", "2026-03-08T05:30+00:00"),
    ("Africa/Casablanca", "2026-02-15T02:00+00:00"),
    ("Pacific/Apia", "2011-12-30T10:00+00:00"),
    ("Asia/Kathmandu", "2026-06-01T00:00+00:00"),
)

_minutes = st.integers(0, 24 * 60 - 1)
# Around the hours at which clocks jump, more often than elsewhere.
_night_minutes = st.integers(0, 4 * 60)


@st.composite
def _rules(draw: st.DrawFn) -> tuple[frozenset[int], int, int]:
    days = draw(st.frozensets(st.integers(0, 6), min_size=1))
    start = draw(st.one_of(_night_minutes, _minutes))
    length = draw(st.one_of(st.integers(1, 90), st.integers(1, 24 * 60 - 1)))
    return days, start, (start + length) % (24 * 60)


def _text(rules: list[tuple[frozenset[int], int, int]]) -> str:
    return "; ".join(
        f"{','.join(_DAYS[day] for day in sorted(days))}"
        f" {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
        for days, start, end in rules
    )


def _is_open(rules: list[tuple[frozenset[int], int, int]], minute: int, zone: ZoneInfo) -> bool:
    wall = datetime.fromtimestamp(minute * 60, zone)
    day, now = wall.weekday(), wall.hour * 60 + wall.minute
    return any(
        (day in days and start <= now < end)
        if start < end
        else (day in days and now >= start) or ((day - 1) % 7 in days and now < end)
        for days, start, end in rules
    )


def _walk(rules: list[tuple[frozenset[int], int, int]], now: Instant, zone: ZoneInfo) -> Instant:
    minute = now // _MINUTE
    if _is_open(rules, minute, zone):
        return now
    while not _is_open(rules, minute, zone):
        minute += 1
    return Instant(minute * _MINUTE)


@settings(max_examples=150)
@given(
    rules=st.lists(_rules(), min_size=1, max_size=3),
    jump=st.sampled_from(_JUMPS),
    minutes_before=st.integers(-24 * 60, 24 * 60),
    microseconds=st.sampled_from((0, 1, _MINUTE - 1)),
)
def test_the_next_opening_is_the_first_open_minute(
    rules: list[tuple[frozenset[int], int, int]],
    jump: tuple[str, str],
    minutes_before: int,
    microseconds: int,
) -> None:
    zone = ZoneInfo(jump[0])
    jumps_at = int(datetime.fromisoformat(jump[1]).timestamp()) * 1_000_000
    now = Instant(jumps_at - minutes_before * _MINUTE + microseconds)
    window = parse_send_window(_text(rules))
    opens_at = window.next_open(now, zone)
    assert opens_at == _walk(rules, now, zone)
    _check_closing(window, rules, opens_at, zone)


def _check_closing(
    window: SendWindow,
    rules: list[tuple[frozenset[int], int, int]],
    opens_at: Instant,
    zone: ZoneInfo,
) -> None:
    closes_at = window.opening(opens_at, zone).closes_at
    if closes_at is None:
        return
    assert not _is_open(rules, closes_at // _MINUTE, zone)
    assert all(
        _is_open(rules, minute, zone) for minute in range(opens_at // _MINUTE, closes_at // _MINUTE)
    )
