"""By which names the providers' receipts will come: noted once a hand-over is journaled (5.5).

An entry that says of messages that their provider has them, or may have them, retires only when
their references stand in `receipts` and what had come before was read there.  So nothing is lost
however early a receipt comes: a receiver that found no row of the owner's left its own for it.
Connectors without receipts cost a look at each entry.
"""

from collections import deque
from typing import Final

from pipeline.instant import Instant, later
from pipeline.lane.actions import Action, NoteReferences
from pipeline.lane.entry import Entry
from pipeline.lane.gate import Gate
from pipeline.later import ReceiptRow
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.limits import PROJECT_ROWS_MAX, Windows
from pipeline.route.receipts import ReceiptTerms, owner_row, reference_of

# All entries, where none waits.
_NOTHING_OPEN: Final = (1 << 63) - 1
_WITH_THE_PROVIDER: Final = frozenset({Event.TAKE, Event.LOSE_ANSWER})


class References:
    """For one owner.  Events and actions are those of its `Lane`."""

    def __init__(self, gate: Gate, *, lane: str, windows: Windows, now: Instant) -> None:
        self._gate = gate
        self._lane = lane
        self._checkpoint_ms = windows.checkpoint_ms
        self._to_note: deque[tuple[int, list[ReceiptRow]]] = deque()
        self._noting_through: int | None = None
        self._not_before = now

    @property
    def done_through(self) -> int:
        """No entry up to this seq waits for its references to be noted."""
        return self._to_note[0][0] - 1 if self._to_note else _NOTHING_OPEN

    @property
    def is_settled(self) -> bool:
        """Nothing is left to note."""
        return not self._to_note

    def on_journaled(self, seq: int, entry: Entry) -> None:
        """Take an entry that is definitely in the journal.  They come in the order of seq."""
        terms = self._gate.receipts(entry.connector)
        if terms is not None and (rows := _rows_of(entry, terms, self._lane)):
            self._to_note.append((seq, rows))

    def on_noted(self) -> None:
        """Take the acknowledgement of `NoteReferences`: what receipts had come is acted on."""
        assert self._noting_through is not None
        while self._to_note and self._to_note[0][0] <= self._noting_through:
            self._to_note.popleft()
        self._noting_through = None

    def on_note_failed(self, *, now: Instant) -> None:
        """Note that references may or may not have been noted; they are noted again."""
        self._noting_through = None
        self._not_before = later(now, self._checkpoint_ms)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._not_before = min(self._not_before, now)

    def decide(self, now: Instant) -> list[Action]:
        """Return what is to be noted now."""
        if self._noting_through is not None or not self._to_note or now < self._not_before:
            return []
        rows: list[ReceiptRow] = []
        for seq, more in self._to_note:
            rows.extend(more)
            self._noting_through = seq
            if len(rows) >= PROJECT_ROWS_MAX:
                break
        return [NoteReferences(rows=rows)]


def _rows_of(entry: Entry, terms: ReceiptTerms, lane: str) -> list[ReceiptRow]:
    rows = []
    for n, (step, before) in enumerate(zip(entry.steps, entry.events_before, strict=True)):
        # Only what a hand-over ended with: a receipt or an act of somebody brings no new reference.
        if before != Event.CLAIM or step & EVENT_MASK not in _WITH_THE_PROVIDER:
            continue
        id_ = entry.message_ids[n]
        if reference := reference_of(terms, id_, entry.references.get(n, "")):
            rows.append(
                owner_row(
                    entry.connector,
                    reference,
                    message_id=id_,
                    pk=entry.key_at(n),
                    lane=lane,
                    event=step & EVENT_MASK,
                    at=entry.at,
                    born=entry.borns[n],
                    group=entry.groups[n],
                )
            )
    return rows
