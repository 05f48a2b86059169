"""New words count from the ruling on, whoever ends; until they are confirmed nobody reads them.

`tests/support/lane_story.py` says what the words mean.  H is 180 s.
"""

from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.lane.recovery import JournalReadBack
from pipeline.later import EditionKey
from pipeline.outcome import ProviderClass
from pipeline.ports import JournalEntry
from tests.support.commanded import Commanded, commanded
from tests.support.gates import gate_of
from tests.support.lane_story import GROUP, NOW, WINDOWS, fresh, id_of, name_of, pk_of
from tests.support.lane_world import body_of

H = WINDOWS.near_horizon_ms
KEYED = ProviderClass.KEYED
NEW, NEWER = body_of("new words"), body_of("newer words")


def edited(story: Commanded, *, due_at: Instant | None = None) -> Commanded:
    """Return it with an edit in its journal, and the row or timer that it goes on with."""
    return story.ask("edit", "a", body=NEW, due_at=due_at).written().tell("SAYS:a=DEFER applied")


def confirmed(story: Commanded) -> list[tuple[str, Instant]]:
    """Return the editions that are being confirmed."""
    keys = story.asked_for(act.WriteAnswers).editions
    assert all(key.pk == pk_of(name_of(key.id)) for key in keys)
    return [(name_of(key.id), key.at) for key in keys]


def successor_of(story: Commanded) -> Commanded:
    read_back = JournalReadBack(newest_segment=0, first_offset=fresh().offset)
    read_back.on_entries(
        [JournalEntry(seq, body) for seq, body in reversed(story.journal)], limit=1_000
    )
    recovered = read_back.result()
    return commanded(
        recovered=recovered, borns=story.borns, now=story.now, gate=gate_of(provider_class=KEYED)
    )


def test_the_entry_names_the_edition_and_whoever_projects_it_has_it_confirmed() -> None:
    story = commanded().ask("pause", "b", due_at=later(NOW, 10 * H)).written().tell("applied")
    assert confirmed(story) == []
    story.confirmed().ask("edit", "a", body=NEW).written().tell("SAYS:a=DEFER")
    (_, _), (at, _) = story.commands
    assert story.entry is not None
    assert story.entry.edition_keys() == [EditionKey(id_of("a"), pk_of("a"), at)]
    story.tell("applied")
    assert confirmed(story) == [("a", at)]
    story.lane.projection.on_answers_failed(now=story.now)
    story._take(act.WriteAnswers)
    story.tell("+250")
    assert confirmed(story) == [("a", at)]


def test_what_a_command_only_puts_off_has_no_edition() -> None:
    story = commanded().ask("edit", "a", due_at=later(NOW, H // 2)).written().tell("applied")
    assert confirmed(story) == []
    story.tell(f"row2:a +{H} BODIES:a")


def test_until_it_is_confirmed_the_body_is_not_read_and_others_are() -> None:
    story = edited(commanded()).tell("row2:a row:b BODIES:b bodies:b NOBODIES")
    story.confirmed().tell("BODIES:a")


def test_a_message_that_is_edited_twice_waits_for_the_second_edition() -> None:
    story = edited(commanded()).ask("edit", "a", body=NEWER).written().tell("SAYS:a=DEFER")
    story.confirmed().answer_read([story.row("a", attempt=3)])
    story.tell("NOBODIES applied NOBODIES").confirmed().tell("BODIES:a")


def test_a_body_that_was_asked_for_before_the_edit_is_asked_for_again() -> None:
    story = commanded().tell("row:a BODIES:a")
    edited(story).confirmed().tell("row2:a")
    # The answer was on its way all the time: the words of before.
    story.tell("bodies:a NOCLAIM BODIES:a")
    story.bodies["a"] = NEW
    story.tell("bodies:a CLAIM:a applied HAND:a")
    assert list(story.asked_for(act.HandOverWindow).bodies) == [NEW]


def test_a_read_of_bodies_that_failed_leaves_the_next_one_alone() -> None:
    story = commanded().tell("row:a BODIES:a")
    edited(story).confirmed().tell("row2:a bodiesfail +250 BODIES:a bodies:a applied CLAIM:a")


def test_a_successor_reads_the_body_once_it_has_confirmed_the_edition() -> None:
    story = edited(commanded())
    [(at, _)] = story.commands
    after = successor_of(story).tell("row2:a NOBODIES")
    assert confirmed(after) == [("a", at)]
    after.confirmed().tell("BODIES:a")


def test_a_successor_does_not_resend_by_its_key_before_it_has_confirmed() -> None:
    story = edited(commanded(gate=gate_of(provider_class=KEYED))).confirmed()
    story.tell("row2:a bodies:a CLAIM:a applied HAND:a")
    after = successor_of(story).tell("+1000")
    assert not after._asked(act.ReadClaimedBodies)
    after.confirmed()
    assert [name_of(id_) for _, id_ in after.asked_for(act.ReadClaimedBodies).keys] == ["a"]


def test_a_group_is_brought_back_by_its_new_words() -> None:
    due_at = later(NOW, 10 * H)
    story = edited(commanded(), due_at=due_at)
    story.timers = [(due_at, id_of("a"), pk_of("a"), NOW, 2, GROUP)]
    story.answers_rulings = False
    story.ask_group("resume")
    story.answers_rulings = True
    story.tell("+1000 NOAPPEND")
    assert not story._asked(act.ReadRuledBodies)
    story.confirmed()
    assert story.entry is not None
    assert story.entry.answers
