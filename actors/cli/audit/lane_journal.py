"""A lane's journal, read from its newest entry to its oldest."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actors.cli.audit.findings import FindingKind, Findings
from pipeline.instant import Instant
from pipeline.lane.books import Counts, tally_of
from pipeline.lane.entry import (
    NO_COMMANDS,
    NO_TIMERS,
    Checkpoint,
    Entry,
    EntryUnreadable,
    decode_entry,
)
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.message import MessageId
from pipeline.ports import JournalEntry


@dataclass(slots=True, kw_only=True)
class LaneJournal:
    """What a lane's journal says of it."""

    offset: Instant
    ordered_offset: Instant  # of rows with an ordering key
    timer_cursor: Instant = NO_TIMERS
    command_cursor: Instant = NO_COMMANDS
    # Commands that un-retired entries answer.
    answered: set[bytes] = field(default_factory=set)
    entries_count: int = 0
    # Steps of the messages that un-retired entries name.
    named: dict[MessageId, list[int]] = field(default_factory=dict)
    # Those of them that were claimed, with the connector of the newest claim.
    claimed_by: dict[MessageId, str] = field(default_factory=dict)
    # What un-retired entries say that is not in the cells yet, by book.
    uncounted: dict[str, Counts] = field(default_factory=dict)


def read_lane_journal(
    lane: str,
    entries: Iterable[JournalEntry],
    *,
    first_offset: Instant,
    as_of: Mapping[str, int],
    findings: Findings,
) -> LaneJournal:
    """Read all entries, newest first.  `as_of`: of the lane's cells, by book."""
    journal = LaneJournal(offset=first_offset, ordered_offset=first_offset)
    newest: Checkpoint | None = None
    later: Checkpoint | None = None
    seq_above: int | None = None
    for journaled in entries:
        journal.entries_count += 1
        if seq_above is not None and journaled.seq != seq_above - 1:
            findings.add(
                FindingKind.ENTRY_MISSING,
                where=lane,
                detail=f"entry {seq_above} follows entry {journaled.seq}",
            )
        seq_above = journaled.seq
        try:
            entry = decode_entry(journaled.body)
            if newest is None or journaled.seq > newest.retired_through:
                _take(journal, journaled.seq, entry, as_of)
        except (EntryUnreadable, ValueError) as error:
            # It decodes and makes no sense: columns of different lengths, an unknown event.
            findings.add(
                FindingKind.ENTRY_UNREADABLE, where=lane, detail=f"entry {journaled.seq}: {error}"
            )
            continue
        if entry.checkpoint is None:
            continue
        if newest is None:
            newest = entry.checkpoint
            journal.offset = newest.offset
            journal.ordered_offset = newest.ordered_offset or newest.offset
            journal.timer_cursor = newest.timer_cursor
            journal.command_cursor = newest.command_cursor
        if later is not None and (
            later.offset < entry.checkpoint.offset
            or later.retired_through < entry.checkpoint.retired_through
        ):
            findings.add(
                FindingKind.OFFSET_WENT_BACK,
                where=lane,
                detail=f"the checkpoint after entry {journaled.seq} is behind it",
            )
        later = entry.checkpoint
    return journal


def _take(journal: LaneJournal, seq: int, entry: Entry, as_of: Mapping[str, int]) -> None:
    journal.answered.update(answer.command_id for answer in entry.answers)
    for id_, step in zip(entry.message_ids, entry.steps, strict=True):
        journal.named.setdefault(id_, []).append(step)
        if step & EVENT_MASK == Event.CLAIM:
            journal.claimed_by.setdefault(id_, entry.connector)
    for book, counts in tally_of(entry).items():
        if seq > as_of.get(book, -1):
            journal.uncounted.setdefault(book, Counter()).update(counts)
