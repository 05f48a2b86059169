"""What was certainly not taken goes to the next connector, and nothing else does; one story a line.

`tests/support/lane_story.py` says what the words mean.  F is 4, H 180 s.
"""

from dataclasses import replace

import pytest

from pipeline.instant import later
from pipeline.lane import actions as act
from pipeline.lane.entry import decode_entry
from pipeline.lane.past import Past, past_of
from pipeline.lane.recovery import JournalReadBack, Recovered
from pipeline.lifecycle import Event, Step, step_of
from pipeline.limits import FALLBACK_ATTEMPTS
from pipeline.message import PartitionKey
from pipeline.outcome import Outcomes, ProviderClass
from pipeline.ports import JournalEntry, TimelineEvent
from tests.support.commanded import commanded
from tests.support.fake_clock import NOW
from tests.support.gates import gate_of
from tests.support.lane_story import GROUP, LaneStory, fresh, id_of

HANDED = "ring:a CLAIM:a applied HAND:a"
AGAIN = "kept SAYS:a=DEFER applied +0 CLAIM:a applied HAND:a"


def story_of(*fallback: str, provider_class: ProviderClass = ProviderClass.NONE) -> LaneStory:
    return LaneStory(gate=gate_of(fallback=fallback, provider_class=provider_class))


def connector_of(story: LaneStory) -> str:
    return story.asked_for(act.HandOverWindow).connector


def test_a_refused_message_goes_along_the_fallbacks_and_then_has_failed() -> None:
    story = story_of("second", "third").tell(f"{HANDED} refused {AGAIN}")
    assert connector_of(story) == "second"
    story.tell(f"settle refused {AGAIN}")
    assert connector_of(story) == "third"
    story.tell("settle refused SAYS:a=REFUSE")


@pytest.mark.parametrize(
    ("provider_class", "end"),
    [
        (ProviderClass.NONE, "lost SAYS:a=LOSE_ANSWER NOHAND"),
        (ProviderClass.CORRELATED, "lost SAYS:a=LOSE_ANSWER NOHAND"),
        (ProviderClass.KEYED, "lost +1000 HAND:a refused NOAPPEND NOKEEP DOUBT:1"),
    ],
)
def test_after_a_lost_answer_no_refusal_leads_to_another_connector(
    provider_class: ProviderClass, end: str
) -> None:
    story_of("second", provider_class=provider_class).tell(f"{HANDED} settle {end}")


def test_a_claim_of_another_epoch_never_comes_to_another_connector() -> None:
    gate = gate_of(fallback=("second",), provider_class=ProviderClass.KEYED)
    first = LaneStory(gate=gate).tell(HANDED)
    story = LaneStory(_read_back(first), gate=gate, borns=first.borns, now=first.now)
    story.tell("+1000 oldbodies:a +1000 HAND:a refused NOKEEP DOUBT:1")
    assert connector_of(story.tell("+5000 HAND:a")) == "file"


def test_a_pause_at_a_fallback_forgets_nobody_who_refused() -> None:
    story = story_of("second").tell(f"{HANDED} refused {AGAIN} settle")
    story.tell("deferred KEEP:a=2000 kept applied +2000 CLAIM:a applied HAND:a")
    assert connector_of(story) == "second"
    story.tell("settle refused SAYS:a=REFUSE")


def test_who_refused_survives_the_owner() -> None:
    first = story_of("second", "third").tell(f"{HANDED} refused kept applied")
    gate = gate_of(fallback=("second", "third"))
    story = LaneStory(_read_back(first), gate=gate, borns=first.borns, now=first.now)
    story.tell("row2:a bodies:a CLAIM:a applied HAND:a")
    assert connector_of(story) == "second"


def _read_back(story: LaneStory) -> Recovered:
    read_back = JournalReadBack(newest_segment=0, first_offset=fresh().offset)
    entries = [JournalEntry(seq, body) for seq, body in reversed(story.journal)]
    read_back.on_entries(entries, limit=len(entries) + 1)
    return read_back.result()


PUT_OFF = "settle deferred kept applied +60000 CLAIM:a applied HAND:a"


def test_a_connector_that_cannot_be_reached_keeps_a_message_for_so_many_attempts() -> None:
    story = story_of("second").tell(HANDED)
    for _ in range(FALLBACK_ATTEMPTS - 1):
        assert connector_of(story) == "file"
        story.tell(PUT_OFF)
    assert connector_of(story) == "file"
    story.tell(f"settle deferred {AGAIN}")
    assert connector_of(story) == "second"
    [defer] = [row for row in _timeline(story) if row.detail.startswith("refused by")]
    assert defer.detail == "refused by file: given up at attempt 5: it gives no reason"


def test_who_asks_for_a_pause_is_waited_for() -> None:
    story = story_of("second").tell(HANDED)
    for _ in range(FALLBACK_ATTEMPTS + 1):
        story.tell(PUT_OFF.replace("deferred", "paused"))
        assert connector_of(story) == "file"


def test_one_that_expires_meanwhile_has_expired_and_was_not_refused() -> None:
    until_ms = (FALLBACK_ATTEMPTS - 1) * 60_000 + 500
    story = story_of("second").tell(f"expiring:a={until_ms} {HANDED}")
    for _ in range(FALLBACK_ATTEMPTS - 1):
        story.tell(PUT_OFF)
    story.tell("settle +1000 deferred SAYS:a=DEFER,a=EXPIRE")


def _timeline(story: LaneStory) -> list[TimelineEvent]:
    return [
        TimelineEvent(row[3], Step(row[2]), row[4])
        for _, body in story.journal
        for row in decode_entry(body).timeline_rows()
    ]


def test_whoever_is_unwanted_gets_nothing_from_a_fallback() -> None:
    story = story_of("second").tell(HANDED)
    window = story.asked_for(act.HandOverWindow)
    refused = Outcomes(events=bytes([Event.REFUSE]), unwanted={0: "bounce"})
    story.lane.on_outcomes(window.seq, refused, now=story.now)
    story.tell("+0 SAYS:a=REFUSE")


def test_who_refused_is_in_the_timeline_though_there_was_no_room_for_why() -> None:
    first = story_of("second").tell("ring:a,b CLAIM:a,b applied HAND:a,b refused kept applied")
    entry = decode_entry(first.journal[-1][1])
    assert entry.pasts == {0: Past(("file",)), 1: Past(("file",))}
    for row in replace(entry, details={}).timeline_rows():
        assert past_of([TimelineEvent(row[3], Step(row[2]), row[4])]) == Past(("file",))


def test_a_fallback_that_is_gone_lets_the_first_one_say_so_again() -> None:
    first = story_of("second").tell(f"{HANDED} refused kept applied")
    story = LaneStory(_read_back(first), gate=gate_of(), borns=first.borns, now=first.now)
    story.tell("row2:a bodies:a CLAIM:a applied HAND:a")
    assert connector_of(story) == "file"
    story.tell("settle refused SAYS:a=REFUSE")


@pytest.mark.parametrize("is_group", [False, True])
def test_a_command_to_one_that_has_left_the_memory_forgets_nobody_who_refused(
    *, is_group: bool
) -> None:
    story = commanded(gate=gate_of(fallback=["second"]))
    story.timers = [(later(NOW, 60_000), id_of("a"), PartitionKey(id_of("a")), NOW, 2, GROUP)]
    story.known_folds[id_of("a")] = step_of(attempt=1, try_no=1, event=Event.DEFER)
    story.known_pasts[id_of("a")] = Past(("file",))
    asked = story.ask_group("expedite") if is_group else story.ask("expedite", "a")
    entry = asked.written().entry
    assert entry is not None
    assert entry.pasts == {0: Past(("file",), 1)}
