import pytest

from pipeline.instant import Instant
from pipeline.limits import DEMAND_KEYS_MAX
from pipeline.route.lease import Lease, PermitDesk
from pipeline.route.limiter import Grant, Grants, KeyDemand
from pipeline.route.permits import PermitRun

CONNECTOR = "connector:smtp"
SECOND = 1_000_000
HALF = 500_000


def _run(count: int, *, start: int = 0, valid_us: int = 50_000) -> PermitRun:
    """Return permits at ten milliseconds from each other."""
    return PermitRun(start * 1_000, 10_000_000, count, 1, 0, count, valid_us)


def _grant(count: int, *, start: int = 0, concurrency: int | None = None) -> Grant:
    return Grant(_run(count, start=start), True, concurrency, {})


class TestLease:
    def test_permits_come_one_by_one_and_end(self) -> None:
        lease = Lease()
        lease.renew(_grant(50), ends_at=Instant(HALF))
        assert lease.take(10, Instant(0)) == 1
        assert lease.take(10, Instant(9_999)) == 0
        assert lease.next_at(Instant(9_999)) == 10_000
        assert lease.take(10, Instant(10_000)) == 1
        # Five are there at most, as each may be used for fifty milliseconds.
        assert lease.permits(Instant(300_000)) == 5
        assert lease.take(3, Instant(300_000)) == 3
        assert lease.permits(Instant(300_000)) == 2
        assert lease.permits(Instant(HALF + 50_000)) == 0
        assert lease.next_at(Instant(HALF)) is None

    def test_the_next_half_second_follows_on_the_one_before(self) -> None:
        lease = Lease()
        lease.renew(_grant(50), ends_at=Instant(HALF))
        lease.renew(_grant(50, start=HALF), ends_at=Instant(SECOND))
        assert lease.permits(Instant(HALF + 20_000)) == 5

    def test_a_clock_that_was_set_back_does_not_hide_what_comes(self) -> None:
        lease = Lease()
        lease.renew(_grant(50, start=3_600 * SECOND), ends_at=Instant(3_600 * SECOND + HALF))
        lease.renew(_grant(50), ends_at=Instant(HALF))
        assert lease.take(10, Instant(20_000)) == 3

    def test_what_is_under_way_is_bounded_until_it_is_done(self) -> None:
        lease = Lease()
        lease.renew(Grant(None, False, 3, {}), ends_at=Instant(HALF))
        assert lease.take(10, Instant(1)) == 3
        assert lease.take(10, Instant(2)) == 0
        lease.done(2)
        assert lease.take(10, Instant(3)) == 2
        lease.done(9)
        assert lease.in_use == 0

    def test_a_lease_that_is_not_renewed_ends(self) -> None:
        lease = Lease()
        lease.renew(Grant(None, False, 3, {}), ends_at=Instant(HALF))
        assert lease.permits(Instant(HALF - 1)) == 3
        assert lease.permits(Instant(HALF)) == 0

    def test_both_limits_count(self) -> None:
        lease = Lease()
        lease.renew(_grant(50, concurrency=2), ends_at=Instant(HALF))
        assert lease.take(10, Instant(200_000)) == 2
        lease.done(2)
        assert lease.take(10, Instant(200_000)) == 2

    def test_without_a_grant_there_is_nothing(self) -> None:
        assert Lease().take(1, Instant(1)) == 0


def _desk(**grants: Grant) -> PermitDesk:
    desk = PermitDesk("s0", [CONNECTOR])
    keys = {
        CONNECTOR if name == "connector" else f"destination:smtp|{name}": grant
        for name, grant in grants.items()
    }
    desk.on_grants(Grants(1, 0, HALF, keys))
    return desk


NOW = Instant(45_000)  # five permits of each run are there


class TestPermitDesk:
    def test_a_message_needs_a_permit_of_each_of_its_keys(self) -> None:
        slow, fast = "destination:smtp|slow", "destination:smtp|fast"
        desk = _desk(connector=_grant(50), slow=Grant(None, False, 1, {}), fast=_grant(50))
        keys = [(CONNECTOR, slow)] * 3 + [(CONNECTOR, fast)] * 3 + [(CONNECTOR,)] * 3
        # One to the slow place, and it holds up nobody behind it.
        assert desk.admit("lane", keys, NOW) == [0, 3, 4, 5, 6]
        assert desk.admit("lane", keys, NOW) == []

    def test_a_key_that_was_never_granted_lets_nothing_through(self) -> None:
        desk = _desk(connector=_grant(50))
        assert desk.admit("lane", [("destination:smtp|new",), (CONNECTOR,)], NOW) == [1]

    def test_a_window_of_one_key_takes_what_is_there(self) -> None:
        desk = _desk(connector=_grant(50))
        assert desk.admit("lane", [(CONNECTOR,)] * 9, NOW) == [0, 1, 2, 3, 4]
        assert desk.admit("lane", [], NOW) == []

    def test_its_lanes_take_turns(self) -> None:
        desk = _desk(connector=Grant(None, False, 20, {}))
        desk.want("a", "normal-1", {CONNECTOR: 1_000})
        desk.want("b", "normal-2", {CONNECTOR: 1_000})
        assert desk.take("a", CONNECTOR, 1_000, NOW) == 10
        assert desk.take("b", CONNECTOR, 1_000, NOW) == 10

    def test_urgent_comes_before_bulk(self) -> None:
        desk = _desk(connector=Grant(None, False, 17, {}))
        desk.want("a", "bulk-1", {CONNECTOR: 1_000})
        desk.want("b", "urgent", {CONNECTOR: 1_000})
        assert desk.take("a", CONNECTOR, 1_000, NOW) == 1
        assert desk.take("b", CONNECTOR, 1_000, NOW) == 16

    def test_what_came_after_the_question_is_worth_what_the_others_are(self) -> None:
        desk = PermitDesk("s0", [CONNECTOR])
        desk.want("a", "normal-1", {CONNECTOR: 1_000})
        grant = Grant(None, False, 20, {"normal-1": 500})
        desk.on_grants(Grants(1, 0, HALF, {CONNECTOR: grant}))
        desk.want("b", "normal-2", {CONNECTOR: 1_000})
        assert desk.take("b", CONNECTOR, 1_000, NOW) == 10

    def test_two_lanes_of_a_band_have_one_part_together(self) -> None:
        desk = _desk(connector=Grant(None, False, 20, {}))
        for lane, band in (("a", "normal-1"), ("b", "normal-1"), ("c", "normal-2")) * 2:
            desk.want(lane, band, {CONNECTOR: 1_000})
        assert desk.take("c", CONNECTOR, 1_000, NOW) == 10

    def test_the_question_tells_what_waits_and_what_happened_once(self) -> None:
        desk = _desk(connector=_grant(50))
        desk.want("a", "normal-1", {CONNECTOR: 7})
        desk.want("b", "normal-1", {CONNECTOR: 5, "destination:smtp|x": 2})
        desk.want("c", "urgent", {CONNECTOR: 1})
        desk.take("c", CONNECTOR, 1, NOW)
        desk.done(CONNECTOR, 1, taken=1, throttled=0)
        desk.done(CONNECTOR, 0, throttled=2, retry_after_ms=500)
        desk.want("c", "urgent", {})
        demand = desk.demand()
        assert demand.scheduler == "s0"
        assert demand.seen_period == 1
        assert demand.keys == {
            CONNECTOR: KeyDemand({"normal-1": 12}, 0, 1, 2, 500),
            "destination:smtp|x": KeyDemand({"normal-1": 2}),
        }
        assert desk.demand().keys[CONNECTOR] == KeyDemand({"normal-1": 12})

    def test_its_connectors_are_asked_for_before_there_is_work(self) -> None:
        assert PermitDesk("s0", [CONNECTOR]).demand().keys == {CONNECTOR: KeyDemand({})}

    def test_of_very_many_keys_each_has_its_turn_to_be_asked_for(self) -> None:
        desk = PermitDesk("s0", [CONNECTOR])
        names = {f"destination:smtp|{n:04}" for n in range(2 * DEMAND_KEYS_MAX + 5)}
        desk.want("a", "normal-1", dict.fromkeys(names, 1))
        asked: set[str] = set()
        for _ in range(3):
            keys = desk.demand().keys.keys()
            assert len(keys) <= DEMAND_KEYS_MAX + 1
            assert CONNECTOR in keys
            asked |= keys
        assert asked == names | {CONNECTOR}

    @pytest.mark.parametrize(("now", "next_at"), [(0, 10_000), (495_000, None)])
    def test_it_says_when_to_ask_again(self, now: int, next_at: int | None) -> None:
        desk = _desk(connector=_grant(50), slow=Grant(None, False, 1, {}))
        keys = [CONNECTOR, "destination:smtp|slow", "destination:smtp|unknown"]
        assert desk.next_at(keys, Instant(now)) == next_at
