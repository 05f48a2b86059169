"""What was put off as often as it can be is not put off again; but its end comes all the same."""

import pytest

from pipeline.command import CommandKind
from pipeline.instant import later
from pipeline.lane import actions as act
from pipeline.lane.past import Past
from pipeline.later import GroupOrder
from pipeline.lifecycle import ATTEMPTS_MAX, Event, step_of
from tests.support.commanded import Commanded, commanded
from tests.support.gates import gate_of
from tests.support.lane_story import GROUP, NOW, WINDOWS, LaneStory, id_of, pk_of

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


@pytest.mark.parametrize("fallback", [(), ("second",)])
def test_what_a_provider_defers_at_the_last_attempt_has_failed(fallback: tuple[str, ...]) -> None:
    story = LaneStory(gate=gate_of(fallback=fallback))
    # Its lane had put it off until then, which counts for nothing against it.
    story.answer_read([story.row("a", attempt=ATTEMPTS_MAX)])
    story._take(act.ReadFolds)
    story.lane.on_folds([id_of("a")], {id_of("a"): LAST}, {id_of("a"): Past(unseen=254)})
    story.tell("+0 bodies:a CLAIM:a applied HAND:a deferred NOKEEP SAYS:a=REFUSE")
    assert story.entry is not None
    assert "given up after 1 attempts" in story.entry.details[0]


def test_what_a_connector_refuses_at_the_last_attempt_goes_to_no_other() -> None:
    story = LaneStory(gate=gate_of(fallback=("second",)))
    story.answer_read([story.row("a", attempt=ATTEMPTS_MAX)])
    story._take(act.ReadFolds)
    story.lane.on_folds([id_of("a")], {id_of("a"): LAST}, {id_of("a"): Past(unseen=254)})
    story.tell("+0 bodies:a CLAIM:a applied HAND:a refused NOKEEP SAYS:a=REFUSE")
