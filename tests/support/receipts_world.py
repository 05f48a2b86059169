"""Receipts in the world of one lane: early, twice, late or never, and a receiver that dies.

Both sides write and read in two steps, with anything between them.  The rules are the real ones;
only the store and the way there are made up.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.instant import Instant, later
from pipeline.later import ReceiptRow
from pipeline.message import MessageId
from pipeline.outcome import ReceiptsBy
from pipeline.route.receipts import (
    ReceiptTerms,
    Word,
    commands_by_lane,
    matches,
    provider_row,
    reference_of,
)


@dataclass(slots=True)
class ReceiptsWorld:
    """The table, the provider's callbacks, and the commands that came of both."""

    connector: str
    terms: ReceiptTerms
    chance: random.Random
    table: dict[tuple[object, ...], ReceiptRow] = field(default_factory=dict)
    on_their_way: list[tuple[Instant, ReceiptRow, bool]] = field(default_factory=list)
    said: dict[MessageId, ReceiptRow] = field(default_factory=dict)
    heard: set[MessageId] = field(default_factory=set)
    early_count: int = 0

    def reference(self, id_: MessageId) -> str:
        """Return the provider's own name of a message."""
        return f"ref-{id_.hex()[:12]}"

    def take(self, id_: MessageId, *, now: Instant) -> None:
        """Take a message, and say what became of it, in a while and perhaps twice."""
        kind = self.chance.random()
        if kind < 0.3 or id_ in self.said:
            return
        reference = reference_of(self.terms, id_, self.reference(id_))
        word = self.chance.choice([Word.DELIVER, Word.REFUSE])
        row = provider_row(self.connector, reference, word, at=now, detail="")
        self.said[id_] = row
        for _ in range(1 + (kind < 0.5)):
            self.on_their_way.append((later(now, self.chance.randrange(8_000)), row, False))

    def receive(self, *, now: Instant) -> None:
        """Let a receiver take one step with one receipt; it may die between the two."""
        due = [item for item in self.on_their_way if item[0] <= now]
        if not due:
            return
        item = self.chance.choice(due)
        self.on_their_way.remove(item)
        at, row, is_written = item
        if self.chance.random() < 0.1:
            # It was never answered, or not heard: the provider says it again.
            self.on_their_way.append((later(now, 500), row, False))
        elif not is_written:
            self.write([row])
            self.on_their_way.append((at, row, True))
        else:
            self.act([row])
            self.early_count += not any(
                other.side == "owner" and other.ref == row.ref for other in self.table.values()
            )

    def write(self, rows: Iterable[ReceiptRow]) -> None:
        """Write rows as a store does; one that is there stays."""
        for row in rows:
            self.table.setdefault(row[:3], row)

    def act(self, written: Sequence[ReceiptRow]) -> None:
        """Read the partitions and make the commands that follow."""
        refs = {row.ref for row in written}
        found = sorted(row for row in self.table.values() if row.ref in refs)
        for commands in commands_by_lane(matches(found, written)).values():
            self.heard.update(MessageId(command.message_id) for command in commands)

    def check_end(self, known: set[MessageId]) -> None:
        """Whatever was said of a message whose reference is journaled has reached its lane."""
        for id_ in self.said:
            if self.terms.by is ReceiptsBy.MESSAGE_ID or id_ in known:
                assert id_ in self.heard, f"a receipt of {id_.hex()} is lost"


__all__ = ["ReceiptsWorld"]
