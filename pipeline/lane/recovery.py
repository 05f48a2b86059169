"""What a new owner reads back of its lane's journal before all else (docs/protocol.md, 5.2).

The journal is read from its newest entry backwards, one segment after the other: the newest
checkpoint says through which seq entries have retired, and nothing older is needed.  As a seq is
never left out, what has retired is not even looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.instant import Instant
from pipeline.lane.entry import (
    AS_THE_OFFSET,
    NO_COMMANDS,
    NO_TIMERS,
    Checkpoint,
    Entry,
    decode_entry,
)
from pipeline.lane.window import Window
from pipeline.lifecycle import EVENT_MASK, Event
from pipeline.message import MessageId
from pipeline.ports import JournalEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Where the predecessor stopped."""

    next_seq: int
    offset: Instant
    retired_through: int
    timer_cursor: Instant = NO_TIMERS
    command_cursor: Instant = NO_COMMANDS
    restored_at: Instant | None = None  # the data comes from a backup: see `restored`
    is_segment_new: bool = False  # nobody has appended to the newest segment
    ordered_offset: Instant = AS_THE_OFFSET
    is_after_crash: bool = False  # else its owner gave it away, or was drained
    # What the predecessor was about to touch, and at how many ends it was before: see `caution`.
    trial: Sequence[MessageId] = ()
    starts: int = 0
    missed: int = 0
    entries: Sequence[tuple[int, Entry]]  # un-retired, in order of seq

    @property
    def read_from(self) -> Instant:
        """The `at` of the first row that may not be resolved."""
        return min(self.offset, self.ordered_offset or self.offset)

    def open_claims(self) -> list[Window]:
        """Return the claims without outcome, as windows of the entries that named them last."""
        last_named: dict[MessageId, tuple[int, int]] = {}
        for seq, entry in self.entries:
            for id_, step in zip(entry.message_ids, entry.steps, strict=True):
                last_named[id_] = (seq, step)
        windows = []
        for seq, entry in self.entries:
            positions = [
                n
                for n, id_ in enumerate(entry.message_ids)
                if last_named[id_] == (seq, entry.steps[n])
                and entry.steps[n] & EVENT_MASK == Event.CLAIM
            ]
            if positions:
                windows.append(_window_of(seq, entry, positions))
        return windows


def _window_of(seq: int, entry: Entry, positions: Sequence[int]) -> Window:
    ids = [entry.message_ids[n] for n in positions]
    keys = [entry.key_at(n) for n in positions]
    return Window(
        seq=seq,
        connector=entry.connector,
        claimed_at=entry.at,
        is_recovered=True,
        claimed_before=frozenset(
            n
            for n, position in enumerate(positions)
            if entry.events_before[position] == Event.CLAIM
        ),
        message_ids=ids,
        partition_keys=keys,
        borns=[entry.borns[n] for n in positions],
        groups=[entry.groups[n] for n in positions],
        steps=[entry.steps[n] for n in positions],
        bodies=[None] * len(positions),
        pasts={
            n: entry.pasts[position]
            for n, position in enumerate(positions)
            if position in entry.pasts
        },
        named_at=entry.at,
        send_before=entry.at,
    )


class JournalReadBack:
    """Collects a journal, newest first, until all that is un-retired is here."""

    def __init__(self, *, newest_segment: int, first_offset: Instant) -> None:
        self._first_offset = first_offset
        self._newest_segment = newest_segment
        self._segment = newest_segment
        self._is_segment_new = False
        self._entries: list[tuple[int, Entry]] = []
        self._checkpoint: Checkpoint | None = None
        self._is_complete = False

    @property
    def segment(self) -> int:
        """Read entries of this segment next."""
        return self._segment

    @property
    def before_seq(self) -> int | None:
        """Read entries with a seq below this one next; None: from the newest."""
        return self._entries[-1][0] if self._entries else None

    @property
    def is_complete(self) -> bool:
        """Nothing more needs to be read."""
        return self._is_complete

    def on_entries(self, page: Sequence[JournalEntry], *, limit: int) -> None:
        """Take a page that was asked for with this limit, newest first."""
        if self._segment == self._newest_segment and not self._entries:
            self._is_segment_new = not page
        for journaled in page:
            if self._is_retired(journaled.seq):
                break
            entry = decode_entry(journaled.body)
            self._entries.append((journaled.seq, entry))
            if self._checkpoint is None:
                self._checkpoint = entry.checkpoint
        if self._entries and self._is_retired(self._entries[-1][0] - 1):
            self._is_complete = True
        elif len(page) < limit:
            self._is_complete = self._segment == 0
            self._segment = max(self._segment - 1, 0)

    def _is_retired(self, seq: int) -> bool:
        return self._checkpoint is not None and seq <= self._checkpoint.retired_through

    def result(
        self, *, restored_at: Instant | None = None, is_after_crash: bool = False
    ) -> Recovered:
        """Return what was read back."""
        assert self._is_complete
        checkpoint = self._checkpoint
        newest = self._entries[0][1] if self._entries else None
        return Recovered(
            next_seq=self._entries[0][0] + 1 if self._entries else 0,
            offset=checkpoint.offset if checkpoint else self._first_offset,
            retired_through=checkpoint.retired_through if checkpoint else -1,
            timer_cursor=checkpoint.timer_cursor if checkpoint else NO_TIMERS,
            command_cursor=checkpoint.command_cursor if checkpoint else NO_COMMANDS,
            restored_at=restored_at,
            is_segment_new=self._is_segment_new,
            ordered_offset=checkpoint.ordered_offset if checkpoint else AS_THE_OFFSET,
            is_after_crash=is_after_crash,
            trial=newest.trial if newest else (),
            missed=checkpoint.missed if checkpoint else 0,
            starts=newest.checkpoint.starts if newest and newest.checkpoint else 0,
            entries=list(reversed(self._entries)),
        )
