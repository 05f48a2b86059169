"""The cursor of timers, which passes one only when it is resolved."""

from pipeline.instant import Instant
from pipeline.lane import actions as act
from pipeline.lane.timers import Timers
from pipeline.later import TimerPage
from pipeline.limits import Windows
from pipeline.message import MessageId, PartitionKey, TimerRow
from tests.support.fake_clock import NOW

ID = MessageId(b"m" * 16)


def timer(due_at: int) -> TimerRow:
    return Instant(due_at), ID, PartitionKey(ID), NOW, 1, "default/g"


def test_a_timer_that_the_owner_wrote_itself_does_not_hide_behind_those_it_read() -> None:
    timers = Timers(cursor=Instant(NOW - 1), windows=Windows(), now=NOW)
    [read] = timers.decide(NOW, room=10)
    assert isinstance(read, act.ReadTimers)
    timers.on_timers(TimerPage([timer(NOW + 200)], None))
    timers.hold(timer(NOW + 100))
    assert timers.resolved_before(lambda _id, _attempt: False) == NOW + 100
    timers.forget_resolved(lambda _id, _attempt: False)
    assert timers.resolved_before(lambda _id, _attempt: False) == NOW + 100
    assert timers.resolved_before(lambda _id, _attempt: True) == read.through_due
