import time

import pytest

from cluster.runtime.clock import SystemClock


def test_the_wall_clock_counts_microseconds_since_the_epoch() -> None:
    before = time.time_ns() // 1_000  # noqa: TID251
    now = SystemClock().now()
    assert before <= now <= time.time_ns() // 1_000  # noqa: TID251


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no CLOCK_BOOTTIME here")
def test_boot_time_runs_while_the_machine_sleeps_where_there_is_a_clock_for_it() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
    boot_us = SystemClock().reading().boot_us
    assert before <= boot_us <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000


def test_boot_time_is_monotonic_time_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    before = time.monotonic_ns() // 1_000
    boot_us = SystemClock().reading().boot_us
    assert before <= boot_us <= time.monotonic_ns() // 1_000


def test_a_reading_holds_the_wall_clock_too() -> None:
    clock = SystemClock()
    before = clock.now()
    assert before <= clock.reading().wall <= clock.now()
