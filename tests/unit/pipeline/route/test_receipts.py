"""What follows when a message and what its provider says of it meet."""

import pytest

from pipeline.command import CommandKind, decode_command
from pipeline.instant import Instant, earlier, later
from pipeline.later import ReceiptRow
from pipeline.lifecycle import Event
from pipeline.limits import OUTCOME_DETAIL_CHARS_MAX, RECEIPT_BEFORE_BORN_MS_MAX
from pipeline.message import MessageId, PartitionKey
from pipeline.outcome import ReceiptsBy
from pipeline.route.receipts import (
    ReceiptTerms,
    ReferenceForm,
    Word,
    commands_by_lane,
    matches,
    normal_reference,
    owner_row,
    provider_row,
    receipt_ref,
    reference_of,
)
from tests.support.fake_clock import NOW

LANE = "1.n1.0.sms.bulk-1"
ID_A, ID_B = MessageId(b"a" * 16), MessageId(b"b" * 16)


def owned(
    reference: str = "x",
    *,
    message_id: MessageId = ID_A,
    at: Instant = NOW,
    born: Instant = NOW,
    lane: str = LANE,
) -> ReceiptRow:
    return owner_row(
        "hooks",
        reference,
        message_id=message_id,
        pk=PartitionKey(b"k" * 16),
        lane=lane,
        event=Event.TAKE,
        at=at,
        born=born,
        group="acme/g",
    )


def said(word: Word = Word.DELIVER, reference: str = "x", *, at: Instant = NOW) -> ReceiptRow:
    return provider_row("hooks", reference, word, at=at, detail="250 ok")


def met(*found: ReceiptRow, by: ReceiptRow) -> list[tuple[bytes, str]]:
    return [(match.owner.message_id, match.provider.key) for match in matches(sorted(found), [by])]


@pytest.mark.parametrize("by", [owned(), said()], ids=["the owner", "the receiver"])
def test_whoever_comes_second_sees_both(by: ReceiptRow) -> None:
    assert met(owned(), said(), by=by) == [(ID_A, "deliver")]


@pytest.mark.parametrize("alone", [owned(), said()], ids=["the owner", "the receiver"])
def test_whoever_comes_first_has_nothing_to_do(alone: ReceiptRow) -> None:
    assert met(alone, by=alone) == []


def test_an_owner_acts_on_all_that_came_before_and_a_receiver_on_what_it_brings() -> None:
    rows = owned(), said(Word.TAKE), said(Word.DELIVER)
    assert met(*rows, by=rows[0]) == [(ID_A, "deliver"), (ID_A, "take")]
    assert met(*rows, by=rows[2]) == [(ID_A, "deliver")]


def test_each_reference_is_for_itself() -> None:
    rows = [owned("x"), said(reference="y"), owned("y", message_id=ID_B)]
    found = sorted(rows)
    assert [m.owner.message_id for m in matches(found, rows)] == [ID_B]


def test_another_connectors_reference_is_another_one() -> None:
    assert receipt_ref("hooks", "x") != receipt_ref("hook", "sx")
    assert receipt_ref("hooks", "x") != receipt_ref("texts", "x")


def test_a_name_that_is_used_again_means_the_newer_message() -> None:
    old, new = owned(), owned(message_id=ID_B, at=later(NOW, 5), born=later(NOW, 4))
    word = said(at=later(NOW, 9))
    assert met(old, new, word, by=word) == [(ID_B, "deliver")]
    assert met(old, new, word, by=old) == []  # a successor notes it once more


def test_the_same_word_of_the_newer_message_counts_though_the_first_one_is_kept() -> None:
    old_word, old = said(), owned()
    later_ms = 2 * RECEIPT_BEFORE_BORN_MS_MAX
    new = owned(message_id=ID_B, at=later(NOW, later_ms), born=later(NOW, later_ms))
    word = said(at=later(NOW, later_ms + 9))
    assert met(old, new, old_word, by=word) == [(ID_B, "deliver")]
    assert met(old, new, old_word, by=new) == []


def test_what_was_said_before_a_message_was_accepted_is_not_about_it() -> None:
    word = said()
    for wait_ms, is_met in (
        (RECEIPT_BEFORE_BORN_MS_MAX, True),
        (RECEIPT_BEFORE_BORN_MS_MAX + 1, False),
    ):
        mine = owned(born=later(NOW, wait_ms))
        assert bool(met(mine, word, by=mine)) == is_met


def test_both_sides_make_one_command_of_a_match() -> None:
    rows = sorted([owned(), said()])
    of_owner, of_receiver = (
        commands_by_lane(matches(rows, [mine])) for mine in (owned(), said(at=earlier(NOW, 3)))
    )
    assert of_owner == of_receiver
    ((lane, (command,)),) = of_owner.items()
    assert lane == LANE
    assert (command.kind, command.message_id, command.pk, command.group) == (
        CommandKind.RECEIPT,
        ID_A,
        b"k" * 16,
        "",
    )
    assert len(command.id) == 16
    body = decode_command(command.payload)
    assert (body.born, body.group, body.event, body.detail) == (
        NOW,
        "acme/g",
        Event.DELIVER,
        "250 ok",
    )


def test_what_is_said_twice_in_a_batch_is_one_command() -> None:
    rows = sorted([owned(), said(), said(Word.REFUSE)])
    mine = [said(), said(), said(Word.REFUSE)]
    (commands,) = commands_by_lane(matches([*rows], mine)).values()
    assert len({command.id for command in commands}) == len(commands) == 2


def test_a_batch_is_parted_by_lanes() -> None:
    rows = [owned("x"), owned("y", message_id=ID_B, lane="1.n2.1.sms.urgent")]
    words = [said(reference="x"), said(reference="y")]
    lanes = commands_by_lane(matches(sorted([*rows, *words]), words))
    assert sorted(lanes) == [LANE, "1.n2.1.sms.urgent"]


@pytest.mark.parametrize(
    ("word", "event"),
    [
        (Word.TAKE, Event.TAKE),
        (Word.DELIVER, Event.DELIVER),
        (Word.REFUSE, Event.REFUSE),
        (Word.GONE, Event.REFUSE),
        (Word.COMPLAINT, Event.DELIVER),
        (Word.OPT_OUT, Event.DELIVER),
    ],
)
def test_what_a_word_means_for_the_message(word: Word, event: Event) -> None:
    row = said(word)
    assert (row.event, row.key, row.side) == (event, word.value, "provider")


def test_a_long_detail_is_cut() -> None:
    row = provider_row("hooks", "x", Word.TAKE, at=NOW, detail="y" * 1_000)
    assert len(row.detail) == OUTCOME_DETAIL_CHARS_MAX


@pytest.mark.parametrize(
    ("form", "spellings"),
    [
        (ReferenceForm.TEXT, ["aB0", " aB0\n"]),
        (ReferenceForm.ANY_CASE, ["ab0", "AB0 "]),
        (ReferenceForm.NUMBER, ["12", "0012", " 12"]),
        (ReferenceForm.NUMBER, ["0", "000"]),
    ],
)
def test_one_spelling_stands_for_all(form: ReferenceForm, spellings: list[str]) -> None:
    assert {normal_reference(text, form) for text in spellings} == {spellings[0]}


def test_what_receipts_name_a_message_by() -> None:
    by_id = ReceiptTerms(by=ReceiptsBy.MESSAGE_ID)
    assert reference_of(by_id, ID_A, "sim-1") == ID_A.hex()
    assert reference_of(ReceiptTerms(), ID_A, " sim-1 ") == "sim-1"
    assert reference_of(ReceiptTerms(), ID_A, " ") == ""
    assert reference_of(ReceiptTerms(form=ReferenceForm.NUMBER), ID_A, "") == ""
