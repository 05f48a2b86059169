"""What waits in memory for its time, in the order of when it is due."""

from heapq import heapify, heappop, heappush
from typing import Final

from pipeline.instant import Instant
from pipeline.lane.window import Candidate
from pipeline.lifecycle import attempt_awaited
from pipeline.message import MessageId, TimerRow

# Fewer places of those that left are not worth a look at all of them.
_STALE_PLACES_MIN: Final = 64


class DueLater:
    """The messages of one owner that are not due yet."""

    def __init__(self) -> None:
        self._waiting: dict[MessageId, Candidate] = {}
        # One that left has its place here until that is the first.
        self._due: list[tuple[Instant, MessageId]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, id_: MessageId) -> bool:
        return id_ in self._waiting

    @property
    def next_due_at(self) -> Instant | None:
        """When the first of them is due, or one was that left."""
        return self._due[0][0] if self._due else None

    def is_due(self, now: Instant) -> bool:
        """Return whether the time of the first has come."""
        return bool(self._due) and self._due[0][0] <= now

    def add(self, id_: MessageId, candidate: Candidate) -> None:
        """Let a message wait until its `due_at`."""
        self._waiting[id_] = candidate
        heappush(self._due, (candidate.due_at, id_))
        if len(self._due) > 2 * len(self._waiting) + _STALE_PLACES_MIN:
            self._due = [(row.due_at, waits) for waits, row in self._waiting.items()]
            heapify(self._due)

    def withdraw(self, id_: MessageId) -> None:
        """Forget a message, if it waits."""
        self._waiting.pop(id_, None)

    def take_due(self, now: Instant, *, room: int) -> list[tuple[MessageId, Candidate]]:
        """Return up to `room` messages whose time has come; they wait no longer."""
        taken: list[tuple[MessageId, Candidate]] = []
        while self._due and self._due[0][0] <= now and len(taken) < room:
            due_at, id_ = heappop(self._due)
            candidate = self._waiting.get(id_)
            # One that was put off has a place of its own further on: this one is no longer its.
            if candidate is not None and candidate.due_at == due_at:
                del self._waiting[id_]
                taken.append((id_, candidate))
        return taken

    def timers_of(self, group: str) -> list[TimerRow]:
        """Return the messages of a group, as timers."""
        return [
            (row.due_at, id_, row.pk, row.born, attempt_awaited(row.fold) or 1, row.group)
            for id_, row in self._waiting.items()
            if row.group == group
        ]
