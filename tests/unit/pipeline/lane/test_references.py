"""When the names that receipts come by are noted, and what waits for that."""

import pytest

from pipeline.instant import Instant, later
from pipeline.lane import actions as act
from pipeline.lane.entry import Entry, EntryBuilder, encode_entry
from pipeline.lane.gate import Gate
from pipeline.lane.recovery import JournalReadBack
from pipeline.lane.references import References
from pipeline.lane.window import Answer, Window
from pipeline.lifecycle import Event, Step, step_of
from pipeline.limits import JOURNAL_BODY_BYTES_MAX, REFERENCE_CHARS_MAX, Windows
from pipeline.message import MessageId, PartitionKey
from pipeline.outcome import Outcomes, ProviderClass, ReceiptsBy
from pipeline.ports import JournalEntry
from pipeline.route.receipts import ReceiptTerms, ReferenceForm, receipt_ref
from tests.support.fake_clock import NOW
from tests.support.gates import gate_of
from tests.support.lane_story import GROUP, WINDOWS, LaneStory, id_of

CLAIMED_A = "ring:a CLAIM:a applied HAND:a"
ID_OF_A = id_of("a").hex()


def by_reference(form: ReferenceForm = ReferenceForm.TEXT) -> Gate:
    return gate_of(has_receipts=True, receipts=ReceiptTerms(form=form))


def by_id(provider_class: ProviderClass = ProviderClass.CORRELATED) -> Gate:
    return gate_of(
        provider_class=provider_class,
        has_receipts=True,
        receipts=ReceiptTerms(by=ReceiptsBy.MESSAGE_ID),
    )


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(
            f"{CLAIMED_A} tookas:a=x NONOTE applied NOTE:a=x noted NONOTE", id="journaled"
        ),
        pytest.param(f"{CLAIMED_A} took applied NONOTE", id="no name, no row"),
        pytest.param(f"{CLAIMED_A} tookas:a={'x' * 129} applied NONOTE", id="too long a name"),
        pytest.param(
            "ring:a,b applied tookas:b=x applied NOTE:b=x", id="of two only one has a name"
        ),
        pytest.param(
            f"{CLAIMED_A} tookas:a=x applied notefails NONOTE +249 NONOTE +1 NOTE:a=x",
            id="perhaps noted: noted again",
        ),
        pytest.param(
            f"{CLAIMED_A} tookas:a=x applied ring:b applied tookas:b=y applied"
            " NOTE:a=x noted NOTE:b=y noted",
            id="one note is under way",
        ),
        pytest.param(f"{CLAIMED_A} refused applied NONOTE", id="refused: nothing will come"),
        pytest.param(
            f"{CLAIMED_A} drain tookas:a=x applied settle BUSY noted DRAINED",
            id="a drain waits for it",
        ),
    ],
)
def test_what_is_noted_by_a_providers_own_name(story: str) -> None:
    LaneStory(gate=by_reference()).tell(story)


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(f"{CLAIMED_A} took applied NOTE:a={ID_OF_A}", id="taken"),
        pytest.param(f"{CLAIMED_A} tookas:a=x applied NOTE:a={ID_OF_A}", id="whatever it says"),
        pytest.param(f"{CLAIMED_A} lost applied NOTE:a={ID_OF_A}", id="perhaps taken"),
        pytest.param(f"{CLAIMED_A} refused applied NONOTE", id="refused"),
    ],
)
def test_what_is_noted_by_our_id(story: str) -> None:
    LaneStory(gate=by_id()).tell(story)


def test_what_a_receipt_or_somebody_settled_brings_no_new_reference() -> None:
    references = References(by_id(), lane="lane", windows=WINDOWS, now=NOW)
    for seq, before in enumerate((Event.LOSE_ANSWER, Event.CLAIM)):
        references.on_journaled(
            seq,
            Entry(
                at=NOW,
                connector="file",
                message_ids=[id_of("a")],
                steps=[step_of(attempt=1, try_no=1, event=Event.TAKE)],
                events_before=[before],
                borns=[NOW],
                groups=[GROUP],
                partition_keys={},
                details={},
                checkpoint=None,
            ),
        )
        assert references.is_settled == (before != Event.CLAIM)
    assert references.done_through == 0


def test_a_connector_without_receipts_costs_nothing() -> None:
    story = LaneStory(gate=gate_of()).tell(f"{CLAIMED_A} tookas:a=x")
    assert story.entry is not None
    assert story.entry.references == {}
    story.tell("applied NONOTE")


def test_spellings_that_mean_the_same_are_one_reference() -> None:
    refs = []
    for form, spelling in (
        (ReferenceForm.ANY_CASE, "AbC"),
        (ReferenceForm.ANY_CASE, "abc"),
        (ReferenceForm.NUMBER, "007"),
        (ReferenceForm.NUMBER, "7"),
    ):
        story = LaneStory(gate=by_reference(form)).tell(f"{CLAIMED_A} tookas:a={spelling} applied")
        refs.append(story.asked_for(act.NoteReferences).rows[0].ref)
    assert refs == [receipt_ref("file", name) for name in ("abc", "abc", "7", "7")]


def test_an_owners_row_tells_a_command_all_that_it_has_to_say() -> None:
    story = LaneStory(gate=by_reference()).tell(f"{CLAIMED_A} tookas:a=x applied")
    row = story.asked_for(act.NoteReferences).rows[0]
    assert (row.message_id, row.pk, row.born, row.group) == (
        id_of("a"),
        id_of("a"),
        story.born("a"),
        GROUP,
    )
    assert row.lane == "1.n1.0.sms.bulk-1"
    assert row.event == Event.TAKE


def retired_through(story: LaneStory) -> int:
    """Let seconds pass, in which all but the notes is answered."""
    for _ in range(8):
        story.tell("+1000 row settle +250 settle")
    checkpoints = []
    for seq, body in story.journal:
        read_back = JournalReadBack(newest_segment=0, first_offset=Instant(0))
        read_back.on_entries([JournalEntry(seq, body)], limit=2)
        checkpoints.append(read_back.result().retired_through)
    return max(checkpoints)


def test_an_entry_retires_only_when_its_references_are_noted() -> None:
    waiting = LaneStory(gate=by_reference()).tell(f"{CLAIMED_A} row:a tookas:a=x applied settle")
    seq = next(n for n, body in waiting.journal if b"x" in body)
    assert retired_through(waiting) < seq
    waiting.tell("noted")
    assert retired_through(waiting) >= seq


def test_a_successor_notes_what_its_predecessor_had_journaled() -> None:
    gate = by_reference()
    before = LaneStory(gate=gate).tell(f"{CLAIMED_A} tookas:a=x applied NOTE:a=x")
    read_back = JournalReadBack(newest_segment=0, first_offset=Instant(0))
    read_back.on_entries(
        [JournalEntry(seq, body) for seq, body in reversed(before.journal)], limit=100
    )
    after = LaneStory(read_back.result(), borns=before.borns, gate=gate, now=before.now)
    after.tell("NOTE:a=x notefails +250 NOTE:a=x noted NONOTE")


def test_a_clock_that_is_set_back_puts_nothing_off() -> None:
    story = LaneStory(gate=by_reference()).tell(f"{CLAIMED_A} tookas:a=x applied notefails NONOTE")
    story.pass_time(-3_600_000)
    story.tell("NOTE:a=x")


def test_references_too_long_for_one_body_are_journaled_in_parts() -> None:
    count = 1_024
    ids = [MessageId(n.to_bytes(16)) for n in range(count)]
    window = Window(
        connector="file",
        message_ids=ids,
        partition_keys=[PartitionKey(id_) for id_ in ids],
        borns=[NOW] * count,
        groups=[GROUP] * count,
        steps=[step_of(attempt=1, try_no=1, event=Event.CLAIM)] * count,
        bodies=[None] * count,
        claimed_at=NOW,
        named_at=NOW,
        send_before=later(NOW, 1),
    )
    longest = "é" * REFERENCE_CHARS_MAX
    said = Outcomes(
        events=bytes([Event.TAKE] * (count - 1) + [Event.DEFER]),
        references=dict.fromkeys(range(count - 1), longest),
    )
    parts = list(Answer(window, said, None, expired=[count - 1]).in_parts())
    assert len(parts) > 1
    assert [n for part in parts for n in part.positions or ()] == list(range(count))
    assert [part.expired for part in parts if part.expired] == [
        [len(parts[-1].outcomes.events) - 1]
    ]
    assert sum(len(part.outcomes.references) for part in parts) == count - 1
    for part in parts:
        lines = _entry_bytes(window, part)
        assert lines < JOURNAL_BODY_BYTES_MAX


def test_references_that_fit_stay_in_one_part() -> None:
    ids = [MessageId(n.to_bytes(16)) for n in range(Windows().claims_open_max)]
    count = len(ids)
    window = Window(
        connector="file",
        message_ids=ids,
        partition_keys=[PartitionKey(id_) for id_ in ids],
        borns=[NOW] * count,
        groups=[GROUP] * count,
        steps=[Step(1 << 24 | 1 << 8 | Event.CLAIM)] * count,
        bodies=[None] * count,
        claimed_at=NOW,
        named_at=NOW,
        send_before=later(NOW, 1),
    )
    said = Outcomes.all_alike(Event.TAKE, count)
    named = Outcomes(events=said.events, references=dict.fromkeys(range(count), "a" * 36))
    (part,) = Answer(window, named, None).in_parts()
    assert part.positions is None
    assert _entry_bytes(window, part) < JOURNAL_BODY_BYTES_MAX


def _entry_bytes(window: Window, part: Answer) -> int:
    builder = EntryBuilder()
    window.add_outcome_lines(builder, part.outcomes, part.positions)
    return len(encode_entry(builder.build(at=NOW, connector="file", checkpoint=None)))
