"""A lane whose connector has a limit, with a real dealer of permits, in virtual time."""

from collections.abc import Iterable

import pytest

from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.lane.admission import Admission
from pipeline.lane.lane import Lane
from pipeline.lifecycle import Event
from pipeline.limits import Windows
from pipeline.message import Body, MessageId, PartitionKey
from pipeline.outcome import Outcomes
from pipeline.route.lease import PermitDesk
from pipeline.route.limiter import PermitDealer
from pipeline.route.permits import Limit, LimitBook
from pipeline.route.retry_policy import RetryPolicy
from tests.support.fake_clock import NOW
from tests.support.gates import LANE, NoLists, gate_of
from tests.support.lane_story import GROUP, NoJitter, fresh
from tests.support.lane_world import body_of
from tests.support.no_commands import answer_no_commands

KEY = "connector:file"
WINDOWS = Windows(claims_open_max=64)


class LimitedLane:
    """Everything between a row and a hand-over, where each hand-over is taken at once."""

    def __init__(self, limit: Limit, *, takes_ms: int = 0) -> None:
        self.now = NOW
        self.takes_ms = takes_ms
        book = LimitBook(limits={KEY: limit})
        self.desk = PermitDesk("me", [KEY])
        self.dealer = PermitDealer(book, now=NOW)
        self.lane = Lane(
            fresh(windows=WINDOWS),
            windows=WINDOWS,
            gate=gate_of(),
            admission=Admission(LANE, book=book, desk=self.desk),
            lists=NoLists(),
            retry_policy=RetryPolicy(),
            chance=NoJitter(),
            now=NOW,
        )
        self.left_at: list[Instant] = []
        self.windows: list[int] = []
        self.appends_count = 0
        self.under_way: list[tuple[Instant, int, int]] = []

    def ring(self, numbers: Iterable[int], *, body: Body | None = None) -> None:
        ids = [MessageId(number.to_bytes(16)) for number in numbers]
        self.lane.on_doorbell(
            message_ids=ids,
            partition_keys=[PartitionKey(id_) for id_ in ids],
            borns=[self.now] * len(ids),
            groups=[GROUP] * len(ids),
            bodies=[body or body_of("x")] * len(ids),
        )

    def run(self, duration_ms: int) -> None:
        """Let time pass a millisecond at a time."""
        for _ in range(duration_ms):
            self.now = later(self.now, 1)
            if self.now >= self.dealer.next_decision_at:
                self.dealer.ask(self.desk.demand())
                self.desk.on_grants(self.dealer.decide()["me"])
            self._answer()
            while self._decide():
                pass

    def _answer(self) -> None:
        for item in [item for item in self.under_way if item[0] <= self.now]:
            self.under_way.remove(item)
            taken = Outcomes.all_alike(Event.TAKE, item[2])
            self.lane.on_outcomes(item[1], taken, now=self.now)

    def _decide(self) -> bool:
        """Answer what the lane wants done; return whether there was any."""
        actions = self.lane.decide(self.now)
        for action in actions:
            answer_no_commands(self.lane, action, now=self.now)
            if isinstance(action, act.Append):
                self.appends_count += 1
                self.lane.on_applied(action.seq, now=self.now)
            elif isinstance(action, act.HandOverWindow):
                count = len(action.message_ids)
                self.windows.append(count)
                self.left_at.extend([self.now] * count)
                self.under_way.append((later(self.now, self.takes_ms), action.seq, count))
            elif isinstance(action, act.Project):
                self.lane.projection.on_projected()
        return bool(actions)


def most_in_a_second(instants: list[Instant]) -> int:
    return max(
        (sum(begin <= at < begin + 1_000_000 for at in instants) for begin in instants), default=0
    )


def test_no_second_sees_more_than_the_rate_and_the_burst_and_hardly_a_permit_is_lost() -> None:
    world = LimitedLane(Limit(rate_milli=100_000, burst=5))
    world.ring(range(256))
    world.run(4_000)
    assert most_in_a_second(world.left_at) <= 105
    # The limiter waits for what another one may have dealt before it began.
    steady = [at for at in world.left_at if later(NOW, 1_500) <= at < later(NOW, 2_500)]
    assert len(steady) >= 95
    assert len(world.left_at) == 256, "and all leave in the end"


def test_permits_that_come_one_by_one_are_used_several_at_a_time() -> None:
    world = LimitedLane(Limit(rate_milli=200_000, burst=20))
    world.ring(range(256))
    world.run(4_000)
    assert len(world.left_at) == 256
    # One comes every 5 ms, and is left lying for up to 25 ms.
    assert len(world.windows) < 256 / 4


def test_whoever_comes_alone_waits_for_no_others() -> None:
    world = LimitedLane(Limit(rate_milli=200_000, burst=20))
    world.run(1_500)
    for number in range(10):
        world.ring([number])
        world.run(2)
        assert len(world.left_at) == number + 1


def test_permits_that_end_at_once_are_not_left_lying() -> None:
    world = LimitedLane(Limit(rate_milli=200_000, burst=1))
    world.ring(range(256))
    world.run(4_000)
    steady = [at for at in world.left_at if later(NOW, 1_200) <= at < later(NOW, 2_200)]
    assert len(steady) >= 190


def test_what_has_expired_needs_no_permit_to_end() -> None:
    world = LimitedLane(Limit(rate_milli=10_000, burst=5))
    expiring = body_of("x", expires_at=later(NOW, 1_000))
    world.ring(range(50), body=expiring)
    world.now = later(NOW, 1_000)
    world.run(1_000)
    assert world.left_at == []
    assert world.lane.backlog_count == 0
    assert world.appends_count < 10


def test_no_more_are_under_way_than_there_may_be() -> None:
    world = LimitedLane(Limit(concurrency=3), takes_ms=50)
    world.ring(range(60))
    most = 0
    for _ in range(4_000):
        world.run(1)
        most = max(most, sum(count for _, _, count in world.under_way))
    assert most == 3
    assert len(world.left_at) == 60


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "open"])
def test_a_lane_that_is_over_gives_back_what_it_held(is_closed: bool) -> None:
    world = LimitedLane(Limit(concurrency=3), takes_ms=3_600_000)
    world.ring(range(10))
    world.run(3_000)
    assert len(world.left_at) == 3
    if is_closed:
        world.lane.close()
    assert (world.desk.demand().keys[KEY].in_use == 0) is is_closed


def test_without_an_answer_of_the_limiter_nothing_leaves() -> None:
    world = LimitedLane(Limit(rate_milli=100_000, burst=5))
    world.ring(range(10))
    for _ in range(2_000):
        world.now = later(world.now, 1)
        world._decide()
    assert world.left_at == []
