"""A command to a group, carried out on all that waits in the lane's timers.

What is in the buffer comes by with the cursor; what lies in the timers would come by when it is
due, and that may be next year.  So the timers are read once, page by page, and what belongs to the
group is ruled in bulk.  Timers carry their group: no message is looked up but for its fold.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.command import CommandKind
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane.command_verdict import told
from pipeline.lane.ruling import Ruling
from pipeline.later import CommandRow, TimerPage
from pipeline.lifecycle import ATTEMPTS_MAX, Event, Step, attempt_awaited
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import AT_ONCE, Body, MessageId, PartitionKey, TimerRow, expiry_of


@dataclass(frozen=True, slots=True)
class Span:
    """The timers to read next."""

    from_due: Instant
    through_due: Instant
    resume: bytes | None


class GroupScan:
    """One command on its way through the timers.  Made when its turn has come."""

    def __init__(
        self,
        row: CommandRow,
        near: Iterable[TimerRow],
        *,
        now: Instant,
        validity_ms_max: DurationMs,
    ) -> None:
        at, entry = row
        self.at = at
        self.command_id = entry.id
        self.kind = CommandKind(entry.kind)
        self.group = entry.group
        self.reason = told(self.kind, entry.by, "")
        self.ruled_count = 0
        self._validity_ms_max = validity_ms_max
        self._span: Span | None = Span(now, later(now, SCHEDULE_MS_MAX + validity_ms_max), None)
        self._page: dict[MessageId, list[TimerRow]] = {}
        self._add(near)

    @property
    def is_over(self) -> bool:
        """Nothing is left to read or to rule."""
        return self._span is None and not self._page

    @property
    def span(self) -> Span | None:
        """What is to be read before anything can be ruled, None if there is something to rule."""
        return None if self._page else self._span

    @property
    def keys(self) -> list[tuple[PartitionKey, MessageId]]:
        """The messages that may be ruled next."""
        return [(rows[0][2], id_) for id_, rows in self._page.items()]

    @property
    def needs_bodies(self) -> bool:
        """Whether the messages' bodies are needed: they say what was put off by a pause."""
        return self.kind is CommandKind.RESUME

    def on_page(self, page: TimerPage) -> None:
        """Take the answer to a read of `span`."""
        assert self._span is not None
        self._span = (
            None
            if page.resume is None
            else Span(self._span.from_due, self._span.through_due, page.resume)
        )
        self._add(page.rows)

    def rule(
        self, folds: Mapping[MessageId, Step | None], bodies: Mapping[MessageId, Body]
    ) -> list[Ruling]:
        """Return what becomes of the messages of `keys`, which are done with."""
        rulings = []
        for id_, rows in self._page.items():
            fold = folds[id_]
            for due_at, _, pk, born, attempt, group in rows:
                if attempt_awaited(fold) != attempt:
                    continue
                # What was put off too often can still be ended.
                if attempt >= ATTEMPTS_MAX and self.kind is not CommandKind.CANCEL:
                    continue
                if self.needs_bodies and not self._is_paused(due_at, born, bodies.get(id_)):
                    continue
                event = Event.CANCEL if self.kind is CommandKind.CANCEL else Event.DEFER
                rulings.append(Ruling(id_, pk, born, group, fold, event, due_at=AT_ONCE))
                break
        self._page = {}
        self.ruled_count += len(rulings)
        return rulings

    def _add(self, rows: Iterable[TimerRow]) -> None:
        for row in rows:
            if row[5] == self.group:
                self._page.setdefault(row[1], []).append(row)

    def _is_paused(self, due_at: Instant, born: Instant, body: Body | None) -> bool:
        """Return whether a timer is that of a pause: it is due when the message expires."""
        return body is not None and due_at >= end_of(born, body, self._validity_ms_max)


def end_of(born: Instant, body: Body, validity_ms_max: DurationMs) -> Instant:
    """Return when a message expires; what is paused waits until then at most."""
    expires_at = expiry_of(body)
    return later(born, validity_ms_max) if expires_at is None else expires_at
