"""The cursor of timers, which passes one only when it is resolved."""

from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.lane.timers import Timers
from pipeline.later import TimerPage
from pipeline.limits import Windows
from pipeline.message import MessageId, PartitionKey, TimerRow
from tests.support.fake_clock import NOW

ID = MessageId(b"m" * 16)


def timer(due_at: int) -> TimerRow:
    return Instant(due_at), ID, PartitionKey(ID), NOW, 1, "default/g"


def read(timers: Timers, now: Instant, *due: int) -> Instant:
    """Read a slice with timers due then; return its end."""
    [action] = timers.decide(now, room=10)
    assert isinstance(action, act.ReadTimers)
    timers.on_timers(TimerPage([timer(due_at) for due_at in due], None))
    return action.through_due


def test_a_timer_that_the_owner_wrote_itself_does_not_hide_behind_those_it_read() -> None:
    timers = Timers(cursor=Instant(NOW - 1), windows=Windows(), now=NOW)
    end = read(timers, NOW, NOW + 200)
    timers.on_writing([timer(NOW + 100)])
    assert timers.on_journaled(timer(NOW + 100)), "its slice was read before it was written"
    assert timers.resolved_before(lambda _id, _attempt: False) == NOW + 100
    timers.forget_resolved(lambda _id, _attempt: False)
    assert timers.resolved_before(lambda _id, _attempt: False) == NOW + 100
    assert timers.resolved_before(lambda _id, _attempt: True) == end


def test_a_timer_holds_the_cursor_from_its_writing_on_until_an_entry_names_it() -> None:
    timers = Timers(cursor=Instant(NOW - 1), windows=Windows(), now=NOW)
    end = read(timers, NOW)
    timers.on_writing([timer(end + 100)])
    much_later = later(NOW, 3_600_000)
    assert read(timers, much_later) > end + 100
    assert timers.resolved_before(lambda _id, _attempt: True) == end + 100
    assert timers.on_journaled(timer(end + 100))
    assert timers.resolved_before(lambda _id, _attempt: False) == end + 100
    assert timers.resolved_before(lambda _id, _attempt: True) > end + 100


def test_a_timer_far_ahead_costs_no_memory_once_it_is_journaled() -> None:
    timers = Timers(cursor=Instant(NOW - 1), windows=Windows(), now=NOW)
    read(timers, NOW)
    far = timer(later(NOW, 3_600_000))
    timers.on_writing([far])
    assert not timers.on_journaled(far), "it will be read"
    assert timers.held_count == 0
