"""What a message becomes when it is edited."""

from typing import Any

import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.edition import Edition, Wish, edit
from pipeline.ingest.schedule import SendTimes
from pipeline.instant import DurationMs, Instant, earlier, later
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import Submission, decode_body
from tests.support.fake_clock import NOW

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
VALIDITY = DurationMs(3 * DAY_MS)
TIMES = SendTimes(validity_ms_max=VALIDITY)
BORN = earlier(NOW, HOUR_MS)


def message(**fields: Any) -> Submission:
    plain = {"tenant": "acme", "channel": "sms", "recipient": "+447700900000", "content": "x"}
    return Submission(**{**plain, **fields})


def edited(old: Submission, wish: Wish) -> tuple[Submission, Edition]:
    edition = edit(old, wish, born=BORN, now=NOW, times=TIMES, validity_ms_max=VALIDITY)
    return decode_body(edition.body), edition


def test_other_words_change_nothing_else() -> None:
    old = message(group="g", metadata={"a": "b"}, expires_at=later(NOW, HOUR_MS))
    new, edition = edited(old, Wish(content="better"))
    assert new == message(
        content="better", group="g", metadata={"a": "b"}, expires_at=later(NOW, HOUR_MS)
    )
    assert edition.due_at is None


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        ("in 2h", later(NOW, 2 * HOUR_MS)),
        ("1970-01-02T00:00:00Z", NOW),  # what is over means at once
    ],
)
def test_a_time_is_counted_from_when_it_is_asked_for(due: str, expected: Instant) -> None:
    new, edition = edited(message(), Wish(due=due))
    assert edition.due_at == new.due_at == expected
    assert new.expires_at == later(expected, VALIDITY)


def test_an_end_that_nobody_named_moves_with_the_time() -> None:
    due_at = later(NOW, 10 * DAY_MS)
    old = message(due_at=due_at, expires_at=later(due_at, VALIDITY))
    new, _ = edited(old, Wish(due="in 20d"))
    assert new.expires_at == later(NOW, 23 * DAY_MS)


def test_an_end_that_somebody_named_stays_and_keeps_the_time_before_it() -> None:
    old = message(due_at=later(NOW, HOUR_MS), expires_at=later(NOW, 5 * HOUR_MS))
    new, _ = edited(old, Wish(due="in 2h"))
    assert new.expires_at == later(NOW, 5 * HOUR_MS)
    with pytest.raises(SubmissionInvalid, match="--expires"):
        edited(old, Wish(due="in 6h"))
    new, _ = edited(old, Wish(due="in 6h", expires="2h"))
    assert new.expires_at == later(NOW, 8 * HOUR_MS)


def test_an_end_alone_leaves_the_time() -> None:
    due_at = later(NOW, HOUR_MS)
    new, edition = edited(message(due_at=due_at, expires_at=later(NOW, DAY_MS)), Wish(expires="1h"))
    assert (new.due_at, new.expires_at) == (due_at, later(NOW, 2 * HOUR_MS))
    assert edition.due_at is None
    untimed, _ = edited(message(), Wish(expires="2h"))
    assert (untimed.due_at, untimed.expires_at) == (None, later(BORN, 2 * HOUR_MS))


def test_hours_that_were_asked_for_hold_for_the_new_time() -> None:
    old = message(window="mon-sun 09:00-10:00", time_zone="UTC", due_at=NOW)
    new, edition = edited(old, Wish(due="in 30d"))
    assert edition.due_at == new.due_at
    assert edition.due_at is not None
    assert edition.due_at % (DAY_MS * 1_000) // (HOUR_MS * 1_000) in (9, 10)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish(content=""), "is empty"),
        (Wish(content="a\0b"), "NUL"),
        (Wish(due="soon"), "not a date"),
        (Wish(due=f"in {SCHEDULE_MS_MAX // DAY_MS + 1}d"), "days after"),
        (Wish(expires="99d"), "at most"),
    ],
)
def test_what_could_not_be_submitted_cannot_be_edited_to(wish: Wish, reason: str) -> None:
    with pytest.raises(SubmissionInvalid, match=reason):
        edited(message(), wish)


def test_however_often_it_is_put_off_its_time_is_near_enough_to_its_acceptance() -> None:
    born, old = earlier(NOW, SCHEDULE_MS_MAX - 100 * DAY_MS), message(due_at=later(NOW, DAY_MS))

    def put_off(due: str) -> Edition:
        return edit(old, Wish(due=due), born=born, now=NOW, times=TIMES, validity_ms_max=VALIDITY)

    assert put_off("in 100d").due_at == later(NOW, 100 * DAY_MS)
    with pytest.raises(SubmissionInvalid, match="after the message was accepted"):
        put_off("in 2401h")
