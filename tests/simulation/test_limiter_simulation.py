"""Schedulers and a limiter in one process and simulated time; what left is counted outside."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from math import ceil
from random import Random

import pytest

from pipeline.instant import Instant
from pipeline.limits import LIMITER_LEAD_MS, LIMITER_PERIOD_MS, LIMITER_SILENT_PERIODS_MAX
from pipeline.route.lease import PermitDesk
from pipeline.route.limiter import Demand, Grants, KeyDemand, PermitDealer, period_of
from pipeline.route.permits import Limit, LimitBook

SECOND = 1_000_000
KEY = "connector:sms"
TICK = 5_000
ASK_BEFORE = 30_000  # the question's way


class World:
    """Some schedulers, each with lanes of waiting messages, and a limiter."""

    def __init__(self, limit: Limit, schedulers: int = 4, *, begin: int = 1_000 * SECOND) -> None:
        self.book = LimitBook(limits={KEY: limit})
        self.now = Instant(begin)
        self.limiter: PermitDealer | None = PermitDealer(self.book, now=self.now)
        self.desks = {f"s{n}": PermitDesk(f"s{n}", [KEY]) for n in range(schedulers)}
        self.backlog: dict[tuple[str, str], int] = {}  # (scheduler, band)
        self.left: list[tuple[int, str, str]] = []  # (instant, scheduler, band)
        self.under_way: list[tuple[int, str]] = []  # (until, scheduler)
        self.answer_us = 0
        self.silent: set[str] = set()
        self._asked: set[str] = set()

    def run(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            if each is not None:
                each()
            self._round()
            self._send()
            self.now = Instant(self.now + TICK)

    def _round(self) -> None:
        limiter = self.limiter
        if limiter is None:
            return
        limiter.on_clock(self.now)
        if self.now >= limiter.next_decision_at - ASK_BEFORE:
            for name in self.desks.keys() - self._asked - self.silent:
                self._want(name)
                limiter.ask(self.desks[name].demand())
                self._asked.add(name)
        if self.now >= limiter.next_decision_at:
            for name, grants in limiter.decide().items():
                self.desks[name].on_grants(grants)
            self._asked = set()

    def _want(self, name: str) -> None:
        for (scheduler, band), count in self.backlog.items():
            if scheduler == name:
                self.desks[name].want(band, band, {KEY: count} if count else {})

    def _send(self) -> None:
        for until, name in [item for item in self.under_way if item[0] <= self.now]:
            self.under_way.remove((until, name))
            self.desks[name].done(KEY, 1, taken=1)
        for (name, band), count in list(self.backlog.items()):
            if name in self.silent:
                continue
            self._want(name)
            taken = self.desks[name].take(band, KEY, count, self.now)
            self.backlog[name, band] -= taken
            self.left += [(self.now, name, band)] * taken
            self.under_way += [(self.now + self.answer_us, name)] * taken

    def count(self, begin: int, end: int, band: str | None = None) -> int:
        return sum(begin <= at < end and band in (None, kind) for at, _, kind in self.left)

    def most_in_a_second(self) -> int:
        instants = [at for at, _, _ in self.left]
        return max(bisect_left(instants, at + SECOND) - n for n, at in enumerate(instants))


def test_a_limit_is_kept_in_every_second_and_used_by_whoever_has_the_work() -> None:
    world = World(Limit(rate_milli=100_000, burst=5))
    world.backlog["s2", "bulk-0"] = 10_000
    world.run(12)
    assert world.most_in_a_second() <= 105
    begin = world.left[0][0]
    for second in range(1, 10):
        assert world.count(begin + second * SECOND, begin + (second + 1) * SECOND) >= 95


def test_work_that_moves_from_one_scheduler_to_another_takes_its_permits_along() -> None:
    world = World(Limit(rate_milli=100_000, burst=10))
    for n in range(8):
        world.backlog[f"s{n % 4}", "bulk-0"] = 150
        world.run(1.7)
    world.run(2)
    assert world.most_in_a_second() <= 110
    assert not any(world.backlog.values())


@pytest.mark.parametrize("seed", range(12))
def test_a_limit_is_kept_whatever_is_asked_and_lost(seed: int) -> None:
    chance = Random(seed)
    burst = chance.choice([1, 3, 20])
    world = World(Limit(rate_milli=chance.choice([700, 7_000, 100_000, 997_000]), burst=burst))
    rate = world.book.limits[KEY].rate_milli
    assert rate is not None

    def disturb() -> None:
        if chance.random() < 0.02:
            name, band = f"s{chance.randrange(4)}", chance.choice(["urgent", "normal-1", "bulk-0"])
            world.backlog[name, band] = world.backlog.get((name, band), 0) + chance.randrange(500)
        if chance.random() < 0.01:
            world.silent = {f"s{n}" for n in range(4) if chance.random() < 0.3}
        if chance.random() < 0.003:
            world.limiter = PermitDealer(world.book, now=world.now)

    world.run(20, disturb)
    if world.left:
        assert world.most_in_a_second() <= ceil(rate / 1_000 + burst), f"seed {seed}"


def test_a_limiter_that_began_again_deals_nothing_twice() -> None:
    world = World(Limit(rate_milli=100_000, burst=1))
    world.backlog["s0", "bulk-0"] = 10_000
    world.run(3)
    for _ in range(5):
        world.limiter = PermitDealer(world.book, now=world.now)
        world.run(2.3)
    assert world.most_in_a_second() <= 101
    assert world.count(world.now - 2 * SECOND, world.now) > 50


def test_without_the_limiter_leases_end() -> None:
    world = World(Limit(rate_milli=100_000, burst=5))
    world.backlog["s0", "bulk-0"] = 10_000
    world.run(3)
    world.limiter, gone_at = None, world.now
    world.run(3)
    assert world.count(gone_at + 2 * LIMITER_PERIOD_MS * 1_000, world.now) == 0


def test_two_tenants_share_it_and_the_small_one_hardly_notices() -> None:
    alone, beside = (_latency_of_b(backlog_of_a) for backlog_of_a in (0, 200_000))
    assert beside <= 3 * alone
    assert beside <= 1.0


def _latency_of_b(backlog_of_a: int, band_a: str = "normal-1", band_b: str = "normal-2") -> float:
    """Return how long B's hundredth message waits behind a limit of 400 a second, in seconds."""
    world = World(Limit(rate_milli=400_000, burst=10))
    for n in range(4):
        world.backlog[f"s{n}", band_a] = backlog_of_a // 4
    world.run(3)
    came_at = world.now
    for n in range(4):
        world.backlog[f"s{n}", band_b] = 25
    world.run(4)
    assert world.count(came_at, world.now, band_b) == 100
    return (max(at for at, _, band in world.left if band == band_b) - came_at) / SECOND


def test_urgent_hardly_notices_bulk() -> None:
    alone = _latency_of_b(0, "bulk-1", "urgent")
    assert _latency_of_b(200_000, "bulk-1", "urgent") <= 1.5 * alone


def test_flows_share_by_weight_wherever_their_work_lies() -> None:
    world = World(Limit(rate_milli=200_000, burst=10))
    # One flow everywhere, one at a single scheduler beside it.
    for n in range(4):
        world.backlog[f"s{n}", "normal-1"] = 10_000
    world.backlog["s3", "normal-2"] = 10_000
    world.backlog["s0", "bulk-0"] = 10_000
    world.run(11)
    begin = world.now - 8 * SECOND
    counts = {band: world.count(begin, world.now, band) for band in ("normal-1", "normal-2")}
    assert counts["normal-1"] == pytest.approx(counts["normal-2"], rel=0.1)
    assert world.count(begin, world.now, "bulk-0") == pytest.approx(8 * 200 / 9, rel=0.2)


def test_an_idle_connector_takes_a_message_at_once() -> None:
    world = World(Limit(rate_milli=100_000, burst=10))
    world.run(3)
    world.backlog["s1", "normal-1"] = 1
    came_at = world.now
    world.run(1)
    assert world.left[0][0] - came_at <= 100_000


def test_a_steady_stream_waits_little() -> None:
    world = World(Limit(rate_milli=100_000, burst=10))
    world.run(2)
    waits: list[int] = []
    chance = Random(3)

    def one_more() -> None:
        if chance.random() < 0.4:  # 80 a second
            world.backlog["s1", "normal-1"] = world.backlog.get(("s1", "normal-1"), 0) + 1
        waits.append(sum(world.backlog.values()))

    world.run(20, one_more)
    assert sum(waits) / len(waits) < 40, "seed 3"


def test_throttling_lowers_the_rate_at_the_next_round() -> None:
    world = World(Limit(rate_milli=100_000, burst=1))
    world.backlog["s0", "bulk-0"] = 10_000
    world.run(3)
    world.desks["s0"].done(KEY, 0, throttled=1)
    world.run(2 * LIMITER_PERIOD_MS / 1_000)
    begin = world.now
    world.run(1)
    assert 45 <= world.count(begin, world.now) <= 60


class TestConcurrency:
    def _world(self, most: int) -> World:
        world = World(Limit(concurrency=most))
        world.answer_us = 200_000
        return world

    def test_no_more_are_under_way_than_may_be_wherever_the_work_goes(self) -> None:
        world = self._world(10)
        chance = Random(5)

        def move() -> None:
            assert len(world.under_way) <= 10, "seed 5"
            if chance.random() < 0.01:
                name = f"s{chance.randrange(4)}"
                world.backlog[name, "bulk-0"] = chance.randrange(100)
            if chance.random() < 0.01:
                world.silent = {f"s{n}" for n in range(4) if chance.random() < 0.2}

        world.run(30, move)
        assert len(world.left) > 300

    def test_who_has_the_work_gets_all_of_it(self) -> None:
        world = self._world(10)
        world.backlog["s2", "bulk-0"] = 10_000
        world.run(5)
        begin = world.now
        world.run(2)
        # Ten at a time, of a fifth of a second each.
        assert world.count(begin, world.now) >= 80

    def test_what_a_scheduler_held_that_is_gone_is_dealt_again(self) -> None:
        world = self._world(10)
        world.backlog["s0", "bulk-0"] = world.backlog["s1", "bulk-0"] = 10_000
        world.run(3)
        world.silent = {"s0", "s2", "s3"}
        world.run((LIMITER_SILENT_PERIODS_MAX + 3) * LIMITER_PERIOD_MS / 1_000)
        assert sum(name == "s1" for _, name in world.under_way) >= 9


def _demand(scheduler: str, waiting: Iterable[tuple[str, int]] = ()) -> Demand:
    return Demand(scheduler, 0, {KEY: KeyDemand(dict(waiting))})


def test_a_clock_that_was_set_back_stops_nobody_for_long() -> None:
    world = World(Limit(rate_milli=100_000, burst=5))
    world.backlog["s0", "bulk-0"] = 10_000
    world.run(3)
    world.now = Instant(world.now - 3_600 * SECOND)
    world.left.clear()
    world.run(3)
    assert world.count(world.now - SECOND, world.now) >= 95
    assert world.most_in_a_second() <= 105


def test_an_unknown_key_is_not_granted() -> None:
    limiter = PermitDealer(LimitBook(), now=Instant(0))
    limiter.ask(_demand("s0"))
    assert limiter.decide()["s0"].keys == {}


def test_ever_new_destinations_are_granted_though_there_is_room_for_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.route.limiter.LIMITER_KEYS_MAX", 16)
    limit = Limit(rate_milli=10_000)
    limiter = PermitDealer(LimitBook(limits={"destination:mail|*": limit}), now=Instant(0))
    for n in range(50):
        keys = [f"destination:mail|{n}-{m}.example" for m in range(16)]
        limiter.ask(Demand("s0", 0, {key: KeyDemand({"normal-1": 1}) for key in keys}))
        granted = limiter.decide()["s0"].keys
        if n:
            assert all(granted[key].run is not None for key in keys), n


@pytest.mark.parametrize(
    ("limit", "told", "most"),
    [
        pytest.param(Limit(rate_milli=17), {}, 0, id="a permit a minute"),
        pytest.param(Limit(rate_milli=10_000), {"throttled": 1}, 3, id="a rate that was cut"),
        pytest.param(Limit(concurrency=1), {"in_use": 1}, 0, id="messages under way"),
    ],
)
def test_a_destination_is_not_forgotten_while_it_would_be_granted_more_than_it_may(
    limit: Limit, told: dict[str, int], most: int
) -> None:
    key = "destination:mail|a.example"
    limiter = PermitDealer(LimitBook(limits={"destination:mail|*": limit}), now=Instant(0))
    limiter.ask(Demand("s0", 0, {key: KeyDemand({"normal-1": 1}, **told)}))
    assert key in limiter.decide()["s0"].keys
    for _ in range(3):
        limiter.ask(Demand("s0", 0, {}))
        limiter.decide()
    limiter.ask(Demand("s1", 0, {key: KeyDemand({"normal-1": 20})}))
    grant = limiter.decide()["s1"].keys[key]
    run = [] if grant.run is None else grant.run.instants()
    assert (grant.concurrency or len(run)) <= most


def test_only_those_who_ask_are_answered() -> None:
    limiter = PermitDealer(LimitBook(limits={KEY: Limit(rate_milli=100_000)}), now=Instant(0))
    limiter.ask(_demand("s0", [("urgent", 5)]))
    first = limiter.decide()
    assert list(first) == ["s0"]
    assert limiter.decide() == {}


def test_a_period_is_decided_before_it_begins() -> None:
    now = Instant(77 * SECOND + 123)
    limiter = PermitDealer(LimitBook(), now=now)
    limiter.ask(_demand("s0"))
    decision_at = limiter.next_decision_at
    assert decision_at > now
    grants: Grants = limiter.decide()["s0"]
    assert grants.starts_at - decision_at == LIMITER_LEAD_MS * 1_000
    assert grants.ends_at - grants.starts_at == LIMITER_PERIOD_MS * 1_000
    # One before it, that decided just now, dealt for an earlier period.
    assert grants.period > period_of(now)
