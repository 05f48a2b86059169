"""What the decisions need of the world, and what each verb promises.

Every verb of a store has one of three results.  *Definite yes*: it returns.  *Definite no*: it
returns a value that says so (a conditional write that did not apply), or raises `StoreUnavailable`
(certainly not applied).  *Unknown*: it raises `WriteUnknown`; the same bytes may be sent again, as
every verb may be repeated.  Rows are tuples, see `pipeline/message.py`; a verb takes as many as
its caller has.  `tests/contract/` is the exam that every store sits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from cluster.topology.generation import Core, Generation
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import LaterIngest, LaterLane, LaterQueries
from pipeline.later import TimelineEvent as TimelineEvent
from pipeline.later import TimerPage as TimerPage
from pipeline.lifecycle import Step
from pipeline.message import (
    Body,
    BufferEntry,
    BufferRow,
    MessageId,
    MessageRow,
    PartitionKey,
    TimelineRow,
)
from pipeline.outcome import HandOver, ProviderClass, Report


class IdempotencyRow(NamedTuple):
    """A row of `idem`: 16-byte id of a client's key or of a chunk of a batch."""

    id: bytes
    body_hash: bytes  # 16 bytes
    born: Instant


class Ownership(NamedTuple):
    """The static cells of a journal segment; a negative epoch is a closed segment."""

    epoch: int
    owner: bytes


class Segment(NamedTuple):
    """A journal segment that was opened; the numbers of a lane's segments grow by one."""

    number: int
    ownership: Ownership


class Beat(NamedTuple):
    """A heartbeat row: `value` differs at each beat and is compared with nothing else."""

    owner: bytes  # 16 random bytes, fresh at every process start
    actor_name: str
    value: int


class BufferPage(NamedTuple):
    """Rows in order of (at, id).  `resume` is None after the last page, else passed back."""

    rows: Sequence[BufferRow]
    resume: bytes | None


class JournalEntry(NamedTuple):
    """One append."""

    seq: int
    body: bytes


class BookCell(NamedTuple):
    """The counts of one (book, lane); of two the higher as_of wins."""

    book: str  # `group:...` or `day:...`
    as_of: int  # seq of the newest entry that is counted
    counts: bytes  # see pipeline/lane/books.py


class IngestStore(LaterIngest, Protocol):
    """What an ingester writes (docs/protocol.md, 5.1)."""

    async def put_idempotency(self, rows: Sequence[IdempotencyRow]) -> list[IdempotencyRow]:
        """Insert each row if its id is absent; return, in order, the rows that now stand."""
        ...

    async def write_messages(self, core: Core, rows: Sequence[MessageRow]) -> None:
        """Store bodies.  A plain write: an id that is there already keeps its first row.

        A repeat of the same rows changes nothing.
        """
        ...

    async def announce_lane(self, lane: LaneId) -> None:
        """Note that the lane exists.  Must be acknowledged before its first buffer row is sent."""
        ...

    async def write_buffer(self, lane: LaneId, rows: Sequence[BufferEntry]) -> None:
        """Append all rows to the lane's buffer in one atomic write; the store gives each its `at`.

        Never retried by the store itself.  A repeat writes new rows with a new `at`.
        """
        ...

    async def read_owners(self, core: Core) -> list[Beat]:
        """Return the heartbeat rows of the processes that serve the core."""
        ...


class LaneStore(LaterLane, Protocol):
    """What the scheduler of a core reads and writes (docs/protocol.md, 5.2 and 5.3)."""

    async def write_buffer(self, lane: LaneId, rows: Sequence[BufferEntry]) -> None:
        """Append rows of next attempts; see `IngestStore`."""
        ...

    async def read_lanes(self, core: Core, generation: int) -> list[LaneId]:
        """Return every lane of the core that was announced."""
        ...

    async def read_ownership(self, lane: LaneId, segment: int) -> Ownership | None:
        """Return the segment's static cells, None where it was never opened.  Linearizable."""
        ...

    async def open_segment(self, lane: LaneId, segment: int, *, epoch: int, owner: bytes) -> bool:
        """Write the static cells if there are none (IF epoch = null); return whether it applied."""
        ...

    async def take_over(
        self, lane: LaneId, segment: int, *, expected_epoch: int, owner: bytes
    ) -> bool:
        """Set epoch to expected_epoch + 1 and owner, if epoch is expected; return whether it was.

        Steals and fences at once: no append under an older epoch applies afterwards.  A segment
        that is closed is taken by nobody.
        """
        ...

    async def close_segment(self, lane: LaneId, segment: int, *, epoch: int) -> bool:
        """Set epoch to its negative if it is this one; return whether it was.

        No append to the segment applies afterwards, under any epoch, and it stays closed for good.
        A repeat returns False; the cells say whether it is closed.
        """
        ...

    async def write_segment_hint(self, lane: LaneId, segment: int) -> None:
        """Note that the segment is about to be opened; of two numbers the higher stays."""
        ...

    async def read_segment_hint(self, lane: LaneId) -> int:
        """Return the highest number that was noted, 0 if none was.  The segment may not be open."""
        ...

    async def newest_segment(self, lane: LaneId) -> Segment | None:
        """Return the newest segment that was opened, None where none was.

        Found from the hint - 1 on, by following closed segments.  If it is closed, whoever takes
        the lane over opens the next one.
        """
        ...

    async def append(
        self, lane: LaneId, segment: int, *, epoch: int, seq: int, body: bytes
    ) -> bool:
        """Write the entry if the segment's epoch is this one; return whether it was.

        `seq` grows over all segments of a lane.  A repeat with the same bytes returns the same and
        changes nothing, unless the epoch is over since: then False, and the entry stays for the
        successor to judge.  Other bytes under a seq that is taken are refused (False) and never
        replace it.  A segment that is missing refuses: only a presence fences, never an absence.
        """
        ...

    async def read_journal(
        self, lane: LaneId, segment: int, *, before_seq: int | None, limit: int
    ) -> list[JournalEntry]:
        """Return up to `limit` entries with seq < before_seq (None: the newest), newest first."""
        ...

    async def horizon(self, lane: LaneId) -> Instant:
        """Return an instant `safe`: no row with at <= safe can still appear in the buffer.

        The store's time when the read began, less W + epsilon; a store that gives `at` under its
        write lock may say the newest `at` it gave, if that is later.
        """
        ...

    async def read_buffer(
        self,
        lane: LaneId,
        *,
        from_at: Instant,
        through_at: Instant,
        limit: int,
        resume: bytes | None,
    ) -> BufferPage:
        """Return rows with from_at <= at <= through_at in order; pages may be short or empty."""
        ...

    async def read_bodies(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, Body]:
        """Return the bodies that exist, by id."""
        ...

    async def read_folds(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, Step]:
        """Return the largest step of each message that has one, at QUORUM."""
        ...

    async def project(self, core: Core, rows: Sequence[TimelineRow]) -> None:
        """Write timeline rows.  Writing one twice is harmless."""
        ...

    async def write_books(self, lane: LaneId, cells: Sequence[BookCell]) -> None:
        """Write cells; of two with the same (book, lane) the higher as_of stays."""
        ...

    async def read_books(self, lane: LaneId, books: Sequence[str]) -> list[BookCell]:
        """Return the cells that exist."""
        ...

    async def beat(self, core: Core, beat: Beat) -> None:
        """Write the heartbeat row of a process that serves the core."""
        ...

    async def read_owners(self, core: Core) -> list[Beat]:
        """Return the heartbeat rows of the processes that serve the core."""
        ...

    async def sweep(self, core: Core) -> None:
        """Remove what is past its time to live, and tidy the store.  A bounded piece of work."""
        ...


class TopologySource(Protocol):
    """Where the registry learns what is out there."""

    async def read_generations(self) -> list[Generation]:
        """Return every generation that is not drained, oldest first; at SERIAL."""
        ...


class MessageTrace(NamedTuple):
    """All that is known of one message."""

    id: MessageId
    born: Instant
    lane: LaneId | None  # None: accepted, in no buffer and no timers (an orphan)
    body: Body
    events: Sequence[TimelineEvent]


class MessageSummary(NamedTuple):
    """One message in a list."""

    id: MessageId
    born: Instant
    body: Body
    step: Step | None


class QueryStore(LaterQueries, Protocol):
    """What the command line asks; needs no platform running and changes nothing."""

    async def read_generations(self) -> list[Generation]:
        """Return every generation, oldest first."""
        ...

    async def list_lanes(self) -> list[LaneId]:
        """Return every lane that was announced."""
        ...

    async def read_ownership(self, lane: LaneId, segment: int) -> Ownership | None:
        """Return the segment's static cells, None where it was never opened."""
        ...

    async def read_owners(self, core: Core) -> list[Beat]:
        """Return the heartbeat rows of the processes that serve the core."""
        ...

    async def newest_segment(self, lane: LaneId) -> Segment | None:
        """Return the newest segment that was opened, None where none was."""
        ...

    async def read_journal(
        self, lane: LaneId, segment: int, *, before_seq: int | None, limit: int
    ) -> list[JournalEntry]:
        """Return up to `limit` entries with seq < before_seq (None: the newest), newest first."""
        ...

    async def count_buffer(self, lane: LaneId, *, from_at: Instant) -> Mapping[str, int]:
        """Return the number of distinct ids in rows with at >= from_at, by group key."""
        ...

    async def unprojected(self, lane: LaneId, *, from_at: Instant, limit: int) -> list[BufferRow]:
        """Return up to `limit` rows with at >= from_at whose id has no timeline row."""
        ...

    async def books(self, prefix: str) -> list[tuple[LaneId, BookCell]]:
        """Return the cells of every lane whose book starts with the prefix."""
        ...

    async def trace(self, message_id: MessageId) -> MessageTrace | None:
        """Return all that is known of a message, None if no such id was accepted.

        A message whose body is past its time to live is not known any more.
        """
        ...

    async def messages_in_state(
        self, events: Sequence[int], *, limit: int, after: bytes | None
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Return a page of the messages whose largest step has one of these events."""
        ...

    async def messages_in_group(
        self, group: str, *, limit: int, after: bytes | None
    ) -> tuple[list[MessageSummary], bytes | None]:
        """Return a page of the messages of a group key, in no promised order."""
        ...


class Connector(Protocol):
    """One configured way out of a channel."""

    @property
    def name(self) -> str:
        """Return the configured name, which claims carry."""
        ...

    @property
    def provider_class(self) -> ProviderClass:
        """Return what the provider can do about repeats; the engine enforces it."""
        ...

    @property
    def has_receipts(self) -> bool:
        """Whether the provider says later what became of what it took."""
        ...

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        """Hand the messages over; report what became of each, once, in as many parts as it likes.

        Returns when all are reported.  Never repeats by itself.  What was not reported when it
        raises, or returns, may have been handed over.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


@runtime_checkable
class QueryableConnector(Connector, Protocol):
    """A connector whose provider can be asked by our id: one of class Q must be this."""

    async def find(self, message_ids: Sequence[MessageId]) -> Mapping[MessageId, bool]:
        """Return whether the provider has each message; those it does not answer for are left out.

        That it has one is proof, that it has not is none: a copy may still be on its way.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """Two clocks read at once: the wall's, and one that runs while the machine sleeps."""

    wall: Instant
    boot_us: int


class Clock(Protocol):
    """The time, for actors and stores."""

    def now(self) -> Instant:
        """Return the wall clock's time."""
        ...

    def reading(self) -> ClockReading:
        """Return both clocks."""
        ...
