"""What a lane asks of the shell that runs it.  Each action is answered by one event."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.instant import Instant
from pipeline.lane.entry import CommandAnswer
from pipeline.later import EditionKey, EditionRow, ReceiptRow
from pipeline.message import (
    Body,
    BufferEntry,
    MessageId,
    PartitionKey,
    TimelineRow,
    TimerRow,
)
from pipeline.ports import BookCell
from pipeline.route.suppression import SuppressionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRows:
    """Read the horizon (or, to resume, keep it), then rows.  Answer: `on_rows`."""

    from_at: Instant
    limit: int
    resume: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTimers:
    """Read timers with from_due <= due_at < through_due.  Answer: `on_timers`."""

    from_due: Instant
    through_due: Instant
    limit: int
    resume: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLater:
    """Write rows and timers of next attempts; all or nothing of it counts.

    Answer: `on_later_written`.
    """

    rows: Sequence[BufferEntry]
    timers: Sequence[TimerRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBodies:
    """Answer: `on_bodies`."""

    keys: Sequence[tuple[PartitionKey, MessageId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFolds:
    """Answer: `on_folds`."""

    keys: Sequence[tuple[PartitionKey, MessageId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSuppressions:
    """Read who of these is on a list; each key is at the core of its own token.

    Answer: `on_suppressions`.
    """

    keys: Sequence[SuppressionKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Append these bytes; unknown: the same bytes again, until definite.

    `begins_segment`: to the next segment, after a roll (`rolling`).  Answer: `on_applied` or
    `on_fenced`.
    """

    seq: int
    body: bytes
    begins_segment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverWindow:
    """Hand claimed messages to their connector.  Answer: `on_outcomes`, in as many parts as come.

    `positions`: in the window of `seq`; None: all of it, for the first time.
    """

    seq: int
    connector: str
    positions: Sequence[int] | None = None
    message_ids: Sequence[MessageId]
    attempts: Sequence[int]
    bodies: Sequence[Body]
    send_before: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class AskProvider:
    """Ask whether the provider has the messages.  Answer: `on_found`."""

    seq: int
    connector: str
    positions: Sequence[int]
    message_ids: Sequence[MessageId]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadClaimedBodies:
    """Read the bodies of what a predecessor claimed.  Answer: `on_claimed_bodies`."""

    keys: Sequence[tuple[PartitionKey, MessageId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Write timeline rows.  Answer: `on_projected`."""

    rows: Sequence[TimelineRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteReferences:
    """Write the owner's rows of `receipts`, then read their references, and act on what is there.

    Answer: `on_noted`.
    """

    rows: Sequence[ReceiptRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBooks:
    """Answer: `on_books_read`."""

    books: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBooks:
    """Answer: `on_books_written`."""

    cells: Sequence[BookCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteAnswers:
    """Confirm editions, then write what became of commands.  Answer: `on_answers_written`."""

    at: Instant
    answers: Sequence[CommandAnswer]
    editions: Sequence[EditionKey]


# --- asked for rulings, one at a time; `decisions.on_failed` says that one failed ---------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCommands:
    """Read the horizon (or, to resume, keep it).  Answer: `decisions.on_commands`."""

    from_at: Instant
    limit: int
    resume: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGroupOrders:
    """Answer: `decisions.on_orders`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGroupTimers:
    """Read timers with from_due <= due_at < through_due.  Answer: `decisions.on_timers`."""

    from_due: Instant
    through_due: Instant
    limit: int
    resume: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRuledFolds:
    """Answer: `decisions.on_folds`."""

    keys: Sequence[tuple[PartitionKey, MessageId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRuledBodies:
    """Answer: `decisions.on_bodies`."""

    keys: Sequence[tuple[PartitionKey, MessageId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRuled:
    """Write rows and timers of next attempts, and edited bodies; all or nothing of it counts.

    Answer: `decisions.on_written`.
    """

    rows: Sequence[BufferEntry]
    timers: Sequence[TimerRow]
    editions: Sequence[EditionRow]


RulingAction = (
    ReadCommands | ReadGroupOrders | ReadGroupTimers | ReadRuledFolds | ReadRuledBodies | WriteRuled
)

Action = (
    ReadRows
    | ReadTimers
    | WriteLater
    | ReadBodies
    | ReadFolds
    | ReadSuppressions
    | Append
    | HandOverWindow
    | AskProvider
    | ReadClaimedBodies
    | Project
    | NoteReferences
    | ReadBooks
    | WriteBooks
    | WriteAnswers
    | RulingAction
)
