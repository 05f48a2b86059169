"""What becomes of commands: one message, a group, and whatever happens meanwhile."""

import pytest

from pipeline.command import CommandBody, Verdict, encode_command
from pipeline.instant import Instant, earlier, later
from pipeline.lane import actions as act
from pipeline.lane.entry import CommandAnswer
from pipeline.later import CommandEntry, CommandPage, GroupOrder
from pipeline.lifecycle import Event, Step, step_of
from pipeline.message import AT_ONCE, MessageId, PartitionKey
from pipeline.outcome import ProviderClass
from tests.support.commanded import Commanded, commanded
from tests.support.gates import gate_of
from tests.support.lane_story import GROUP, NOW, WINDOWS, fresh, id_of, name_of
from tests.support.lane_world import body_of

H = WINDOWS.near_horizon_ms


def test_what_nobody_has_seen_yet_can_be_cancelled_and_is_never_claimed() -> None:
    story = commanded().ask("cancel", "a", detail="a typing error")
    story.tell("SAYS:a=CANCEL")
    assert story.answers == [CommandAnswer(b"\1" * 16, Verdict.DONE, "", {})]
    assert story.entry is not None
    assert story.entry.timeline_rows()[0][4] == "cancelled by ada: a typing error"
    story.tell("applied ring:a row:a NOCLAIM NOBODIES")


def test_the_cursor_is_in_the_entry_that_carries_the_command_out() -> None:
    story = commanded().ask("cancel", "a").ask("cancel", "b")
    (first, _), (second, _) = story.commands
    assert story.entry is not None
    assert story.entry.checkpoint is not None
    assert story.entry.checkpoint.command_cursor == first
    story.tell("applied")
    assert story.entry.checkpoint is not None
    assert story.entry.checkpoint.command_cursor == second


def test_the_answer_is_written_and_the_entry_retires_after_that() -> None:
    story = commanded(borns={"a": Instant(NOW - 60_000_000)}).ask("cancel", "a")
    story.tell("applied settle")
    asked = story.asked_for(act.WriteAnswers)
    assert [answer.verdict for answer in asked.answers] == [Verdict.DONE]
    for _ in range(8):
        story.tell("+1000 row settle")
    assert story.lane._checkpoints.retired_through == -1
    story._take(act.WriteAnswers)
    story.lane.projection.on_answers_failed(now=story.now)
    story.tell("+1000")
    story._take(act.WriteAnswers)
    story.lane.projection.on_answers_written()
    for _ in range(4):
        story.tell("+1000 row settle")
    assert story.lane._checkpoints.retired_through >= 0


@pytest.mark.parametrize("kind", ["cancel", "edit", "expedite", "pause", "resume"])
def test_what_is_claimed_or_gone_answers_too_late(kind: str) -> None:
    story = commanded()
    story.tell("ring:a CLAIM:a applied HAND:a")
    story.ask(kind, "a")
    assert story.verdicts == [Verdict.TOO_LATE]
    story.tell("applied took SAYS:a=TAKE applied")
    story.ask(kind, "a")
    assert story.verdicts == [Verdict.TOO_LATE]
    assert "sent" in story.answers[0].detail


def test_while_it_is_judged_a_message_is_not_claimed() -> None:
    story = commanded()
    story.answers_rulings = False
    story.ask("cancel", "a")
    story._take(act.ReadCommands)
    story.lane.decisions.on_commands(CommandPage(story.commands, None), through=story.now)
    story.tell("ring:a,b CLAIM:b")
    asked = story._take(act.ReadRuledFolds)
    story.lane.decisions.on_folds([id_ for _, id_ in asked.keys], {}, {})
    story.tell("+1 applied SAYS:a=CANCEL applied row:a,b NOCLAIM")


def test_before_the_predecessors_commands_are_read_nothing_is_claimed() -> None:
    story = commanded(answers_rulings=False)
    story.tell("ring:a NOCLAIM")
    story._take(act.ReadGroupOrders)
    story.lane.decisions.on_orders([])
    story.tell("+1 NOCLAIM")
    story._take(act.ReadCommands)
    story.lane.decisions.on_commands(CommandPage([], None), through=story.now)
    story.tell("+1 CLAIM:a")


def test_an_edit_keeps_the_new_body_and_a_row_before_it_is_journaled() -> None:
    story = commanded()
    new = body_of("new words")
    story.ask("edit", "a", body=new)
    asked = story.asked_for(act.WriteRuled)
    assert [(row.id, row.body) for row in asked.editions] == [(id_of("a"), new)]
    assert [(name_of(row[0]), row[3], row[4]) for row in asked.rows] == [("a", 2, AT_ONCE)]
    story.tell("NOAPPEND ring:a NOCLAIM")
    story.written().tell("SAYS:a=DEFER applied NOCLAIM READ")
    story.bodies["a"] = new
    story.tell("row2:a").confirmed().tell("bodies:a CLAIM:a applied HAND:a")


def test_an_edit_that_is_not_durable_is_written_again() -> None:
    story = commanded().ask("edit", "a", due_at=later(NOW, 2 * H))
    story._take(act.WriteRuled)
    story.lane.decisions.on_failed(now=story.now)
    story.tell("NOAPPEND +250")
    assert [row[4] for row in story.asked_for(act.WriteRuled).timers] == [2]
    story.written().tell("SAYS:a=DEFER")


def test_a_row_of_the_next_attempt_that_is_read_early_is_not_lost() -> None:
    story = commanded().ask("edit", "a", body=body_of("new"))
    # The row is there before anybody knows that it is: the write was not acknowledged yet.
    story.tell("+1000 row2:a NOFOLDS")
    story.tell("NOBODIES applied")
    story.written().tell("SAYS:a=DEFER applied NOBODIES").confirmed().tell("BODIES:a")


def test_a_message_in_the_timers_can_be_expedited() -> None:
    story = commanded()
    story.known_folds = {}
    story.ask("expedite", "a")
    rows = story.asked_for(act.WriteRuled).rows
    assert [(row[3], row[4]) for row in rows] == [(2, AT_ONCE)]


def test_a_pause_puts_a_message_off_and_its_timer_brings_it_back() -> None:
    story = commanded().ask("pause", "a", due_at=later(NOW, 10 * H))
    assert [(row[0], row[4]) for row in story.asked_for(act.WriteRuled).timers] == [
        (later(NOW, 10 * H), 2)
    ]
    story.written().tell("SAYS:a=DEFER applied row:a NOCLAIM NOBODIES")


def lost(name: str, *, attempt: int = 1, event: Event = Event.LOSE_ANSWER) -> dict[MessageId, Step]:
    return {id_of(name): step_of(attempt=attempt, try_no=1, event=event)}


@pytest.mark.parametrize(
    ("event", "said"),
    [(Event.TAKE, "a=TAKE"), (Event.DELIVER, "a=DELIVER"), (Event.REFUSE, "a=REFUSE")],
)
def test_what_is_uncertain_can_be_resolved(event: Event, said: str) -> None:
    story = commanded()
    story.known_folds = lost("a")
    story.ask("resolve", "a", event=event, detail="the provider's portal says so")
    story.tell(f"SAYS:{said}")
    assert story.verdicts == [Verdict.DONE]


@pytest.mark.parametrize("event", [Event.CANCEL, Event.CLAIM, 0, 77])
def test_nothing_else_resolves(event: int) -> None:
    story = commanded()
    story.known_folds = lost("a")
    story.ask("resolve", "a", event=int(event))
    assert story.verdicts == [Verdict.REFUSED]
    assert story.entry is not None
    assert not story.entry.message_ids


@pytest.mark.parametrize("event", [Event.TAKE, Event.DELIVER, Event.EXPIRE, Event.CANCEL])
@pytest.mark.parametrize("kind", ["resolve", "resend"])
def test_what_is_not_in_question_is_neither_resolved_nor_resent(kind: str, event: Event) -> None:
    story = commanded()
    story.known_folds = lost("a", event=event)
    story.ask(kind, "a", event=int(Event.TAKE))
    assert story.verdicts == [Verdict.REFUSED]


@pytest.mark.parametrize("event", [Event.LOSE_ANSWER, Event.REFUSE])
def test_a_resent_message_is_claimed_as_the_next_attempt(event: Event) -> None:
    story = commanded()
    story.known_folds = lost("a", attempt=3, event=event)
    story.ask("resend", "a")
    assert [row[3] for row in story.asked_for(act.WriteRuled).rows] == [4]
    story.written()
    assert story.entry is not None
    assert story.entry.steps == [step_of(attempt=3, try_no=2, event=Event.DEFER)]


def test_the_row_of_what_is_sent_again_may_be_read_before_its_ruling_is_journaled() -> None:
    story = commanded()
    story.tell("ring:a CLAIM:a applied HAND:a lost SAYS:a=LOSE_ANSWER applied")
    story.ask("resend", "a")
    story.asked_for(act.WriteRuled)
    story.tell("+1000 row2:a applied").written()
    story.tell("SAYS:a=DEFER applied +1 bodies:a CLAIM:a")


def test_a_receipt_waits_for_the_outcome_of_the_claim_under_way() -> None:
    story = commanded()
    story.tell("ring:a CLAIM:a applied HAND:a")
    story.ask("receipt", "a", event=int(Event.DELIVER))
    story.tell("NOAPPEND lost SAYS:a=LOSE_ANSWER applied SAYS:a=DELIVER")


@pytest.mark.parametrize("event", [Event.TAKE, Event.DELIVER])
def test_a_receipt_that_comes_twice_changes_nothing(event: Event) -> None:
    story = commanded()
    story.known_folds = lost("a", event=Event.DELIVER)
    story.ask("receipt", "a", event=int(event))
    assert story.verdicts == [Verdict.DONE]
    assert story.entry is not None
    assert not story.entry.message_ids


@pytest.mark.parametrize("event", [Event.TAKE, Event.REFUSE])
def test_a_receipt_for_what_waits_changes_nothing(event: Event) -> None:
    story = commanded()
    story.ask("receipt", "a", event=int(event))
    assert story.verdicts == [Verdict.DONE]
    assert story.entry is not None
    assert not story.entry.message_ids


def test_testimony_settles_only_the_claim_that_it_speaks_of() -> None:
    for attempt, said in ((1, 1), (2, 0)):
        story = commanded()
        story.known_folds = lost("a")
        spoken = step_of(attempt=attempt, try_no=1, event=Event.CLAIM)
        story.ask("testimony", "a", step=spoken, event=int(Event.TAKE))
        assert story.entry is not None
        assert len(story.entry.message_ids) == said


def test_commands_to_one_message_are_judged_one_after_another() -> None:
    story = commanded()
    story.answers_rulings = False
    story.ask("pause", "a", due_at=later(NOW, 10 * H)).ask("cancel", "a")
    story.answers_rulings = True
    story._decide()
    assert len(story.asked_for(act.WriteRuled).timers) == 1
    story.written().tell("SAYS:a=DEFER applied SAYS:a=CANCEL")
    assert story.entry is not None
    assert story.entry.steps == [step_of(attempt=2, try_no=1, event=Event.CANCEL)]


@pytest.mark.parametrize(
    ("kind", "payload"), [("cancel", b"\xc1"), ("frobnicate", encode_command(CommandBody()))]
)
def test_a_command_that_cannot_be_read_is_refused_and_holds_nothing_up(
    kind: str, payload: bytes
) -> None:
    story = commanded()
    id_ = id_of("a")
    entry = CommandEntry(b"x" * 16, kind, id_, PartitionKey(id_), "", "ada", payload)
    story.commands.append((Instant(story.now + 1), entry))
    story.pass_time(1)
    story.lane.on_bare_doorbell()
    story._decide()
    assert story.verdicts == [Verdict.REFUSED]
    story.tell("applied ring:a CLAIM:a")


# --- groups ---------------------------------------------------------------------------------------


def test_nothing_of_a_paused_group_is_claimed_and_it_is_put_off_until_it_expires() -> None:
    story = commanded().ask_group("pause")
    assert story.verdicts == [Verdict.DONE]
    story.tell("applied ring:a,b NOCLAIM")
    timers = story.asked_for(act.WriteRuled).timers
    end = later(story.born("a"), WINDOWS.validity_ms_max)
    assert [(name_of(row[1]), row[0], row[4]) for row in timers] == [("a", end, 2), ("b", end, 2)]
    story.written().tell("SAYS:a=DEFER,b=DEFER applied NOCLAIM")


def test_a_lane_that_begins_knows_what_is_paused() -> None:
    story = commanded(answers_rulings=False)
    story.orders = [GroupOrder(GROUP, "pause", NOW, b"o" * 16, "ada")]
    story.answers_rulings = True
    story.tell("ring:a NOCLAIM")
    assert len(story.asked_for(act.WriteRuled).timers) == 1


def test_what_waits_of_a_cancelled_group_is_over() -> None:
    story = commanded().ask_group("cancel")
    story.tell("applied ring:a,b SAYS:a=CANCEL,b=CANCEL NOCLAIM applied")


def timers_of(story: Commanded, **due_ms: int) -> None:
    story.timers = [
        (later(NOW, ms), id_of(name), PartitionKey(id_of(name)), story.born(name), 1, GROUP)
        for name, ms in due_ms.items()
    ]


def test_a_cancelled_group_is_cancelled_in_the_timers_too() -> None:
    story = commanded()
    timers_of(story, a=10 * H, b=20 * H)
    other = story.timers[1]
    story.timers[1] = (*other[:5], "default/other")
    story.ask_group("cancel").tell("SAYS:a=CANCEL applied")
    assert story.answers == [CommandAnswer(b"\1" * 16, Verdict.DONE, "", {"messages": 1})]


def test_an_expedited_group_leaves_the_timers() -> None:
    story = commanded()
    timers_of(story, a=10 * H, b=20 * H)
    story.ask_group("expedite")
    assert [name_of(row[0]) for row in story.asked_for(act.WriteRuled).rows] == ["a", "b"]
    story.written().tell("SAYS:a=DEFER,b=DEFER applied")
    assert story.answers[0].counts == {"messages": 2}


def test_a_resumed_group_gets_back_what_the_pause_put_off_and_no_more() -> None:
    story = commanded()
    timers_of(story, paused=WINDOWS.validity_ms_max, scheduled=10 * H)
    story.ask_group("resume")
    rows = story.asked_for(act.WriteRuled).rows
    assert [(name_of(row[0]), row[3]) for row in rows] == [("paused", 2)]
    story.written().tell("SAYS:paused=DEFER applied")
    assert story.answers[0].counts == {"messages": 1}


def test_a_timer_that_something_overtook_is_left_alone() -> None:
    story = commanded()
    timers_of(story, a=10 * H)
    story.known_folds = lost("a", attempt=2, event=Event.DEFER)
    story.ask_group("expedite")
    assert story.answers[0].counts == {"messages": 0}


def test_a_group_order_ends_the_wait_of_nobody_else() -> None:
    story = commanded()
    story.orders = [GroupOrder("default/other", "pause", NOW, b"o" * 16, "ada")]
    story.ask_group("expedite").tell("applied ring:a CLAIM:a")


# --- what waits for too long ----------------------------------------------------------------------


def test_what_waits_longer_than_h_is_put_off_when_too_much_is_unretired() -> None:
    story = commanded()
    story.lane.decisions.parks_from = 0
    story.tell("ring:a,b,c,d CLAIM:a,b,c,d applied HAND:a,b,c,d ring:e row:e NOCLAIM")
    for _ in range(H // 1_000):
        story.tell("+1000 row")
    assert not story._asked(act.WriteRuled)
    story.tell("+1000")
    [timer] = story.asked_for(act.WriteRuled).timers
    assert (name_of(timer[1]), timer[4]) == ("e", 2)
    assert timer[0] > later(story.now, H)
    story.written().tell("applied NOCLAIM")


def test_what_grew_old_while_nobody_had_the_lane_gets_its_turn_first() -> None:
    long_ago = earlier(NOW, 2 * H)
    story = commanded(recovered=fresh(offset=earlier(long_ago, H)), borns={"e": long_ago})
    story.lane.decisions.parks_from = 0
    story.tell("ring:a,b,c,d CLAIM:a,b,c,d applied HAND:a,b,c,d")
    story.answer_read([story.row("e", at=long_ago)])
    story.tell(f"bodies:e NOCLAIM +{H - 1}")
    assert not story._asked(act.WriteRuled)
    # But not if it leaves no room for entries.
    story.lane.decisions.parks_anew_from = 0
    story.answers_rulings = False
    story.pass_time(0)
    [timer] = story.asked_for(act.WriteRuled).timers
    assert name_of(timer[1]) == "e"


# --- what providers say of what is in doubt -------------------------------------------------------


def in_doubt() -> Commanded:
    story = commanded(gate=gate_of(provider_class=ProviderClass.KEYED))
    story.tell("ring:a CLAIM:a applied HAND:a lost DOUBT:1 NOAPPEND")
    return story


@pytest.mark.parametrize("event", [Event.TAKE, Event.DELIVER, Event.REFUSE])
def test_a_receipt_ends_the_doubt(event: Event) -> None:
    story = in_doubt()
    story.ask("receipt", "a", event=int(event))
    story.tell("DOUBT:0 SAYS:a=TAKE applied")
    assert story.verdicts == [Verdict.DONE]
    said = [] if event is Event.TAKE else [f"a={event.name}"]
    assert story._other_lines() == said


def test_testimony_that_it_was_taken_ends_the_doubt() -> None:
    story = in_doubt()
    claim = step_of(attempt=1, try_no=1, event=Event.CLAIM)
    story.ask("testimony", "a", step=claim, event=int(Event.TAKE)).tell("DOUBT:0 SAYS:a=TAKE")


def test_testimony_of_a_refusal_proves_nothing_and_holds_nothing_up() -> None:
    story = in_doubt()
    claim = step_of(attempt=1, try_no=1, event=Event.CLAIM)
    story.ask("testimony", "a", step=claim, event=int(Event.REFUSE))
    assert story.verdicts == [Verdict.DONE]
    assert story._other_lines() == []
    story.tell("DOUBT:1")
