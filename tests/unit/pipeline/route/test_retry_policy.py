from random import Random

import pytest

from pipeline.instant import DurationMs, Instant
from pipeline.route.retry_policy import GiveUp, Retries, RetryPolicy

NOW = Instant(1_000_000_000)
LATE = Instant(NOW + 10**12)
SECOND = 1_000_000
POLICY = RetryPolicy(
    backoff_base_ms=DurationMs(1_000),
    backoff_cap_ms=DurationMs(8_000),
    retry_after_cap_ms=DurationMs(60_000),
    attempts_max=5,
)


class _Fixed(Random):
    """Always the same part."""

    def __init__(self, part: float) -> None:
        super().__init__(0)
        self._part = part

    def random(self) -> float:
        return self._part


ALMOST_ALL = 1 - 2**-53


def _decide(
    *,
    attempt: int = 1,
    expires_at: int = LATE,
    retry_after_ms: int | None = None,
    part: float = 0.5,
) -> Retries:
    return POLICY.decide(
        [0],
        attempts=[attempt],
        expires_at=[Instant(expires_at)],
        retry_after_ms={} if retry_after_ms is None else {0: DurationMs(retry_after_ms)},
        now=NOW,
        chance=_Fixed(part),
    )


@pytest.mark.parametrize(
    ("attempt", "span_s"), [(1, 1), (2, 2), (3, 4), (4, 8)], ids="attempt {}".format
)
def test_each_wait_is_a_random_part_of_twice_the_span_before(attempt: int, span_s: int) -> None:
    assert _decide(attempt=attempt, part=0.0).due_at == {0: NOW}
    assert _decide(attempt=attempt, part=0.5).due_at == {0: NOW + span_s * SECOND // 2}
    most = _decide(attempt=attempt, part=ALMOST_ALL).due_at[0]
    assert NOW + span_s * SECOND - 2 <= most < NOW + span_s * SECOND


def test_the_span_is_capped_however_many_attempts_there_were() -> None:
    assert RetryPolicy().backoff_ms(255) == RetryPolicy().backoff_cap_ms
    assert POLICY.backoff_ms(5) == 8_000


@pytest.mark.parametrize(
    ("asked_ms", "floor_ms"),
    [
        pytest.param(3_000, 3_000, id="what the provider asks for is a floor"),
        pytest.param(10**9, 60_000, id="it may not ask for more than the cap"),
        pytest.param(-5, 0, id="it may not ask for the past"),
        pytest.param(None, 0, id="it need not ask"),
    ],
)
def test_retry_after(asked_ms: int | None, floor_ms: int) -> None:
    least = _decide(retry_after_ms=asked_ms, part=0.0).due_at[0]
    most = _decide(retry_after_ms=asked_ms, part=ALMOST_ALL).due_at[0]
    assert least == NOW + floor_ms * 1_000
    # The same was said to everybody: the jitter is added.
    assert most > least + SECOND - 2


def test_the_last_attempt_is_the_last() -> None:
    assert _decide(attempt=4).due_at
    assert _decide(attempt=5).given_up == {0: GiveUp.EXHAUSTED}
    assert _decide(attempt=5, expires_at=NOW).given_up == {0: GiveUp.EXHAUSTED}


@pytest.mark.parametrize(
    ("expires_in", "retry_after_ms", "is_expired"),
    [
        pytest.param(0, None, True, id="at its expiry"),
        pytest.param(-1, None, True, id="after it"),
        pytest.param(1, None, False, id="just before it"),
        pytest.param(2 * SECOND, 2_000, True, id="the provider asks for all that is left"),
        pytest.param(2 * SECOND + 1, 2_000, False, id="the provider leaves a moment"),
    ],
)
def test_a_message_is_tried_once_more_while_it_can_be(
    expires_in: int, retry_after_ms: int | None, is_expired: bool
) -> None:
    retries = _decide(expires_at=NOW + expires_in, retry_after_ms=retry_after_ms, part=ALMOST_ALL)
    if is_expired:
        assert retries == Retries({}, {0: GiveUp.EXPIRED})
    else:
        assert retries.due_at[0] < NOW + expires_in
        assert not retries.given_up


def test_a_window_is_decided_by_position() -> None:
    retries = POLICY.decide(
        [1, 3, 4],
        attempts=[1, 2, 1, 5, 1],
        expires_at=[LATE, LATE, LATE, LATE, NOW],
        retry_after_ms={1: DurationMs(7_000)},
        now=NOW,
        chance=Random(1),
    )
    assert retries.given_up == {3: GiveUp.EXHAUSTED, 4: GiveUp.EXPIRED}
    assert list(retries.due_at) == [1]
    assert 7 * SECOND <= retries.due_at[1] - NOW < 9 * SECOND


def test_messages_that_were_deferred_together_do_not_come_back_together() -> None:
    count = 500
    due = POLICY.decide(
        range(count),
        attempts=[4] * count,
        expires_at=[LATE] * count,
        retry_after_ms=dict.fromkeys(range(count), DurationMs(1_000)),
        now=NOW,
        chance=Random(7),
    ).due_at
    eighths = [0] * 8
    for instant in due.values():
        eighths[(instant - NOW - SECOND) // SECOND] += 1
    assert min(eighths) > count // 16, "seed 7"
    assert max(eighths) < count // 4, "seed 7"
