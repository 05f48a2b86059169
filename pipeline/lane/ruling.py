"""What is decided of messages that are not with a provider, on its way into the journal.

A ruling ends a message, settles it, or puts it off.  One that puts it off has a row or timer of the
next attempt, which is durable before the ruling enters a body, as a retry's is (design 5.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.instant import Instant, later
from pipeline.lane.entry import CommandAnswer, EntryBuilder
from pipeline.lane.past import Past, put_off
from pipeline.lane.window import Candidate, lines_bytes
from pipeline.later import EditionRow
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, Event, Step, attempt_of, step_after
from pipeline.limits import JOURNAL_LINES_BYTES_MAX, OUTCOME_DETAIL_CHARS_MAX, Windows
from pipeline.message import AT_ONCE, Body, BufferEntry, MessageId, PartitionKey, TimerRow


class Ruling(NamedTuple):
    """An event of one message.  `fold` is its largest step before."""

    id: MessageId
    pk: PartitionKey
    born: Instant
    group: str
    fold: Step | None
    event: Event
    detail: str = ""  # "": the reason of its batch
    due_at: Instant = AT_ONCE  # of the next attempt, with DEFER
    body: Body | None = None  # what the message holds, if it is known
    past: Past | None = None  # before the ruling

    @property
    def step(self) -> Step:
        """The step that the ruling is."""
        return step_after(self.fold, self.event)

    @property
    def past_after(self) -> Past:
        """What is behind the message once it is put off."""
        is_asked_again = (self.fold or 0) & EVENT_MASK >= RESOLVED_FROM
        return put_off(self.step, self.past, is_asked_again=is_asked_again)


@dataclass(slots=True, kw_only=True)
class Batch:
    """Rulings and answers that one entry journals together."""

    rulings: Sequence[Ruling] = ()
    answers: Sequence[CommandAnswer] = ()
    editions: Sequence[EditionRow] = ()
    command_cursor: Instant | None = None  # what the entry carries out is at most this; None: none
    reason: str = ""
    held: Sequence[MessageId] = ()  # nothing else happens to these until the batch is journaled
    rows: list[BufferEntry] = field(default_factory=list)
    timers: list[TimerRow] = field(default_factory=list)

    def plan(self, now: Instant, windows: Windows) -> None:
        """Find the rows and timers of the next attempts."""
        horizon = later(now, windows.near_horizon_ms)
        self.rows, self.timers = [], []
        for ruling in self.rulings:
            if ruling.event != Event.DEFER:
                continue
            attempt = attempt_of(ruling.step) + 1
            if ruling.due_at > horizon:
                self.timers.append(
                    (ruling.due_at, ruling.id, ruling.pk, ruling.born, attempt, ruling.group)
                )
            else:
                due_at = ruling.due_at if ruling.due_at > now else AT_ONCE
                self.rows.append((ruling.id, ruling.pk, ruling.born, attempt, due_at, ruling.group))

    @property
    def is_durable_first(self) -> bool:
        """Whether something must be written before the batch may be journaled."""
        return bool(self.rows or self.timers or self.editions)

    def add_lines(self, builder: EntryBuilder) -> None:
        """Add the lines of the rulings."""
        edited_at = {row.id: row.at for row in self.editions}
        builder.add_lines(
            message_ids=[ruling.id for ruling in self.rulings],
            partition_keys=[ruling.pk for ruling in self.rulings],
            steps=[ruling.step for ruling in self.rulings],
            events_before=[(ruling.fold or 0) & EVENT_MASK for ruling in self.rulings],
            borns=[ruling.born for ruling in self.rulings],
            groups=[ruling.group for ruling in self.rulings],
            details={
                n: ruling.detail[:OUTCOME_DETAIL_CHARS_MAX]
                for n, ruling in enumerate(self.rulings)
                if ruling.detail
            },
            pasts={
                n: ruling.past_after
                for n, ruling in enumerate(self.rulings)
                if ruling.event is Event.DEFER
            },
            editions={
                n: edited_at[ruling.id]
                for n, ruling in enumerate(self.rulings)
                if ruling.id in edited_at
            },
        )

    def waiting_for_timers(self) -> list[tuple[MessageId, Candidate, TimerRow]]:
        """Return what waits for its time in a timer from now on."""
        ruling_of = {ruling.id: ruling for ruling in self.rulings}
        return [
            (id_, Candidate(pk, born, group, of.step, of.body, due, of.past_after), timer)
            for timer in self.timers
            for due, id_, pk, born, _, group in (timer,)
            for of in (ruling_of[id_],)
        ]


def fitting(rulings: Sequence[Ruling]) -> Sequence[Ruling]:
    """Return the first rulings, as many as one body may hold; none has a detail of its own."""
    while lines_bytes([ruling.group for ruling in rulings], {}) > JOURNAL_LINES_BYTES_MAX // 2:
        rulings = rulings[: len(rulings) // 2]
    return rulings
