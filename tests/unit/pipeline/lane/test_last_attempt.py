"""What was put off as often as it can be is not put off again; but its end comes all the same."""

import pytest

from pipeline.command import CommandKind
from pipeline.instant import later
from pipeline.later import GroupOrder
from pipeline.lifecycle import ATTEMPTS_MAX, Event, step_of
from tests.support.commanded import Commanded, commanded
from tests.support.lane_story import GROUP, NOW, WINDOWS, id_of, pk_of

H = WINDOWS.near_horizon_ms
LAST = step_of(attempt=ATTEMPTS_MAX - 1, try_no=1, event=Event.DEFER)


def stopped(kind: CommandKind) -> Commanded:
    """Tell of a group that is stopped, and of a message that waits for its last attempt."""
    story = commanded()
    story.orders = [GroupOrder(GROUP, kind, NOW, b"o" * 16, "ada")]
    story.lane.decisions.on_orders(story.orders)
    story.tell("expiring:a=30000")
    story.answer_read([story.row("a", attempt=ATTEMPTS_MAX)])
    return story.tell(f"folds:a=DEFER/{ATTEMPTS_MAX - 1} bodies:a")


def test_it_is_cancelled_with_its_group() -> None:
    stopped(CommandKind.CANCEL).tell("SAYS:a=CANCEL")


def test_it_expires_while_its_group_is_paused() -> None:
    stopped(CommandKind.PAUSE).tell("+29999 applied +1 SAYS:a=EXPIRE")


@pytest.mark.parametrize(("kind", "count"), [("cancel", 1), ("expedite", 0)])
def test_it_is_cancelled_with_its_group_from_afar(kind: str, count: int) -> None:
    story = commanded()
    story.known_folds = {id_of("a"): LAST}
    due_at = later(NOW, 10 * H)
    story.timers = [(due_at, id_of("a"), pk_of("a"), NOW, ATTEMPTS_MAX, GROUP)]
    story.ask_group(kind)
    story.tell("SAYS:a=CANCEL applied" if count else "+0")
    assert story.answers[0].counts == {"messages": count}
