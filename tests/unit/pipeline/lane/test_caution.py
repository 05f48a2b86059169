"""After a crash a lane names what it touches, and finds out what ends the process."""

import pytest

from pipeline.instant import later
from pipeline.lane import actions as act
from pipeline.lane.caution import POISON, Caution
from pipeline.lane.entry import decode_entry
from pipeline.lane.recovery import JournalReadBack
from pipeline.lane.window import Candidate
from pipeline.limits import POISON_ENDS_MAX, TRIAL_MS_MAX
from pipeline.message import MessageId
from pipeline.outcome import ProviderClass
from pipeline.ports import JournalEntry
from tests.support.gates import gate_of
from tests.support.lane_story import NOW, WINDOWS, LaneStory, fresh, id_of, name_of, pk_of

A, B, C = (id_of(name) for name in "abc")


def caution(tried: str = "", *, ends: int = 0, is_after_crash: bool = True) -> Caution:
    ids = [id_of(name) for name in tried]
    return Caution(is_after_crash=is_after_crash, tried=ids, ends=ends, windows=WINDOWS, now=NOW)


def names(ids: object) -> str:
    assert isinstance(ids, list | tuple)
    return "".join(map(name_of, ids))


def name_it(one: Caution) -> None:
    one.on_applied(one.trial, now=NOW)


# --- what may be touched --------------------------------------------------------------------------


def test_who_did_not_crash_is_hindered_by_nothing() -> None:
    one = caution("a", ends=2, is_after_crash=False)
    assert one.may_touch([A, B]) == [A, B]
    assert not one.is_on
    assert not (one.is_window_one)
    assert not (one.must_be_named)


def test_after_a_crash_what_is_touched_is_named_before() -> None:
    one = caution()
    assert one.may_touch([A, B]) == []
    assert (names(one.trial), one.ends, one.must_be_named) == ("ab", 1, True)
    name_it(one)
    assert one.may_touch([A, B, C]) == [A, B]
    assert names(one.trial) == "abc"  # what comes beside them is named next


def test_what_was_named_at_a_crash_is_touched_alone() -> None:
    one = caution("ab", ends=1)
    assert one.may_touch([C, A, B]) == []
    assert (names(one.trial), one.ends) == ("a", 2)
    name_it(one)
    assert one.may_touch([C, A, B]) == [A]
    one.on_touched([A])
    assert one.may_touch([C, A, B]) == []
    assert (names(one.trial), one.ends) == ("b", 2)


def test_what_ended_the_process_alone_as_well_is_in_quarantine() -> None:
    candidate = Candidate(pk_of("a"), NOW, "default/g", None, None)
    one = caution("a", ends=POISON_ENDS_MAX - 1)
    assert one.keeps(A, candidate)
    assert not one.keeps(B, candidate)
    assert one.suspects == {A: candidate}
    one.let_go([A])
    assert not one.suspects
    for other in (caution("a", ends=POISON_ENDS_MAX - 2), caution("ab", ends=POISON_ENDS_MAX)):
        assert not other.keeps(A, candidate)


def test_who_waits_for_a_provider_does_not_end_the_process() -> None:
    one = caution("a", ends=1)
    one.may_touch([A])
    name_it(one)
    one.decide(later(NOW, TRIAL_MS_MAX), is_read_through=False)
    assert names(one.trial) == "a"
    one.decide(later(NOW, TRIAL_MS_MAX + 1), is_read_through=False)
    assert names(one.trial) == ""
    assert one.must_be_named  # else it would count as touched when the process ends later


@pytest.mark.parametrize(
    ("after_ms", "is_read_through", "is_on"),
    [
        pytest.param(TRIAL_MS_MAX, True, True, id="something may still come"),
        pytest.param(TRIAL_MS_MAX + 1, True, False, id="all that was due is through"),
        pytest.param(3_600_000, False, True, id="not all was touched that the predecessor had"),
    ],
)
def test_it_ends_once_everything_was_touched_that_could_be(
    after_ms: int, is_read_through: bool, is_on: bool
) -> None:
    one = caution()
    one.decide(later(NOW, after_ms), is_read_through=is_read_through)
    assert one.is_careful == is_on


def test_it_ends_after_as_many_messages_as_a_lane_has_in_memory() -> None:
    one = caution()
    count = WINDOWS.read_ahead_rows_max + WINDOWS.claims_open_max
    for number in range(count):
        assert one.is_careful
        id_ = MessageId(number.to_bytes(16, "big"))
        one.may_touch([id_])
        name_it(one)
        one.on_touched([id_])
        one.decide(NOW, is_read_through=False)
    assert not one.is_careful


# --- in a lane ------------------------------------------------------------------------------------


def successor(
    story: LaneStory, *, is_after_crash: bool = True, provider: ProviderClass = ProviderClass.NONE
) -> LaneStory:
    read_back = JournalReadBack(newest_segment=0, first_offset=fresh().offset)
    read_back.on_entries(
        [JournalEntry(seq, body) for seq, body in reversed(story.journal)], limit=1_000
    )
    return LaneStory(
        read_back.result(is_after_crash=is_after_crash),
        borns=story.borns,
        now=story.now,
        gate=gate_of(provider_class=provider),
    )


def trial_of(story: LaneStory) -> tuple[str, int]:
    entry = decode_entry(story.asked_for(act.Append).body)
    return names(entry.trial), entry.checkpoint.starts if entry.checkpoint else 0


def test_after_a_crash_one_message_is_claimed_until_its_outcome_is_journaled() -> None:
    story = successor(LaneStory().tell("ring:a,b applied"))
    story.tell("SAYS:a=LOSE_ANSWER,b=LOSE_ANSWER applied ring:c NOCLAIM row:c,d,e NOBODIES")
    assert trial_of(story) == ("cde", 1)
    story.tell("applied BODIES:c,d,e bodies:c,d,e CLAIM:c")
    assert trial_of(story) == ("", 0)
    story.tell("applied HAND:c NOCLAIM took SAYS:c=TAKE CLAIM:d applied CLAIM:e")


def test_a_provider_that_does_not_answer_holds_up_one_message_and_not_the_lane() -> None:
    story = successor(LaneStory().tell("ring:a applied"))
    story.tell("applied row:c,d,e applied bodies:c,d,e CLAIM:c applied HAND:c")
    story.tell(f"+{TRIAL_MS_MAX} NOCLAIM +1 CLAIM:d,e")


def test_a_lane_that_was_given_or_drained_claims_as_ever() -> None:
    story = successor(LaneStory().tell("ring:a applied took applied"), is_after_crash=False)
    story.tell("ring:b,c CLAIM:b,c")
    assert trial_of(story) == ("", 0)


def test_what_is_handed_over_again_is_named_and_alone_if_that_ends_the_process() -> None:
    keyed = ProviderClass.KEYED
    first = LaneStory(gate=gate_of(provider_class=keyed)).tell("ring:a,b applied HAND:a,b")
    second = successor(first, provider=keyed)
    second.tell("oldbodies:a,b +1000 NOHAND")
    assert trial_of(second) == ("ab", 1)
    second.tell("applied HAND:a,b")
    second.journal[:0] = first.journal
    third = successor(second, provider=keyed)
    assert trial_of(third) == ("", 0)  # they are not being touched so far
    third.tell("oldbodies:a,b applied +1000 NOHAND")
    assert trial_of(third) == ("a", 2)
    third.tell("applied HAND:a")
    third.journal[:0] = second.journal
    fourth = successor(third, provider=keyed)
    fourth.tell("SAYS:a=LOSE_ANSWER")
    entry = decode_entry(fourth.asked_for(act.Append).body)
    assert list(entry.details.values()) == [POISON]
    fourth.tell("applied oldbodies:b +1000 applied HAND:b")


def test_what_ends_the_process_before_its_claim_fails_and_says_why() -> None:
    story = LaneStory()
    for told, expected in (
        ("row:a,b", ("ab", 1)),
        ("applied row:a,b", ("a", 2)),
    ):
        story = successor_with(story, told)
        assert trial_of(story) == expected
        story.tell("applied")
    story = successor_with(story, "applied row:a,b SAYS:a=REFUSE")
    entry = decode_entry(story.asked_for(act.Append).body)
    assert entry.reason == POISON
    story.tell("applied BODIES:b bodies:b CLAIM:b applied HAND:b ring:a NOAPPEND")


def successor_with(story: LaneStory, told: str) -> LaneStory:
    after = successor(story)
    after.journal[:0] = story.journal
    return after.tell(told)
