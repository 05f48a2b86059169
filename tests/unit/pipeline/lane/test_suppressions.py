"""Who is asked about before a claim, how long an answer counts, and what becomes of the rest."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pipeline.instant import Instant, later
from pipeline.lane.actions import Append, ReadSuppressions
from pipeline.lane.entry import EntryBuilder, decode_entry
from pipeline.lane.suppressions import ListingTenants, Suppressions, add_suppression_lines
from pipeline.lane.window import Candidate
from pipeline.lifecycle import Event, Step, event_of, step_of
from pipeline.limits import SUPPRESSION_FRESH_MS_MAX, SUPPRESSION_REPEAT_MS
from pipeline.message import Body, MessageId, PartitionKey
from pipeline.route.suppression import suppression_key
from tests.support.fake_clock import NOW
from tests.support.lane_story import LaneStory
from tests.support.lane_world import body_of

ANNE, BEN = "+447700900123", "+447700900124"
FRESH_MS = SUPPRESSION_FRESH_MS_MAX

Pair = tuple[MessageId, Candidate]


def to(recipient: str, *, tenant: str = "default", name: str = "") -> Pair:
    id_ = MessageId((name or recipient).encode().ljust(16, b"."))
    body = body_of("hello", tenant=tenant, recipient=recipient)
    return id_, Candidate(PartitionKey(id_), NOW, f"{tenant}/g", None, body)


def key_of(recipient: str, tenant: str = "default") -> bytes:
    return suppression_key(tenant, "sms", recipient)


class Asked:
    """Suppressions, and what they asked for."""

    def __init__(self, tenants: Sequence[str] | None = ("default",), *, now: Instant = NOW) -> None:
        self.lists = ListingTenants()
        self.lists.on_read(tenants, as_of=now)
        self.suppressions = Suppressions(self.lists)

    def ask(self, *pairs: Pair, now: Instant = NOW) -> list[bytes] | None:
        """Return the keys that are read, None: none is."""
        if not self.suppressions.may_ask(now):
            return None
        actions = self.suppressions.ask(pairs, now)
        if not actions:
            return None
        [read] = actions
        assert isinstance(read, ReadSuppressions)
        return list(read.keys)

    def answer(self, *listed: str, asked: Sequence[str], now: Instant = NOW) -> None:
        self.suppressions.on_read(
            {suppression_key("default", "sms", one): None for one in asked}
            | {suppression_key("default", "sms", one): "opt_out" for one in listed},
            now=now,
        )


def test_a_tenant_without_a_list_is_never_asked_about() -> None:
    world = Asked(["default"])
    other = to(ANNE, tenant="other")
    assert world.ask(other) is None
    assert world.suppressions.known([other], NOW) == [other]
    assert world.suppressions.reasons([other], NOW) == {}


def test_where_nobody_has_a_list_nothing_is_looked_at() -> None:
    world = Asked([])
    assert not world.suppressions.may_ask(NOW)
    pairs = [to(ANNE)]
    assert world.suppressions.known(pairs, NOW) is pairs


def test_who_has_a_list_waits_for_the_answer_and_does_not_keep_others() -> None:
    world = Asked()
    anne, ben, other = to(ANNE), to(BEN), to(ANNE, tenant="other", name="other")
    assert world.ask(anne, ben, other) == [key_of(ANNE), key_of(BEN)]
    assert world.suppressions.waiting_count == 2
    assert world.suppressions.known([anne, ben, other], NOW) == [other]
    assert world.ask(anne, ben) is None, "one read at a time"
    world.answer(ANNE, asked=[BEN])
    assert world.suppressions.known([anne, ben, other], NOW) == [anne, ben, other]
    assert world.suppressions.reasons([anne, ben, other], NOW) == {0: "opt_out"}
    assert world.suppressions.waiting_count == 0
    assert world.ask(anne, ben) is None, "an answer counts for a while"


def test_two_messages_to_one_recipient_are_one_question() -> None:
    world = Asked()
    pairs = [to(ANNE, name="1"), to(ANNE, name="2")]
    assert world.ask(*pairs) == [key_of(ANNE)]
    world.answer(ANNE, asked=[])
    assert world.suppressions.reasons(pairs, NOW) == {0: "opt_out", 1: "opt_out"}


@pytest.mark.parametrize("listed", [(), (ANNE,)])
def test_an_answer_counts_from_when_its_read_began_and_not_for_long(
    listed: tuple[str, ...],
) -> None:
    world = Asked()
    anne = to(ANNE)
    world.ask(anne)
    world.answer(*listed, asked=[ANNE], now=later(NOW, 1_500))
    at_last, too_late = later(NOW, FRESH_MS), Instant(later(NOW, FRESH_MS) + 1)
    world.lists.on_read(["default"], as_of=at_last)
    assert world.suppressions.known([anne], at_last) == [anne]
    assert world.suppressions.known([anne], too_late) == []
    assert world.ask(anne, now=too_late) == [key_of(ANNE)]


def test_an_answer_of_a_clock_that_was_set_back_does_not_count() -> None:
    world = Asked()
    anne = to(ANNE)
    world.ask(anne)
    world.answer(asked=[ANNE])
    before = Instant(NOW - 1)
    assert world.suppressions.known([anne], before) == []
    assert world.lists.known(before) is None


def test_another_body_is_asked_about_again() -> None:
    world = Asked()
    id_, candidate = to(ANNE)
    world.ask((id_, candidate))
    world.answer(asked=[ANNE])
    edited = (id_, replace(candidate, body=body_of("hello", recipient=BEN)))
    assert world.suppressions.known([edited], NOW) == []
    assert world.ask(edited) == [key_of(BEN)]


@pytest.mark.parametrize("tenants", [None, ["other"]])
def test_who_cannot_know_who_has_a_list_asks_about_everybody(
    tenants: list[str] | None,
) -> None:
    world = Asked(tenants)
    now = NOW if tenants is None else Instant(later(NOW, FRESH_MS) + 1)
    assert world.suppressions.known([to(ANNE)], now) == []
    assert world.ask(to(ANNE), now=now) == [key_of(ANNE)]


def test_a_process_that_never_read_asks_about_everybody() -> None:
    suppressions = Suppressions(ListingTenants())
    assert suppressions.known([to(ANNE)], NOW) == []
    assert suppressions.may_ask(NOW)


def test_what_could_not_be_read_is_asked_for_again_a_little_later() -> None:
    world = Asked()
    anne, ben = to(ANNE), to(BEN)
    world.ask(anne, ben)
    world.answer(asked=[BEN])
    assert world.suppressions.known([anne, ben], NOW) == [ben]
    assert world.suppressions.waiting_count == 1
    assert world.ask(anne, ben) is None
    assert world.ask(anne, ben, now=later(NOW, SUPPRESSION_REPEAT_MS)) == [key_of(ANNE)]


def test_what_is_too_old_is_forgotten() -> None:
    world = Asked()
    for n in range(100):
        now = later(NOW, n * FRESH_MS)
        world.lists.on_read(["default"], as_of=now)
        pair = to(f"+4477009001{n:02}")
        world.ask(pair, now=now)
        world.answer(asked=[f"+4477009001{n:02}"], now=now)
    assert len(world.suppressions._answers) <= 3


@pytest.mark.parametrize(
    ("fold", "step"),
    [
        (None, step_of(attempt=1, try_no=1, event=Event.SUPPRESS)),
        (
            step_of(attempt=1, try_no=1, event=Event.DEFER),
            step_of(attempt=2, try_no=1, event=Event.SUPPRESS),
        ),
        (
            step_of(attempt=1, try_no=1, event=Event.NOT_SENT),
            step_of(attempt=1, try_no=2, event=Event.SUPPRESS),
        ),
    ],
)
def test_the_line_follows_what_the_message_went_through(fold: Step | None, step: Step) -> None:
    builder = EntryBuilder()
    id_, candidate = to(ANNE)
    add_suppression_lines(
        builder, [(id_, replace(candidate, fold=fold))], ["bounce"], room_bytes=1_000
    )
    entry = builder.build(at=NOW, connector="file", checkpoint=None)
    assert list(entry.steps) == [step]
    assert entry.details == {0: "bounce"}
    assert list(entry.events_before) == [0 if fold is None else event_of(fold)]


def test_why_is_left_out_where_there_is_no_room_for_it() -> None:
    builder = EntryBuilder()
    pairs = [to(ANNE), to(BEN)]
    add_suppression_lines(builder, pairs, ["bounce", "bounce"], room_bytes=40)
    entry = builder.build(at=NOW, connector="file", checkpoint=None)
    assert len(entry.steps) == 2
    assert entry.details == {0: "bounce"}


# --- in a lane ------------------------------------------------------------------------------------


def test_those_who_wait_for_an_answer_take_no_room_from_those_behind_them() -> None:
    lists = ListingTenants()
    lists.on_read(["default"], as_of=NOW)
    story = LaneStory(lists=lists)
    held = [to(ANNE, name=str(n)) for n in range(4)]  # as many as F
    behind = to(BEN, tenant="other")
    pairs = [*held, behind]
    story.lane.on_doorbell(
        message_ids=[id_ for id_, _ in pairs],
        partition_keys=[one.pk for _, one in pairs],
        borns=[one.born for _, one in pairs],
        groups=[one.group for _, one in pairs],
        bodies=[one.body or Body(b"") for _, one in pairs],
    )
    actions = story.lane.decide(NOW)
    [read] = [one for one in actions if isinstance(one, ReadSuppressions)]
    [append] = [one for one in actions if isinstance(one, Append)]
    assert decode_entry(append.body).message_ids == [behind[0]]
    story.lane.on_applied(append.seq, now=NOW)
    story.lane.on_suppressions(dict.fromkeys(read.keys, "opt_out"), now=NOW)
    [append] = [one for one in story.lane.decide(NOW) if isinstance(one, Append)]
    entry = decode_entry(append.body)
    assert {event_of(Step(step)) for step in entry.steps} == {Event.SUPPRESS}
    assert len(entry.steps) == 3, "one claim is open, of the four that a lane may have"
