"""What the cursor has read and what is not resolved: the offset may not pass it."""

from collections import deque
from collections.abc import Callable, Collection, Container, Iterator

from pipeline.instant import Instant
from pipeline.lane.recent import RecentSet
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, attempt_awaited, attempt_of
from pipeline.message import MessageId


class HeldRows:
    """The rows of one owner, in the order of `at`.

    `is_here`: whether a message waits in memory for whatever it may be; `stashed`: messages with
    rows that are looked at once a ruling is journaled.
    """

    def __init__(
        self,
        recent: RecentSet,
        *,
        stashed: Container[MessageId],
        is_here: Callable[[MessageId], bool],
    ) -> None:
        self._recent = recent
        self._stashed = stashed
        self._is_here = is_here
        self._rows: deque[tuple[Instant, MessageId, int]] = deque()
        self.in_doubt: Collection[MessageId] = ()

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, at: Instant, id_: MessageId, attempt: int) -> None:
        """Hold a row that was read; none that follows is older."""
        self._rows.append((at, id_, attempt))

    def resolved_before(self, cursor: Instant) -> Instant:
        """Return an instant before which every row is resolved."""
        rows = self._rows
        while rows and self.is_resolved(rows[0][1], rows[0][2]):
            rows.popleft()
        return min(cursor, rows[0][0]) if rows else cursor

    def forget_resolved(self) -> None:
        """Let go of the resolved ones in the middle, so that one old row costs no memory."""
        self._rows = deque(row for row in self._rows if not self.is_resolved(row[1], row[2]))

    def older_than(self, at: Instant) -> Iterator[MessageId]:
        """Yield the messages of rows that are older, oldest first."""
        for row_at, id_, _ in self._rows:
            if row_at >= at:
                return
            yield id_

    def is_resolved(self, id_: MessageId, attempt: int) -> bool:
        """Return whether a row or timer that was read holds its offset or cursor no longer."""
        if id_ in self._stashed:
            return False
        step = self._recent.step(id_)
        if step is None:
            # Named once and retired since, or dropped by its fold; else it still waits here.
            return not self._is_here(id_)
        if step & EVENT_MASK >= RESOLVED_FROM:
            return True
        awaited = attempt_awaited(step)
        if awaited is not None:
            return awaited > attempt
        # One in doubt never waits for its row again, and its claim is named until it is settled.
        return attempt_of(step) > attempt or id_ in self.in_doubt
