"""A connector's rate is kept for all schedulers together, and lent to the one that has the work."""

from pathlib import Path

from tests.support.one_busy_core import send_by_one_core

RATE, BURST = 100, 10
COUNT = 500
# What stands still on a busy machine, and then comes at once, is not the limiter's: of three
# seconds one may be such.  At twice the rate all of them would arrive within three.
STANDSTILL_S = 1


def test_a_rate_is_never_exceeded_and_one_of_four_lanes_may_use_all_of_it(tmp_path: Path) -> None:
    seen = send_by_one_core(tmp_path, count=COUNT, rate=RATE, burst=BURST, timeout_s=120)
    assert (seen.messages, seen.twice_count, seen.lanes_count) == (COUNT - 1, 0, 4)
    assert seen.in_three_seconds_max <= RATE * (3 + STANDSTILL_S) + BURST
    # A quarter, if each scheduler kept its part; see `benchmarks.rate` for what it is.
    assert seen.in_a_second_mean >= RATE / 2
