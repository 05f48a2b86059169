"""The recent set: exactly the ids that un-retired journal entries name, each with its last step.

Never a Bloom filter: a false "seen before" would lose a message, a false "never seen" would send
one twice.  For speed a step and the seq of the entry that named it last are one number.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.instant import Instant
from pipeline.lane.editions import Unconfirmed
from pipeline.lane.entry import Entry, EntryBuilder
from pipeline.lane.past import Past
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, Step
from pipeline.message import MessageId

_SEQ_SHIFT: Final = 32
STEP_MASK: Final = (1 << _SEQ_SHIFT) - 1


@dataclass(slots=True)
class UnretiredEntry:
    """What must be remembered of an entry until it retires."""

    seq: int
    message_ids: Sequence[MessageId]
    born_max: Instant
    open_count: int  # claims whose newest naming is this entry, without an outcome


class RecentSet:
    """Ids and their last steps, and the entries that hold them."""

    def __init__(self, entries: Iterable[tuple[int, Entry]]) -> None:
        self._known: dict[MessageId, int] = {}
        self._pasts: dict[MessageId, Past] = {}
        self._entries: deque[UnretiredEntry] = deque()
        self._by_seq: dict[int, UnretiredEntry] = {}
        # None of their entries retires before they are confirmed.
        self.unconfirmed = Unconfirmed()
        for seq, entry in entries:
            self.name_lines(seq, entry)

    def __contains__(self, id_: MessageId) -> bool:
        return id_ in self._known

    def __len__(self) -> int:
        return len(self._known)

    @property
    def entries_count(self) -> int:
        """How many entries are not retired."""
        return len(self._entries)

    @property
    def has_entries(self) -> bool:
        """Whether any message is named by an un-retired entry."""
        return bool(self._known)

    def step(self, id_: MessageId) -> Step | None:
        """Return the last step of an id, None if no un-retired entry names it."""
        known = self._known.get(id_)
        return None if known is None else Step(known & STEP_MASK)

    def step_or_none(self, id_: MessageId) -> int | None:
        """Return a number whose low bits are the last step; for scans of many rows."""
        return self._known.get(id_)

    def past(self, id_: MessageId) -> Past | None:
        """Return what is behind the message, as its last line has it."""
        return self._pasts.get(id_)

    def name_lines(self, seq: int, lines: Entry | EntryBuilder) -> None:
        """Add the ids of a new entry, and what is behind them.

        A line that is not the end and does not say it (a message is parked, or brought forward)
        changes nothing about that.
        """
        self.name(seq, lines.message_ids, steps=lines.steps, borns=lines.borns)
        self.unconfirmed.on_named(lines)
        if lines.pasts or self._pasts:
            for n, id_ in enumerate(lines.message_ids):
                if past := lines.pasts.get(n):
                    self._pasts[id_] = past
                elif lines.steps[n] & EVENT_MASK >= RESOLVED_FROM:
                    self._pasts.pop(id_, None)

    def entry(self, seq: int) -> UnretiredEntry:
        """Return an un-retired entry."""
        return self._by_seq[seq]

    def name(
        self,
        seq: int,
        message_ids: Sequence[MessageId],
        *,
        steps: Sequence[int],
        borns: Sequence[Instant],
    ) -> UnretiredEntry:
        """Add the ids of a new entry with their steps; a later line of an id counts."""
        tag = seq << _SEQ_SHIFT
        self._known.update(zip(message_ids, [tag | step for step in steps], strict=True))
        unretired = UnretiredEntry(seq, message_ids, max(borns, default=Instant(0)), open_count=0)
        self._entries.append(unretired)
        self._by_seq[seq] = unretired
        return unretired

    def retirable_through(self, *, offset: Instant, prompt_us: int, done_through: int) -> int:
        """Return the seq through which entries may retire once `offset` is journaled, or -1.

        `done_through`: projected and counted in the books, both acknowledged.
        """
        through = -1
        for entry in self._entries:
            if entry.open_count or entry.seq > done_through or offset <= entry.born_max + prompt_us:
                break
            through = entry.seq
        return through

    def names_any_through(self, seq: int) -> bool:
        """Return whether an entry up to `seq` names a message."""
        for entry in self._entries:
            if entry.seq > seq:
                return False
            if entry.message_ids:
                return True
        return False

    def retire(self, through: int) -> None:
        """Forget the entries up to `through`, and the ids that no later entry names."""
        known = self._known
        while self._entries and self._entries[0].seq <= through:
            entry = self._entries.popleft()
            del self._by_seq[entry.seq]
            for id_ in entry.message_ids:
                if known.get(id_, -1) >> _SEQ_SHIFT == entry.seq:
                    del known[id_]
                    if self._pasts:
                        self._pasts.pop(id_, None)
