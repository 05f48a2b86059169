"""What comes to a message after it was accepted: timers, commands, receipts, suppressions.

Rows, and the verbs of a store that take and give them; `IngestStore`, `LaneStore` and `QueryStore`
of `pipeline/ports.py` have these too, with the same three results.  Each call goes to partitions
of one core.  Where rows of one call have keys of their own (a command's id, a reference, a
suppression's key) each is a partition: a call that failed may have written some of its rows, and a
repeat writes the rest.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.message import MessageId, TimerRow


class TimerPage(NamedTuple):
    """Timers in order of (due_at, id, attempt).  `resume` is None after the last page."""

    rows: Sequence[TimerRow]
    resume: bytes | None


class TimerWriter(Protocol):
    """Whoever schedules: an ingester a message, a lane an attempt."""

    async def write_timers(self, lane: LaneId, rows: Sequence[TimerRow]) -> None:
        """Write all rows to the lane's timers in one atomic write.

        A row whose (due_at, id, attempt) is there already changes nothing, so a repeat is
        harmless.  The lane is announced before, as for its buffer.
        """
        ...


class LaterIngest(TimerWriter, Protocol):
    """What an ingester has of this."""


class LaterLane(TimerWriter, Protocol):
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


class LaterQueries(Protocol):
    """What the command line has of this."""

    async def timers_of(self, lane: LaneId, message_id: MessageId) -> list[TimerRow]:
        """Return the timers of a message, first due first; also those that were resolved."""
        ...

    async def count_timers(self, lane: LaneId, *, from_due: Instant) -> Mapping[str, int]:
        """Return the number of timers of first attempts with due_at >= from_due, by group key."""
        ...
