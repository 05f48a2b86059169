"""What waits in memory for its time, in the order of when it is due."""

from heapq import heappop, heappush

from pipeline.instant import Instant
from pipeline.lane.window import Candidate
from pipeline.lifecycle import attempt_awaited
from pipeline.message import MessageId, TimerRow


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

    def withdraw(self, id_: MessageId) -> None:
        """Forget a message, if it waits."""
        self._waiting.pop(id_, None)

    def take_due(self, now: Instant, *, room: int) -> list[tuple[MessageId, Candidate]]:
        """Return up to `room` messages whose time has come; they wait no longer."""
        taken: list[tuple[MessageId, Candidate]] = []
        while self._due and self._due[0][0] <= now and len(taken) < room:
            _, id_ = heappop(self._due)
            candidate = self._waiting.pop(id_, None)
            if candidate is not None:
                taken.append((id_, candidate))
        return taken

    def timers_of(self, group: str) -> list[TimerRow]:
        """Return the messages of a group, as timers."""
        return [
            (row.due_at, id_, row.pk, row.born, attempt_awaited(row.fold) or 1, row.group)
            for id_, row in self._waiting.items()
            if row.group == group
        ]
