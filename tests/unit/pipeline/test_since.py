"""For how long something has been so."""

from pipeline.instant import DurationMs, later
from pipeline.since import Since
from tests.support.fake_clock import NOW


def test_it_holds_once_it_has_been_so_at_each_look_for_long_enough() -> None:
    since, enough = Since(), DurationMs(100)
    looks = [(0, True), (99, True), (100, True), (101, False), (102, True), (202, True)]
    assert [
        since.holds_for(is_so, now=later(NOW, ms), at_least_ms=enough) for ms, is_so in looks
    ] == [False, False, True, False, False, True]
