from itertools import pairwise

import pytest

from pipeline.instant import Instant, later
from pipeline.limits import RATE_CUT_INTERVAL_MS, RATE_PAUSE_MS_MAX, RATE_RAISES_TO_FULL
from pipeline.route.permits import AdaptiveRate, Limit, LimitBook, PermitRun, SlotLine

SECOND = 1_000_000
HALF = 500_000
SLOTS_MAX = 2_000


def _cut(line: SlotLine, limit: Limit, start: int, *, rate_milli: int | None = None) -> PermitRun:
    run = line.cut(
        limit,
        limit.rate_milli or 0 if rate_milli is None else rate_milli,
        start=Instant(start),
        end=Instant(start + HALF),
        slots_max=SLOTS_MAX,
    )
    assert run is not None
    return run


class TestSlots:
    def test_they_lie_at_equal_distances(self) -> None:
        run = _cut(SlotLine(), Limit(rate_milli=100_000, burst=10), SECOND)
        assert run.instants() == list(range(SECOND, SECOND + HALF, 10_000))
        assert run.valid_us == 100_000

    def test_one_span_goes_on_where_the_other_ended(self) -> None:
        limit = Limit(rate_milli=3_000)
        line = SlotLine()
        line.restart(Instant(SECOND))
        instants = [at for n in range(20) for at in self._instants(line, limit, n)]
        assert len(instants) == 30
        gaps = {b - a for a, b in pairwise(instants)}
        assert gaps <= {333_333, 333_334}

    @staticmethod
    def _instants(line: SlotLine, limit: Limit, n: int) -> list[int]:
        start = Instant(SECOND + n * HALF)
        end = Instant(start + HALF)
        rate = limit.rate_milli
        assert rate is not None
        run = line.cut(limit, rate, start=start, end=end, slots_max=SLOTS_MAX)
        return [] if run is None else run.instants()

    def test_a_rate_below_one_a_second_has_slots_in_few_spans(self) -> None:
        limit = Limit(rate_milli=100)  # one in ten seconds
        line = SlotLine()
        counts = [len(self._instants(line, limit, n)) for n in range(60)]
        assert sum(counts) == 3

    def test_time_that_nobody_dealt_for_is_lost(self) -> None:
        limit = Limit(rate_milli=100_000)
        line = SlotLine()
        self._instants(line, limit, 0)
        assert len(self._instants(line, limit, 100)) == 50

    def test_very_many_permits_go_in_bundles(self) -> None:
        limit = Limit(rate_milli=100_000_000, burst=1_000)
        line = SlotLine()
        permits = 0
        for n in range(10):
            run = _cut(line, limit, SECOND + n * HALF)
            assert run.slots <= SLOTS_MAX
            permits += run.slots * run.bundle
        assert permits == pytest.approx(500_000, abs=50)

    def test_no_rate_no_slots(self) -> None:
        limit = Limit(rate_milli=100_000)
        span = {"start": Instant(0), "end": Instant(HALF)}
        assert SlotLine().cut(limit, 0, **span, slots_max=SLOTS_MAX) is None

    @pytest.mark.parametrize("slots", [1, 2, 3, 50, 97, 1_000, 2_000])
    def test_every_slot_has_one_holder(self, slots: int) -> None:
        cuts = sorted({0, slots // 3, slots // 2, slots})
        runs = [PermitRun(0, 1_000_000, slots, 1, low, high, 1) for low, high in pairwise(cuts)]
        dealt = sorted(at for run in runs for at in run.instants())
        assert dealt == list(range(0, slots * 1_000, 1_000))

    def test_any_part_of_the_deal_lies_evenly_in_time(self) -> None:
        # A fifth of fifty slots: about two in each ten.
        for low in range(0, 50, 10):
            instants = PermitRun(0, 10_000_000, 50, 1, low, low + 10, 1).instants()
            for begin in range(0, 500_000, 100_000):
                part = [at for at in instants if begin <= at < begin + 100_000]
                assert 1 <= len(part) <= 3, (low, begin)


class TestAdaptiveRate:
    NOW = Instant(100 * SECOND)

    def test_throttling_halves_it_at_once(self) -> None:
        rate = AdaptiveRate(Limit(rate_milli=100_000))
        rate.on_throttled(self.NOW)
        assert rate.rate_milli(self.NOW) == 50_000

    def test_what_left_before_the_cut_does_not_cut_again(self) -> None:
        rate = AdaptiveRate(Limit(rate_milli=100_000))
        rate.on_throttled(self.NOW)
        rate.on_throttled(later(self.NOW, RATE_CUT_INTERVAL_MS - 1))
        assert rate.rate_milli(self.NOW) == 50_000
        rate.on_throttled(later(self.NOW, RATE_CUT_INTERVAL_MS))
        assert rate.rate_milli(self.NOW) == 25_000

    def test_it_never_reaches_nothing(self) -> None:
        rate = AdaptiveRate(Limit(rate_milli=100_000))
        for n in range(100):
            rate.on_throttled(later(self.NOW, n * RATE_CUT_INTERVAL_MS))
        assert rate.rate_milli(self.NOW) == 1

    def test_success_raises_it_slowly_up_to_the_limit(self) -> None:
        rate = AdaptiveRate(Limit(rate_milli=100_000))
        rate.on_throttled(self.NOW)
        after = later(self.NOW, RATE_CUT_INTERVAL_MS)
        rate.on_taken(after)
        assert rate.rate_milli(after) == 50_000 + 100_000 // RATE_RAISES_TO_FULL
        for _ in range(RATE_RAISES_TO_FULL):
            rate.on_taken(after)
        assert rate.rate_milli(after) == 100_000

    def test_success_right_after_a_cut_speaks_of_before(self) -> None:
        rate = AdaptiveRate(Limit(rate_milli=100_000))
        rate.on_throttled(self.NOW)
        rate.on_taken(self.NOW)
        assert rate.rate_milli(self.NOW) == 50_000

    @pytest.mark.parametrize(
        ("asked_ms", "pause_ms"), [(3_000, 3_000), (10**9, RATE_PAUSE_MS_MAX), (0, 0)]
    )
    def test_a_provider_that_asks_to_be_left_alone_is(self, asked_ms: int, pause_ms: int) -> None:
        rate = AdaptiveRate(Limit(rate_milli=100_000))
        rate.on_throttled(self.NOW, retry_after_ms=asked_ms)
        if pause_ms:
            assert rate.rate_milli(later(self.NOW, pause_ms - 1)) == 0
        assert rate.rate_milli(later(self.NOW, pause_ms)) == 50_000
        # Also when the clock is set back.
        assert rate.rate_milli(Instant(0)) == 50_000


class TestLimitBook:
    BOOK = LimitBook(
        limits={
            "connector:sms": Limit(rate_milli=100_000),
            "destination:smtp|*": Limit(rate_milli=10_000),
            "destination:smtp|example.com": Limit(concurrency=5),
            "sender:sms|ACME": Limit(rate_milli=1_000),
        }
    )

    @pytest.mark.parametrize(
        ("connector", "sender", "destination", "keys"),
        [
            ("sms", "", "+44", ["connector:sms"]),
            ("sms", "ACME", "+44", ["connector:sms", "sender:sms|ACME"]),
            ("smtp", "", "example.org", ["destination:smtp|example.org"]),
            ("smtp", "", "example.com", ["destination:smtp|example.com"]),
            ("push", "ACME", "x", []),
        ],
    )
    def test_what_a_message_needs(
        self, connector: str, sender: str, destination: str, keys: list[str]
    ) -> None:
        found = self.BOOK.keys_of(connector, sender=sender, destination=destination)
        assert list(found) == keys

    def test_a_name_counts_before_any(self) -> None:
        assert self.BOOK.limit_of("destination:smtp|example.com") == Limit(concurrency=5)
        assert self.BOOK.limit_of("destination:smtp|other") == Limit(rate_milli=10_000)
        assert self.BOOK.limit_of("connector:smtp") is None

    def test_which_connectors_are_limited(self) -> None:
        limited = [name for name in ("sms", "smtp", "s", "push") if self.BOOK.is_limited(name)]
        assert limited == ["sms", "smtp"]
