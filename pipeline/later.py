"""What comes to a message after it was accepted: timers, commands, receipts, suppressions.

Rows, and the verbs of a store that take and give them; `IngestStore`, `LaneStore` and `QueryStore`
of `pipeline/ports.py` have these too, with the same three results.  Each call goes to partitions
of one core.  Where rows of one call have keys of their own (a command's id, a reference, a
suppression's key) each is a partition: a call that failed may have written some of its rows, and a
repeat writes the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Step
from pipeline.message import Body, MessageId, PartitionKey, TimerRow


class TimerPage(NamedTuple):
    """Timers in order of (due_at, id, attempt).  `resume` is None after the last page."""

    rows: Sequence[TimerRow]
    resume: bytes | None


class CommandEntry(NamedTuple):
    """What somebody asks of a message, or of a group, before the store gives it its `at`."""

    id: bytes  # 16 bytes; a repeat has the same
    kind: str  # cancel, edit, expedite, resolve, resend, pause, resume, receipt or testimony
    message_id: bytes  # b"" for a command to a group
    pk: bytes
    group: str  # a group key; "" for a command to one message
    by: str  # who asks
    payload: bytes


# (at, entry): a row of `commands` as it is read.
CommandRow = tuple[Instant, CommandEntry]


class CommandPage(NamedTuple):
    """Commands in order of `at`.  `resume` is None after the last page."""

    rows: Sequence[CommandRow]
    resume: bytes | None


class CommandResult(NamedTuple):
    """What became of a command in one lane."""

    command_id: bytes
    lane: str
    at: Instant
    verdict: str
    detail: str
    counts: Mapping[str, int]


class GroupOrder(NamedTuple):
    """What holds for a whole group, also in lanes that do not exist yet."""

    group: str  # a group key
    kind: str  # a key of ORDER_FAMILIES
    at: Instant
    command_id: bytes
    by: str


# Of the orders of one family the newest holds, beside that of the other.
ORDER_FAMILIES: Final = {"pause": "flow", "resume": "flow", "cancel": "fate"}


class ReceiptRow(NamedTuple):
    """What one side knows of a provider's reference: whose message it is, or what became of it."""

    ref: bytes  # 16 bytes: a hash of the connector and the reference; its core is that of its token
    side: str  # owner or provider
    key: str  # tells this row from others of its side; a repeat has the same
    message_id: bytes  # b"" where the side does not know it
    pk: bytes
    lane: str
    event: int
    at: Instant
    detail: str
    born: Instant = Instant(0)  # of the message, and its group key: of an owner's row
    group: str = ""


class SuppressionRow(NamedTuple):
    """Somebody who gets nothing from a tenant on a channel."""

    key: bytes  # 16 bytes: a hash of tenant, channel and recipient; its core is that of its token
    tenant: str
    channel: str
    recipient: str  # may be empty: the key is enough to hold a message back
    since: Instant
    reason: str
    by: str


class EditionKey(NamedTuple):
    """One edition of a message."""

    id: MessageId
    pk: PartitionKey
    at: Instant  # of the command that asked for it


class EditionRow(NamedTuple):
    """The whole body of a message, from when it is confirmed."""

    id: MessageId
    pk: PartitionKey
    at: Instant  # of the command that asked for it
    body: Body


class NewestEvent(NamedTuple):
    """The event of a message's largest step."""

    at: Instant
    step: Step
    detail: str


class MessageOutcome(NamedTuple):
    """One message of an export."""

    id: MessageId
    born: Instant
    body: Body
    newest: NewestEvent | None  # None: nothing was projected of it yet


class TimerWriter(Protocol):
    """Whoever schedules: an ingester a message, a lane an attempt."""

    async def write_timers(self, lane: LaneId, rows: Sequence[TimerRow]) -> None:
        """Write all rows to the lane's timers in one atomic write.

        A row whose (due_at, id, attempt) is there already changes nothing, so a repeat is
        harmless.  The lane is announced before, as for its buffer.
        """
        ...


class CommandWriter(Protocol):
    """Whoever asks something of a message: a person, a receiver of receipts, an owner."""

    async def write_commands(self, lane: LaneId, entries: Sequence[CommandEntry]) -> None:
        """Append all entries to the lane's commands in one atomic write, each given its `at`.

        `at` is of the same clock as that of the lane's buffer, and under the same horizon.  Never
        retried by the store itself; a repeat writes the same ids again with a new `at`.  The lane
        is announced before.
        """
        ...


class ResultReader(Protocol):
    """Whoever wants to know what became of commands."""

    async def read_results(self, core: Core, command_ids: Sequence[bytes]) -> list[CommandResult]:
        """Return the results that lanes of the core wrote, in order of (command, lane)."""
        ...


class GroupOrderReader(Protocol):
    """Whoever must know what holds for groups."""

    async def read_group_orders(self, core: Core) -> list[GroupOrder]:
        """Return the orders that hold, in order of (group, family)."""
        ...


class Receipts(Protocol):
    """Whoever learns of a reference: the lane's owner from a submit, a receiver from a receipt."""

    async def write_receipts(self, core: Core, rows: Sequence[ReceiptRow]) -> None:
        """Write rows; one whose (ref, side, key) is there stays as it is.

        Each side writes its row and then reads the partition.  So of two sides that do this at
        once at least one sees both rows.
        """
        ...

    async def read_receipts(self, core: Core, refs: Sequence[bytes]) -> list[ReceiptRow]:
        """Return the rows of these references, in order of (ref, side, key), at QUORUM."""
        ...


class Suppressions(Protocol):
    """Whoever puts somebody on the list of a tenant, takes them off, or looks."""

    async def put_suppressions(self, core: Core, rows: Sequence[SuppressionRow]) -> None:
        """Note suppressions.

        Of a row and a removal of one key the one with the later instant stays, in whatever order
        they come; a repeat is harmless.
        """
        ...

    async def remove_suppressions(self, core: Core, keys: Sequence[bytes], *, at: Instant) -> None:
        """Let these keys be suppressed no longer, unless they are again since a later instant."""
        ...

    async def read_suppressions(
        self, core: Core, keys: Sequence[bytes]
    ) -> dict[bytes, SuppressionRow]:
        """Return those of the keys that are suppressed."""
        ...


class SuppressionLists(Suppressions, Protocol):
    """A scheduler, which must know of whom it has to ask."""

    async def read_listing_tenants(self, core: Core, *, limit: int) -> list[str]:
        """Return up to `limit` tenants that have a suppression at this core, in order."""
        ...


class Restored(Protocol):
    """Whoever must know that the data comes from a backup."""

    async def read_restored_at(self) -> Instant | None:
        """Return when the data was restored from a backup, None if it was not.

        What has an `at` up to this instant, and what was due by it, may have been handed over after
        the backup was taken, and nothing in the data says so.  No row gets such an `at` any more.
        """
        ...


class LaterIngest(TimerWriter, CommandWriter, ResultReader, Receipts, Suppressions, Protocol):
    """What an ingester has of this."""

    async def put_group_order(self, core: Core, order: GroupOrder) -> None:
        """Note what holds for a group, for lanes of this core; to be written to every core.

        Of two orders of one (group, family) the one with the later `at` stays, in whatever order
        they come; a repeat changes nothing.
        """
        ...


class TimelineEvent(NamedTuple):
    """One line of a trace."""

    at: Instant
    step: Step
    detail: str


class LaterLane(
    TimerWriter, CommandWriter, GroupOrderReader, Receipts, SuppressionLists, Restored, Protocol
):
    """What the scheduler of a core has of this."""

    async def read_timelines(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, list[TimelineEvent]]:
        """Return all events of each message, by step, at QUORUM."""
        ...

    async def read_timers(
        self,
        lane: LaneId,
        *,
        from_due: Instant,
        through_due: Instant,
        limit: int,
        resume: bytes | None,
    ) -> TimerPage:
        """Return rows with from_due <= due_at < through_due in order of (due_at, id, attempt).

        Pages may be short or empty.  A row that is written while pages are read may be missed; one
        that was acknowledged before the first page was asked for is not.
        """
        ...

    async def read_commands(
        self,
        lane: LaneId,
        *,
        from_at: Instant,
        through_at: Instant,
        limit: int,
        resume: bytes | None,
    ) -> CommandPage:
        """Return rows with from_at <= at <= through_at in order; pages may be short or empty.

        At or below a horizon that was read no command can still appear.
        """
        ...

    async def write_editions(self, core: Core, rows: Sequence[EditionRow]) -> None:
        """Note what messages would hold if they were edited; nobody reads it until it is confirmed.

        Each (id, at) is kept for itself, so what is refused changes nothing; a repeat is harmless.
        Written before the entry that says so is journaled.
        """
        ...

    async def confirm_editions(self, core: Core, keys: Sequence[EditionKey]) -> None:
        """Let these editions count: whoever reads a body from now on reads this one.

        Of two of one message the later stays, in whatever order they are confirmed; a repeat is
        harmless, and so is one that was never written.  Only what is journaled is confirmed.
        """
        ...

    async def write_results(self, core: Core, rows: Sequence[CommandResult]) -> None:
        """Write what became of commands.

        Of two of one (command, lane) the one with the later `at` stays; a repeat is harmless.
        """
        ...


class LaterQueries(ResultReader, GroupOrderReader, Restored, Protocol):
    """What the command line has of this."""

    async def timers_of(self, lane: LaneId, message_id: MessageId) -> list[TimerRow]:
        """Return the timers of a message, first due first; also those that were resolved."""
        ...

    async def count_timers(self, lane: LaneId, *, from_due: Instant) -> Mapping[str, int]:
        """Return the number of timers of first attempts with due_at >= from_due, by group key."""
        ...

    async def count_untold_timers(self, lane: LaneId) -> Mapping[str, int]:
        """Return how many messages wait for their first time, by group key: no event names them."""
        ...

    async def count_accepted(self, lane: LaneId) -> Mapping[str, int]:
        """Return how many messages the buffer and the timers hold together, by group key."""
        ...

    async def receipts_of(self, message_id: MessageId) -> list[ReceiptRow]:
        """Return the rows of every reference that an owner knows as this message's."""
        ...

    async def suppressions(
        self, tenant: str, *, limit: int, after: bytes | None
    ) -> tuple[list[SuppressionRow], bytes | None]:
        """Return a page of a tenant's suppressions, and where the next begins; None: the last."""
        ...

    async def outcomes_in_group(
        self, group: str, *, limit: int, after: bytes | None
    ) -> tuple[list[MessageOutcome], bytes | None]:
        """Return a page of the messages of a group key, and where the next begins; None: the last.

        In no promised order, each message once: also one that is accepted while pages are read is
        in one of them or in none.  A page of long bodies ends before it has `limit` messages.
        """
        ...
