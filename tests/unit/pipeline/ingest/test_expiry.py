import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.expiry import parse_expires_at, parse_validity
from pipeline.instant import DurationMs


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2030-01-31T18:00:00Z", 1_896_112_800_000_000),
        (" 2030-01-31 18:00:00.000001+00:00 ", 1_896_112_800_000_001),
        ("2001-01-01T00:00:00Z", 978_307_200_000_000),
    ],
)
def test_a_date_and_time_with_an_offset_is_an_instant(text: str, instant: int) -> None:
    assert parse_expires_at(text) == instant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a date and time"),
        ("tomorrow", "not a date and time"),
        ("2030-02-31T18:00:00Z", "not a date and time"),
        ("2030-01-31T18:00:00", "no offset from UTC"),
        ("2030-01-31", "no offset from UTC"),
        ("1969-12-31T23:59:59Z", "before 1970"),
    ],
)
def test_another_text_is_refused_with_an_example(text: str, reason: str) -> None:
    with pytest.raises(SubmissionInvalid) as caught:
        parse_expires_at(text)
    assert caught.value.field == "expires_at"
    assert reason in caught.value.reason
    assert "2030-01-31T18:00:00Z" in caught.value.reason


LONGEST = DurationMs(3 * 86_400_000)


@pytest.mark.parametrize(
    ("text", "span_ms"),
    [("90s", 90_000), ("15m", 900_000), (" 2h ", 7_200_000), ("3d", LONGEST)],
)
def test_a_span_is_a_number_and_a_unit(text: str, span_ms: int) -> None:
    assert parse_validity(text, validity_ms_max=LONGEST) == span_ms


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "1.5h", "2 h", "2w", "1" * 12 + "s"])
def test_another_span_is_refused(text: str) -> None:
    with pytest.raises(SubmissionInvalid, match="like 2h"):
        parse_validity(text, validity_ms_max=LONGEST)


@pytest.mark.parametrize("text", ["0s", "73h", "4d"])
def test_a_span_is_more_than_nothing_and_at_most_the_longest(text: str) -> None:
    with pytest.raises(SubmissionInvalid, match="at most 259200s"):
        parse_validity(text, validity_ms_max=LONGEST)
