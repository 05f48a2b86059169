"""What a session's keeper does and tells, with a session that is told how things are."""

from typing import Any, NamedTuple
from uuid import UUID, uuid1

import pytest

from cluster.scylla.clock_skew import Skew, clock_fault, measure_skews
from cluster.scylla.keeper import SessionKeeper
from pipeline.errors import StoreUnavailable
from tests.support.fake_clock import FakeClock

SKEW_MS_MAX = 500
_EPOCH_TICKS = 0x01B21DD213814000


class Host(NamedTuple):
    address: str


class Session:
    """A session whose nodes and connections are as a test says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.up = ["10.0.0.1", "10.0.0.2"]
        self.down: list[str] = []
        self.is_ready = True
        self.healed_count = 0
        self.ahead_us = 0
        self.took_us = [0]
        self.is_slow_there = False
        self.silent: set[str] = set()

    async def heal_shards(self) -> None:
        self.healed_count += 1

    def shards_ready(self) -> bool:
        return self.is_ready

    def nodes_down(self) -> list[str]:
        return self.down

    def hosts_up(self) -> list[Host]:
        return [Host(address) for address in self.up]

    async def read(self, name: str, parameters: Any, *, host: Host) -> list[tuple[UUID]]:
        assert name == "select_now"
        if host.address in self.silent:
            raise StoreUnavailable("it went away")
        took_us = self.took_us.pop(0) if len(self.took_us) > 1 else self.took_us[0]
        # The time is spent on the way there, or on the way back.
        if self.is_slow_there:
            self.clock.advance(took_us // 1_000)
        at = self.clock.now() + self.ahead_us
        if not self.is_slow_there:
            self.clock.advance(took_us // 1_000)
        return [(_time_id(at),)]


def _time_id(at: int) -> UUID:
    ticks = at * 10 + _EPOCH_TICKS
    fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 | 0x1000, 0x80, 0, 1)
    return UUID(fields=fields)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session(clock: FakeClock) -> Session:
    return Session(clock)


def keeper_of(session: Session) -> SessionKeeper:
    return SessionKeeper(
        session,  # type: ignore[arg-type]
        clock=session.clock,
        skew_ms_max=SKEW_MS_MAX,
    )


async def test_every_look_heals_and_all_being_well_tells_nothing(session: Session) -> None:
    keeper = keeper_of(session)
    for count in (1, 2):
        await keeper.look(is_clock_due=True)
        assert session.healed_count == count
    assert (keeper.warnings(), keeper.refusal()) == ([], None)


async def test_a_node_that_goes_away_is_a_warning_until_it_is_back(session: Session) -> None:
    keeper = keeper_of(session)
    session.down = ["10.0.0.2"]
    await keeper.look(is_clock_due=False)
    [told] = keeper.warnings()
    assert told.startswith("node 10.0.0.2 does not answer: work goes on")
    assert keeper.refusal() is None
    session.down = []
    await keeper.look(is_clock_due=False)
    assert keeper.warnings() == []


async def test_connections_that_stay_away_are_told_and_those_being_made_are_not(
    session: Session,
) -> None:
    keeper = keeper_of(session)
    session.is_ready = False
    for _ in range(2):
        await keeper.look(is_clock_due=False)
    assert keeper.warnings() == []
    await keeper.look(is_clock_due=False)
    assert "not every core of the nodes has a connection" in keeper.warnings()[0]
    session.is_ready = True
    await keeper.look(is_clock_due=False)
    assert keeper.warnings() == []


@pytest.mark.parametrize("ahead_us", [600_000, -600_000])
async def test_nothing_is_accepted_while_a_clock_is_too_far_off(
    session: Session, ahead_us: int
) -> None:
    keeper = keeper_of(session)
    session.ahead_us = ahead_us
    await keeper.look(is_clock_due=True)
    refusal = keeper.refusal()
    assert refusal is not None
    assert "clock_skew_ms_max is 500: set the clocks right" in refusal
    assert ("ahead of" if ahead_us > 0 else "behind") in refusal
    assert keeper.warnings() == [refusal]
    session.ahead_us = 0
    await keeper.look(is_clock_due=False)
    assert keeper.refusal() == refusal  # nobody measured
    await keeper.look(is_clock_due=True)
    assert keeper.refusal() is None


@pytest.mark.parametrize("is_slow_there", [True, False])
async def test_an_answer_that_took_long_says_nothing_of_a_clock(
    session: Session, is_slow_there: bool
) -> None:
    session.took_us = [2_000_000]
    session.is_slow_there = is_slow_there
    skews = await measure_skews(session, clock=session.clock)  # type: ignore[arg-type]
    assert [skew.certain_ms for skew in skews] == [0, 0]
    assert clock_fault(skews, skew_ms_max=SKEW_MS_MAX) is None


async def test_of_several_answers_the_quickest_counts(session: Session) -> None:
    session.up = ["10.0.0.1"]
    session.ahead_us = 600_000
    session.took_us = [2_000_000, 1_000, 2_000_000]
    [skew] = await measure_skews(session, clock=session.clock)  # type: ignore[arg-type]
    assert 598 <= skew.certain_ms <= 600


async def test_a_node_that_does_not_answer_has_no_clock(session: Session) -> None:
    session.silent = {"10.0.0.1"}
    skews = await measure_skews(session, clock=session.clock)  # type: ignore[arg-type]
    assert [skew.node for skew in skews] == ["10.0.0.2"]


def test_the_worst_clock_is_told() -> None:
    skews = [Skew("a", 510_000, 520_000), Skew("b", -900_000, -700_000), Skew("c", 0, 1)]
    told = clock_fault(skews, skew_ms_max=SKEW_MS_MAX)
    assert told is not None
    assert told.startswith("the clock of node b is at least 700 ms behind this machine's")
    assert clock_fault([], skew_ms_max=SKEW_MS_MAX) is None


def test_a_time_id_is_what_a_server_gives() -> None:
    made = uuid1()
    assert _time_id((made.time - _EPOCH_TICKS) // 10).time == made.time // 10 * 10
