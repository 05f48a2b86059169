"""What a lane does about messages that may be with their provider, by its class; one story a line.

`tests/support/lane_story.py` says what the words mean.  F is 4, H 180 s.
"""

from dataclasses import replace

import pytest

from pipeline.instant import DurationMs
from pipeline.lane.gate import Gate
from pipeline.lane.recovery import JournalReadBack
from pipeline.outcome import ProviderClass
from pipeline.ports import JournalEntry
from tests.support.gates import gate_of, terms_of
from tests.support.lane_story import LaneStory, fresh

HANDED = "ring:a CLAIM:a applied HAND:a"
K, Q, C, NONE = (
    ProviderClass.KEYED,
    ProviderClass.QUERYABLE,
    ProviderClass.CORRELATED,
    ProviderClass.NONE,
)


@pytest.mark.parametrize(
    ("provider_class", "story"),
    [
        pytest.param(NONE, "lost SAYS:a=LOSE_ANSWER DOUBT:0", id="0: uncertain at once"),
        pytest.param(C, "lost SAYS:a=LOSE_ANSWER DOUBT:0", id="C: uncertain until a receipt"),
        pytest.param(K, "lost NOAPPEND DOUBT:1 +998 NOHAND +1 HAND:a", id="K: the same key again"),
        pytest.param(
            K, "lost +1000 lost +1998 NOHAND +1 HAND:a took SAYS:a=TAKE", id="K: ever more rarely"
        ),
        pytest.param(
            K, "lost +1000 HAND:a refused NOAPPEND DOUBT:1", id="K: a refusal of a copy is no proof"
        ),
        pytest.param(
            K, "lost +1000 HAND:a deferred NOKEEP DOUBT:1", id="K: neither is a deferral of one"
        ),
        pytest.param(K, "refused SAYS:a=REFUSE", id="K: a refusal of the only copy is"),
        pytest.param(K, "drain lost settle DRAINED OPEN:1", id="K: a drain leaves it in doubt"),
        pytest.param(Q, "lost NOAPPEND +1000 ASK:a NOHAND", id="Q: it is asked, never sent again"),
        pytest.param(Q, "lost +1000 found:a SAYS:a=TAKE", id="Q: found is sent"),
        pytest.param(Q, "lost +1000 found NOAPPEND +2000 ASK:a", id="Q: asked again"),
        pytest.param(
            Q,
            "lost +1000 found +180000 CARRY:a applied found SAYS:a=LOSE_ANSWER",
            id="Q: never found",
        ),
    ],
)
def test_an_answer_that_is_lost(provider_class: ProviderClass, story: str) -> None:
    LaneStory(gate=gate_of(provider_class=provider_class)).tell(f"{HANDED} settle {story}")


def test_a_key_that_the_provider_has_forgotten_is_not_used_again() -> None:
    gate = gate_of(provider_class=K, key_life_ms=DurationMs(120_000))
    LaneStory(gate=gate).tell(f"{HANDED} lost DOUBT:1 +25000 HAND:a +10000 lost SAYS:a=LOSE_ANSWER")


def test_a_key_that_was_forgotten_while_its_turn_came_is_not_used_again() -> None:
    gate = gate_of(provider_class=K, key_life_ms=DurationMs(220_000))
    story = LaneStory(gate=gate).tell(HANDED)
    for waits in (1, 2, 4, 8, 16, 32, 64):
        story.tell(f"lost DOUBT:1 +{waits * 1_000} HAND:a")
    # Two minutes after its first claim the key has another minute and a half: it waits for more.
    story.tell("lost DOUBT:1 +127000 NOHAND applied +1001 NOHAND DOUBT:0 SAYS:a=LOSE_ANSWER")


def test_a_connector_that_was_switched_off_gets_nothing_again_and_is_asked_all_the_same() -> None:
    for provider_class, after in (
        (K, "oldbodies:a +4000 NOHAND DOUBT:1"),
        (Q, "oldbodies:a +4000 ASK:a"),
    ):
        gate = gate_of(provider_class=provider_class)
        first = LaneStory(gate=gate).tell(HANDED)
        back = JournalReadBack(newest_segment=0, first_offset=fresh().offset)
        back.on_entries(
            [JournalEntry(seq, body) for seq, body in reversed(first.journal)], limit=1_000
        )
        terms = terms_of("file", provider_class)
        off = Gate("sms", [replace(terms, route=replace(terms.route, is_enabled=False))])
        story = LaneStory(back.result(), gate=off, borns=first.borns, now=first.now)
        story.tell(f"+1000 {after}")


def test_a_connector_has_no_more_claims_than_it_can_hand_over_soon() -> None:
    LaneStory(gate=gate_of(claims_max=2)).tell(
        "ring:a,b,c,d CLAIM:a,b applied HAND:a,b NOAPPEND part:a=TAKE CLAIM:c SAYS:a=TAKE"
        " applied part:b=TAKE CLAIM:d"
    )


@pytest.mark.parametrize("provider_class", [K, Q])
def test_what_is_in_doubt_for_hours_does_not_hold_the_offset(provider_class: ProviderClass) -> None:
    story = LaneStory(gate=gate_of(provider_class=provider_class))
    story.tell(f"{HANDED} row:a settle")
    for _ in range(8):
        story.tell("+1000 row settle")
    assert story.lane.offset <= story.born("a")
    story.tell("lost DOUBT:1")
    for _ in range(8):
        story.tell("+1000 row settle")
    assert story.lane.offset > story.born("a")
