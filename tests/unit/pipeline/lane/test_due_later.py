"""What waits in memory is due at the time that was said last, whatever was said before."""

from pipeline.instant import Instant, later
from pipeline.lane.due_later import DueLater
from pipeline.lane.window import Candidate
from pipeline.message import PartitionKey
from tests.support.commanded import commanded
from tests.support.lane_story import GROUP, NOW, id_of

A = id_of("a")


def due(at_ms: int) -> Candidate:
    return Candidate(PartitionKey(A), NOW, GROUP, None, None, later(NOW, at_ms))


def test_what_an_edit_puts_off_does_not_leave_at_the_time_before() -> None:
    story = commanded()
    story.tell("due:a=60000 row:a")
    story.ask("edit", "a", due_at=later(NOW, 120_000)).written()
    story.tell("SAYS:a=DEFER applied settle +1000 due:a=118999 row2:a")
    story.tell("+60000 NOBODIES +58999 BODIES:a bodies:a applied CLAIM:a")


def test_only_its_newest_time_brings_a_message_back() -> None:
    waiting = DueLater()
    for at_ms in (1_000, 3_000, 2_000, 3_000):
        waiting.withdraw(A)
        waiting.add(A, due(at_ms))
    assert waiting.take_due(later(NOW, 2_999), room=9) == []
    assert waiting.take_due(later(NOW, 3_000), room=9) == [(A, due(3_000))]
    assert not waiting.is_due(Instant(later(NOW, 9_000)))


def test_what_is_put_off_again_and_again_takes_one_place() -> None:
    waiting = DueLater()
    for at_ms in range(10_000, 0, -1):
        waiting.withdraw(A)
        waiting.add(A, due(100_000 + at_ms))
    assert len(waiting) == 1
    assert len(waiting._due) < 200
