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
from pipeline.message import MessageId, TimerRow


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


class TimerWriter(Protocol):
    """Whoever schedules: an ingester a message, a lane an attempt."""

    async def write_timers(self, lane: LaneId, rows: Sequence[TimerRow]) -> None:
        """Write all rows to the lane's timers in one atomic write.

        A row whose (due_at, id, attempt) is there already changes nothing, so a repeat is
        harmless.  The lane is announced before, as for its buffer.
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


class LaterIngest(TimerWriter, ResultReader, Protocol):
    """What an ingester has of this."""

    async def write_commands(self, lane: LaneId, entries: Sequence[CommandEntry]) -> None:
        """Append all entries to the lane's commands in one atomic write, each given its `at`.

        `at` is of the same clock as that of the lane's buffer, and under the same horizon.  Never
        retried by the store itself; a repeat writes the same ids again with a new `at`.  The lane
        is announced before.
        """
        ...

    async def put_group_order(self, core: Core, order: GroupOrder) -> None:
        """Note what holds for a group, for lanes of this core; to be written to every core.

        Of two orders of one (group, family) the one with the later `at` stays, in whatever order
        they come; a repeat changes nothing.
        """
        ...


class LaterLane(TimerWriter, GroupOrderReader, Protocol):
    """What the scheduler of a core has of this."""

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

    async def write_results(self, core: Core, rows: Sequence[CommandResult]) -> None:
        """Write what became of commands.

        Of two of one (command, lane) the one with the later `at` stays; a repeat is harmless.
        """
        ...


class LaterQueries(ResultReader, GroupOrderReader, Protocol):
    """What the command line has of this."""

    async def timers_of(self, lane: LaneId, message_id: MessageId) -> list[TimerRow]:
        """Return the timers of a message, first due first; also those that were resolved."""
        ...

    async def count_timers(self, lane: LaneId, *, from_due: Instant) -> Mapping[str, int]:
        """Return the number of timers of first attempts with due_at >= from_due, by group key."""
        ...
