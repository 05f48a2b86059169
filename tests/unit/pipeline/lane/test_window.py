"""Columns of claims, and how their outcomes look in the journal."""

import pytest

from pipeline.instant import DurationMs, Instant, earlier, later
from pipeline.lane.entry import EntryBuilder
from pipeline.lane.window import Candidate, Window, bounded_details, expired_positions
from pipeline.lifecycle import Event, Step, step_of
from pipeline.limits import OUTCOME_DETAIL_CHARS_MAX, OUTCOME_DETAILS_BYTES_MAX
from pipeline.message import Body, MessageId, PartitionKey, Submission, encode_body
from pipeline.outcome import Outcomes
from tests.support.fake_clock import NOW
from tests.support.lane_world import body_of

A, B = MessageId(b"a" * 16), MessageId(b"b" * 16)
KEY_A, KEY_B = PartitionKey(A), PartitionKey(b"k" * 16)
FIRST = step_of(attempt=1, try_no=1, event=Event.CLAIM)
LATER = step_of(attempt=2, try_no=3, event=Event.CLAIM)


def window(steps: list[int]) -> Window:
    return Window(
        connector="file",
        claimed_at=NOW,
        message_ids=[A, B],
        partition_keys=[KEY_A, KEY_B],
        borns=[NOW, Instant(NOW + 1)],
        groups=["acme/x", "acme/y"],
        steps=steps,
        bodies=[Body(b"body a"), Body(b"body b")],
        named_at=NOW,
        send_before=later(NOW, 5),
        seq=9,
    )


@pytest.mark.parametrize(
    ("steps", "attempts"),
    [([FIRST, FIRST], [1, 1]), ([FIRST, LATER], [1, 2]), ([LATER, LATER], [2, 2])],
)
def test_each_message_is_handed_over_with_its_own_attempt(
    steps: list[int], attempts: list[int]
) -> None:
    handed = window(steps).hand_over()
    assert handed.attempts == attempts
    assert (handed.seq, handed.send_before) == (9, later(NOW, 5))
    assert list(zip(handed.message_ids, handed.bodies, strict=True)) == [
        (A, b"body a"),
        (B, b"body b"),
    ]


def test_an_outcome_belongs_to_the_try_that_was_claimed() -> None:
    builder = EntryBuilder()
    outcomes = Outcomes(events=bytes([Event.TAKE, Event.NOT_SENT]), details={1: "why"})
    window([FIRST, LATER]).add_outcome_lines(builder, outcomes)
    assert builder.steps == [
        step_of(attempt=1, try_no=1, event=Event.TAKE),
        step_of(attempt=2, try_no=3, event=Event.NOT_SENT),
    ]
    assert builder.events_before == [Event.CLAIM, Event.CLAIM]
    assert builder.partition_keys == {1: KEY_B}
    assert builder.details == {1: "why"}


def test_what_was_not_sent_stands_as_a_candidate_with_its_body() -> None:
    candidate = window([FIRST, LATER]).candidate(1, event=Event.NOT_SENT)
    fold = step_of(attempt=2, try_no=3, event=Event.NOT_SENT)
    assert candidate == Candidate(KEY_B, Instant(NOW + 1), "acme/y", fold, Body(b"body b"))


def test_the_newest_entry_that_names_a_window_holds_it() -> None:
    claimed = window([FIRST, FIRST])
    assert claimed.named_seq == 9
    claimed.named_seq = 12
    assert claimed.named_seq == 12


def test_details_are_cut_and_bounded_together() -> None:
    details = bounded_details(dict.fromkeys(range(1_000), "\N{GRINNING FACE}" * 1_000))
    assert {len(detail) for detail in details.values()} == {OUTCOME_DETAIL_CHARS_MAX}
    assert list(details) == list(range(len(details)))
    assert 1 < len(details) * 4 * OUTCOME_DETAIL_CHARS_MAX <= OUTCOME_DETAILS_BYTES_MAX


def test_short_details_are_all_kept() -> None:
    details = dict.fromkeys(range(500), "ref")
    assert len(bounded_details(dict.fromkeys(range(300), "ref"))) == 300
    assert len(bounded_details(details)) < 500


VALIDITY = DurationMs(60_000)


@pytest.mark.parametrize(
    ("born_ms_ago", "expires_in_ms", "is_expired"),
    [
        pytest.param(0, None, False, id="new"),
        pytest.param(59_999, None, False, id="within the longest validity"),
        pytest.param(60_000, None, True, id="past the longest validity"),
        pytest.param(0, 1, False, id="not yet"),
        pytest.param(0, 0, True, id="at its instant"),
        pytest.param(0, -1, True, id="past its instant"),
        pytest.param(60_000, 100, True, id="its own instant does not outlast the longest"),
    ],
)
def test_what_has_expired(born_ms_ago: int, expires_in_ms: int | None, is_expired: bool) -> None:
    body = body_of("x", None if expires_in_ms is None else later(NOW, expires_in_ms))
    fresh = Candidate(KEY_A, NOW, "g", None, body_of("y"))
    candidate = Candidate(KEY_A, earlier(NOW, born_ms_ago), "g", Step(0), body)
    found = expired_positions([fresh, candidate], now=NOW, validity_ms_max=VALIDITY)
    assert found == ({1} if is_expired else set())


@pytest.mark.parametrize(
    ("expires_in_ms", "is_expired"),
    [
        pytest.param(1, False, id="it says until when"),
        pytest.param(0, True, id="at its instant"),
        pytest.param(None, True, id="one that does not say it lives no longer than others"),
    ],
)
def test_what_is_scheduled_may_be_born_long_before_it_is_due(
    expires_in_ms: int | None, is_expired: bool
) -> None:
    body = encode_body(
        Submission(
            expires_at=None if expires_in_ms is None else later(NOW, expires_in_ms),
            due_at=earlier(NOW, 1),
            tenant="default",
            channel="sms",
            recipient="+447700900000",
            content="x",
        )
    )
    old = Candidate(KEY_A, earlier(NOW, 400 * VALIDITY), "g", None, Body(body))
    found = expired_positions([old], now=NOW, validity_ms_max=VALIDITY)
    assert found == ({0} if is_expired else set())
