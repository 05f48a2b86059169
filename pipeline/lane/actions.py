"""What a lane asks of the shell that runs it.  Each action is answered by one event."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.instant import Instant
from pipeline.message import Body, MessageId, PartitionKey, TimelineRow
from pipeline.ports import BookCell


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRows:
    """Read the horizon (or, to resume, keep it), then rows.  Answer: `on_rows`."""

    from_at: Instant
    limit: int
    resume: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBodies:
    """Answer: `on_bodies`."""

    keys: Sequence[tuple[PartitionKey, MessageId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFolds:
    """Answer: `on_folds`."""

    keys: Sequence[tuple[PartitionKey, MessageId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Append these bytes; unknown: the same bytes again, until definite.

    Answer: `on_applied` or `on_fenced`.
    """

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverWindow:
    """Hand a claimed window to its connector.  Answer: `on_outcomes`."""

    seq: int
    message_ids: Sequence[MessageId]
    attempts: Sequence[int]
    bodies: Sequence[Body]
    send_before: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Write timeline rows.  Answer: `on_projected`."""

    rows: Sequence[TimelineRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBooks:
    """Answer: `on_books_read`."""

    books: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBooks:
    """Answer: `on_books_written`."""

    cells: Sequence[BookCell]


Action = (
    ReadRows | ReadBodies | ReadFolds | Append | HandOverWindow | Project | ReadBooks | WriteBooks
)
