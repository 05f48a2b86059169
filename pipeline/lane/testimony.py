"""What a deposed owner knows of its own claims, and its successor cannot (design 5.5).

Its successor found claims without outcome and called them uncertain; the answers come to this one.
It may journal nothing any more, so it tells the lane by commands, and the owner of now, the only
judge, counts its word for what is uncertain, of the same claim.  Only where nobody hands a claim
over again, or asks for it, there is something to tell: then its copy was the only one, and a
refusal of it is as good as a yes.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from pipeline.command import CommandBody, CommandKind, encode_command
from pipeline.instant import Instant
from pipeline.lane.entry import Entry
from pipeline.lane.gate import Gate
from pipeline.lane.window import Window
from pipeline.later import CommandEntry, ReceiptRow
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.message import MessageId, PartitionKey
from pipeline.outcome import Outcomes, ReceiptsBy
from pipeline.route.receipts import owner_row, reference_of

BY: Final = "the owner before"

_ID_BYTES: Final = 16
_ENDS: Final = frozenset({Event.TAKE, Event.REFUSE})


class Testimony:
    """Of one owner, once it is fenced.  At most as much as it had claimed."""

    def __init__(self, gate: Gate, *, lane: str, at: Instant) -> None:
        self._gate = gate
        self._lane = lane
        self._at = at
        self._commands: list[CommandEntry] = []
        self._references: list[ReceiptRow] = []

    def hear_entry(self, entry: Entry) -> None:
        """Take the entry that was refused: its outcomes are in no journal."""
        if not self._gate.is_testified(entry.connector):
            return
        for n, (step, before) in enumerate(zip(entry.steps, entry.events_before, strict=True)):
            if before == Event.CLAIM and step & EVENT_MASK in _ENDS:
                self._add(
                    entry.connector,
                    step,
                    message_id=entry.message_ids[n],
                    pk=entry.key_at(n),
                    born=entry.borns[n],
                    group=entry.groups[n],
                    detail=entry.details.get(n, ""),
                    reference=entry.references.get(n, ""),
                )

    def hear(self, window: Window, outcomes: Outcomes, positions: Sequence[int] | None) -> None:
        """Take outcomes of a window that are not journaled, at these positions (None: all)."""
        if not self._gate.is_testified(window.connector):
            return
        at = range(len(window.message_ids)) if positions is None else positions
        for m, (n, event) in enumerate(zip(at, outcomes.events, strict=True)):
            if event in _ENDS:
                self._add(
                    window.connector,
                    window.steps[n] - Event.CLAIM + event,
                    message_id=window.message_ids[n],
                    pk=window.partition_keys[n],
                    born=window.borns[n],
                    group=window.groups[n],
                    detail=outcomes.details.get(m, ""),
                    reference=outcomes.references.get(m, ""),
                )

    def take(self) -> tuple[list[CommandEntry], list[ReceiptRow]]:
        """Return the commands to the lane, and rows of `receipts`; each is returned once."""
        told = self._commands, self._references
        self._commands, self._references = [], []
        return told

    def _add(
        self,
        connector: str,
        step: int,
        *,
        message_id: MessageId,
        pk: PartitionKey,
        born: Instant,
        group: str,
        detail: str,
        reference: str,
    ) -> None:
        event = step & EVENT_MASK
        text = message_id + step.to_bytes(4)
        body = CommandBody(born=born, group=group, event=event, step=step, detail=detail)
        self._commands.append(
            CommandEntry(
                id=blake2b(text, digest_size=_ID_BYTES, person=b"testimony").digest(),
                kind=CommandKind.TESTIMONY,
                message_id=message_id,
                pk=pk,
                group="",
                by=BY,
                payload=encode_command(body),
            )
        )
        terms = self._gate.receipts(connector)
        # By our id it is noted already, as what is uncertain.
        if terms is None or terms.by is not ReceiptsBy.REFERENCE or event != Event.TAKE:
            return
        if name := reference_of(terms, message_id, reference):
            self._references.append(
                owner_row(
                    connector,
                    name,
                    message_id=message_id,
                    pk=pk,
                    lane=self._lane,
                    event=event,
                    at=self._at,
                    born=born,
                    group=group,
                )
            )
