"""What an answer, or none, says about a message: one line a case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.webhook.answer import (
    RETRY_AFTER_MS_MAX,
    AddressForbidden,
    Answered,
    AnswerLost,
    Exchange,
    NotConnected,
    TooLate,
    Unsendable,
    Verdict,
    is_gone,
    judge,
    reference_of,
    retry_after_ms,
)
from pipeline.instant import DurationMs, Instant
from pipeline.lifecycle import Event
from pipeline.limits import OUTCOME_DETAIL_CHARS_MAX

NOW = Instant(1_445_412_470_000_000)  # Wed, 21 Oct 2015 07:27:50 GMT


def verdict(exchange: Exchange, *, is_own_url: bool = False) -> Verdict:
    return judge(exchange, now=NOW, is_own_url=is_own_url)


@pytest.mark.parametrize(
    ("statuses", "event"),
    [
        pytest.param([200, 201, 202, 204, 299], Event.TAKE, id="taken"),
        pytest.param([429, 425], Event.DEFER, id="asked to come later, before it looked"),
        pytest.param([401, 402, 407], Event.DEFER, id="our account, not the message"),
        pytest.param([301, 307, 308], Event.REFUSE, id="another place, where nobody goes"),
        pytest.param([400, 403, 404, 405, 410, 413, 422, 451, 499], Event.REFUSE, id="a no"),
        pytest.param([500, 501, 502, 503, 504, 520, 599], Event.LOSE_ANSWER, id="lost its way"),
        pytest.param([408, 409], Event.LOSE_ANSWER, id="may have it"),
        pytest.param([300, 302, 303, 304], Event.LOSE_ANSWER, id="done, and look there"),
        pytest.param([100, 101, 199, 600, 999], Event.LOSE_ANSWER, id="no answer that is known"),
    ],
)
def test_a_status_is_one_event(statuses: list[int], event: Event) -> None:
    for status in statuses:
        assert verdict(Answered(status=status)).event is event


@given(status=st.integers(100, 999), header=st.text(), body=st.binary())
def test_only_an_answer_of_2xx_is_taken_and_any_answer_has_a_verdict(
    status: int, header: str, body: bytes
) -> None:
    told = verdict(Answered(status=status, retry_after=header, body=body))
    assert (told.event is Event.TAKE) == (200 <= status <= 299)
    assert len(told.detail) <= OUTCOME_DETAIL_CHARS_MAX
    assert 0 <= told.retry_after_ms <= RETRY_AFTER_MS_MAX


def test_what_did_not_leave_may_go_again_and_what_may_have_left_may_not() -> None:
    assert verdict(NotConnected("no such host")).event is Event.DEFER
    assert verdict(TooLate()).event is Event.NOT_SENT
    assert verdict(AnswerLost("no answer in time")).event is Event.LOSE_ANSWER
    assert verdict(Unsendable("no HTTP")).event is Event.REFUSE


def test_a_forbidden_address_is_the_recipients_fault_or_the_operators() -> None:
    assert verdict(AddressForbidden("private")).event is Event.REFUSE
    assert verdict(AddressForbidden("private"), is_own_url=True).event is Event.DEFER


@pytest.mark.parametrize(
    ("header", "ms"),
    [
        ("120", 120_000),
        (" 0 ", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10_000),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 10_000),
        ("Wed Oct 21 07:28:00 2015", 10_000),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", 0),
        ("9" * 18, RETRY_AFTER_MS_MAX),
        ("9" * 5_000, 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str, ms: int) -> None:
    assert retry_after_ms(header, NOW) == ms


def test_retry_after_goes_with_later_and_with_what_may_be_taken() -> None:
    for status in (429, 503):
        told = verdict(Answered(status=status, retry_after="7"))
        assert told.retry_after_ms == DurationMs(7_000)
    assert verdict(Answered(status=404, retry_after="7")).retry_after_ms == 0


@pytest.mark.parametrize(
    ("body", "reference"),
    [
        (b'{"id": "m-1"}', "m-1"),
        (b'{"id": "m-1", "reference": "r-1"}', "r-1"),
        (b'{"message_id": 17}', "17"),
        (b'{"id": true}', ""),
        (b'{"id": "two\\nlines"}', ""),
        (b'{"id": "' + b"x" * 129 + b'"}', ""),
        (b'["id"]', ""),
        (b'{"id": "\xff"}', ""),
        (b"[" * 60_000, ""),
        (b"", ""),
    ],
)
def test_a_reference_is_short_and_plain_or_none(body: bytes, reference: str) -> None:
    assert reference_of(body) == reference


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", ""),
        (b"<html>", ""),
        (b'{"error": "no such\\nuser"}', ": no such user"),
        (b'{"error": {"message": "full"}}', ": full"),
        (b'{"detail": "odd"}', ": odd"),
        (b'{"error": "' + b"x" * 1_000 + b'"}', ": " + "x" * 120),
    ],
)
def test_a_refusal_is_told_with_its_reason(body: bytes, reason: str) -> None:
    assert verdict(Answered(status=404, body=body)).detail == "HTTP 404 Not Found" + reason


def test_only_410_ends_a_recipient() -> None:
    assert is_gone(Answered(status=410))
    assert not is_gone(Answered(status=404))
    assert not is_gone(AnswerLost("no answer in time"))


@pytest.mark.parametrize(
    ("status", "is_own_url", "unwanted"),
    [(410, False, "opt_out"), (410, True, ""), (404, False, ""), (200, False, "")],
)
def test_a_recipient_that_is_gone_wants_nothing_more_but_an_operators_url_is_no_recipient(
    status: int, is_own_url: bool, unwanted: str
) -> None:
    verdict = judge(Answered(status=status), now=NOW, is_own_url=is_own_url)
    assert verdict.unwanted == unwanted
