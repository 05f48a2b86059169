"""What a provider says later of a message, and how it reaches the message (docs/protocol.md, 5.5).

Two sides learn of a reference: the lane's owner, from the answer to a hand-over, whose message it
is; a receiver, from a callback or a report, what became of it.  They may come in any order, twice,
or days apart.  Each writes its row to the reference's partition and only then reads it, so that
whoever comes second sees both rows; `matches` tells it what follows, and that is the same, id and
all, if both see them.  Whether the message's state allows what its provider says is the lane's to
judge, so that a late "sent" changes nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from pipeline.command import CommandBody, CommandKind, encode_command
from pipeline.instant import Instant, later
from pipeline.later import CommandEntry, ReceiptRow
from pipeline.lifecycle import Event
from pipeline.limits import OUTCOME_DETAIL_CHARS_MAX, RECEIPT_BEFORE_BORN_MS_MAX
from pipeline.message import MessageId, PartitionKey
from pipeline.outcome import ReceiptsBy
from pipeline.route.suppression import SuppressionReason

OWNER: Final = "owner"
PROVIDER: Final = "provider"

_REF_BYTES: Final = 16
_ASKED_BY: Final = "provider"


class ReferenceForm(StrEnum):
    """Which spellings of a provider's reference mean the same message."""

    TEXT = "text"  # as it stands
    ANY_CASE = "any_case"  # in capitals or not
    NUMBER = "number"  # with zeros before it or without


class ReceiptTerms(NamedTuple):
    """How the receipts of a connector name their messages."""

    by: ReceiptsBy = ReceiptsBy.REFERENCE
    form: ReferenceForm = ReferenceForm.TEXT


class Word(StrEnum):
    """What a provider says.  A row of its side is named so: each is kept once a reference."""

    TAKE = "take"  # it has the message
    DELIVER = "deliver"
    REFUSE = "refuse"  # the message did not arrive, and will not
    # Of the recipient, too: nothing more should go there.
    GONE = "gone"  # there is no such address
    COMPLAINT = "complaint"  # it arrived, and was called spam
    OPT_OUT = "opt_out"  # it arrived, and the recipient wants no more

    @property
    def event(self) -> Event:
        """What that is in the life of the message."""
        return _EVENTS[self]


_EVENTS: Final = {
    Word.TAKE: Event.TAKE,
    Word.DELIVER: Event.DELIVER,
    Word.REFUSE: Event.REFUSE,
    Word.GONE: Event.REFUSE,
    Word.COMPLAINT: Event.DELIVER,
    Word.OPT_OUT: Event.DELIVER,
}
assert set(_EVENTS) == set(Word)

_SUPPRESSING: Final[Mapping[str, SuppressionReason]] = {
    Word.GONE: SuppressionReason.BOUNCE,
    Word.COMPLAINT: SuppressionReason.COMPLAINT,
    Word.OPT_OUT: SuppressionReason.OPT_OUT,
}


def normal_reference(reference: str, form: ReferenceForm) -> str:
    """Return the one spelling that stands for all that mean the same."""
    text = reference.strip()
    match form:
        case ReferenceForm.TEXT:
            return text
        case ReferenceForm.ANY_CASE:
            return text.casefold()
        case ReferenceForm.NUMBER:
            return text.lstrip("0") or "0"


def reference_of(terms: ReceiptTerms, message_id: MessageId, reference: str) -> str:
    """Return what receipts will name a message by, in its normal form; "" if nobody can know."""
    if terms.by is ReceiptsBy.MESSAGE_ID:
        return message_id.hex()
    return normal_reference(reference, terms.form) if reference.strip() else ""


def receipt_ref(connector: str, reference: str) -> bytes:
    """Return the partition of a reference in its normal form.  No connector's name holds a NUL."""
    return blake2b(f"{connector}\0{reference}".encode(), digest_size=_REF_BYTES).digest()


def owner_row(
    connector: str,
    reference: str,
    *,
    message_id: MessageId,
    pk: PartitionKey,
    lane: str,
    event: int,
    at: Instant,
    born: Instant,
    group: str,
) -> ReceiptRow:
    """Return the row that says whose message a reference (in its normal form) is."""
    return ReceiptRow(
        ref=receipt_ref(connector, reference),
        side=OWNER,
        key=message_id.hex(),
        message_id=message_id,
        pk=pk,
        lane=lane,
        event=event,
        at=at,
        detail=f"{connector} {reference}",
        born=born,
        group=group,
    )


def provider_row(
    connector: str, reference: str, word: Word, *, at: Instant, detail: str
) -> ReceiptRow:
    """Return the row that says what a provider said under a reference in its normal form.

    A receipt that comes again makes the same row but for its time: the first one stays.
    """
    return ReceiptRow(
        ref=receipt_ref(connector, reference),
        side=PROVIDER,
        key=word,
        message_id=b"",
        pk=b"",
        lane="",
        event=word.event,
        at=at,
        detail=detail[:OUTCOME_DETAIL_CHARS_MAX],
    )


class Match(NamedTuple):
    """A message, and what its provider says of it."""

    owner: ReceiptRow
    provider: ReceiptRow


def matches(found: Iterable[ReceiptRow], written: Collection[ReceiptRow]) -> list[Match]:
    """Return what follows for who wrote these rows and then found those, sorted by reference.

    An owner acts on all that the provider said before, a receiver on what it brings itself.  A name
    that a provider uses a second time means the newer message, and what was said before a message
    was accepted is not about it.  What a receiver brings is said now, though the first that said so
    stays in the store, perhaps of the message before.
    """
    mine = {row[:3]: row.at for row in written}
    met: list[Match] = []
    for _, partition in groupby(found, key=attrgetter("ref")):
        rows = list(partition)
        owners = [row for row in rows if row.side == OWNER]
        if not owners:
            continue
        owner = max(owners, key=attrgetter("at", "born", "key"))
        is_mine = owner[:3] in mine
        met += [
            Match(owner, row)
            for stored in rows
            for row in (stored._replace(at=max(stored.at, mine.get(stored[:3], stored.at))),)
            if row.side == PROVIDER
            and (is_mine or row[:3] in mine)
            and later(row.at, RECEIPT_BEFORE_BORN_MS_MAX) >= owner.born
        ]
    return met


def receipt_command(match: Match) -> CommandEntry:
    """Return the command to the message's lane; whoever makes it, it has the same id."""
    owner, provider = match
    text = b"".join((owner.ref, owner.message_id, provider.key.encode()))
    return CommandEntry(
        id=blake2b(text, digest_size=_REF_BYTES, person=b"receipt").digest(),
        kind=CommandKind.RECEIPT,
        message_id=owner.message_id,
        pk=owner.pk,
        group="",
        by=_ASKED_BY,
        payload=encode_command(
            CommandBody(
                born=owner.born, group=owner.group, event=provider.event, detail=provider.detail
            )
        ),
    )


def suppression_reason(match: Match) -> SuppressionReason | None:
    """Return why nothing more should go to the recipient of the message, None if it may."""
    return _SUPPRESSING.get(match.provider.key)


def commands_by_lane(met: Sequence[Match]) -> dict[str, list[CommandEntry]]:
    """Return the commands that follow, by the name of the lane, each once."""
    lanes: dict[str, dict[bytes, CommandEntry]] = {}
    for match in met:
        command = receipt_command(match)
        lanes.setdefault(match.owner.lane, {})[command.id] = command
    return {lane: list(commands.values()) for lane, commands in lanes.items()}
