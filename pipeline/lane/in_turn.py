"""Messages in the order in which their turn comes: what is due before what is fresh.

A message that is due has been here before: it was tried and came back, was put off, or waited for
its time.  Somebody expects it now, and as long as it waits it holds the offset and keeps the
entries that name it from retiring.  Behind all that is fresh it would wait for as long as the lane
is deep, and be put off for minutes more.

But what is due must not keep out what is fresh for ever.  In the long run it cannot: a retry's span
doubles, so that what is fresh in some hour asks for a few more tries in that hour and ever fewer
in those that follow.  A burst can (a campaign that was paused, everything scheduled for nine
o'clock), and so could what comes back at once, as a connector kept it to itself.  So out of
`DUE_PER_FRESH + 1` turns one is fresh.  It is counted by what was claimed and not by what was
looked at, so that it holds for windows of one message, too.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from pipeline.instant import Instant
from pipeline.lane.window import Candidate
from pipeline.limits import DUE_PER_FRESH
from pipeline.message import MessageId

_Pair = tuple[MessageId, Candidate]


class InTurn:
    """Candidates of one owner; in `due` and in `fresh` first come, first served.

    Of those that fell due the first to be due came first.
    """

    def __init__(self) -> None:
        self.due: dict[MessageId, Candidate] = {}
        self.fresh: dict[MessageId, Candidate] = {}
        self._due_in_a_row = 0

    def __len__(self) -> int:
        return len(self.due) + len(self.fresh)

    def __contains__(self, id_: MessageId) -> bool:
        return id_ in self.fresh or id_ in self.due

    def get(self, id_: MessageId) -> Candidate | None:
        """Return a message's candidate, None if it is not here."""
        return self.fresh.get(id_) or self.due.get(id_)

    def add(self, id_: MessageId, candidate: Candidate) -> None:
        """Let a message stand behind the others of its kind; one that is here stays in place."""
        if candidate.fold is None and candidate.due_at == Instant(0):
            self.fresh[id_] = candidate
        else:
            self.fresh.pop(id_, None)
            self.due[id_] = candidate

    def pop(self, id_: MessageId) -> Candidate | None:
        """Let go of a message, whatever became of it; return it, None if it is not here."""
        return self.fresh.pop(id_, None) or self.due.pop(id_, None)

    def take(self, ids: Iterable[MessageId]) -> None:
        """Let go of messages whose turn it was; all are here."""
        if not self.due:
            fresh = self.fresh
            for id_ in ids:
                del fresh[id_]
            self._due_in_a_row = 0
            return
        for id_ in ids:
            if self.fresh.pop(id_, None) is not None:
                self._due_in_a_row = 0
            else:
                del self.due[id_]
                self._due_in_a_row += 1

    def in_turn(self) -> Iterable[_Pair]:
        """Return all of them, the first first."""
        if not self.due:
            return self.fresh.items()
        return self._by_turns() if self.fresh else self.due.items()

    def _by_turns(self) -> Iterator[_Pair]:
        due, fresh = iter(self.due.items()), iter(self.fresh.items())
        left = max(DUE_PER_FRESH - self._due_in_a_row, 0)
        while True:
            yield from islice(due, left)
            one = next(fresh, None)
            if one is None:
                yield from due
                return
            yield one
            left = DUE_PER_FRESH
