"""The order of messages that share an ordering key: one after another, as their rows came.

A message whose partition key is not its id has an ordering key.  Only the first of a key that is
not final, its *head*, is looked at: whether it still waits, its body, a claim.  The others stay
here, packed, until their turn comes.  So at most one of a key is claimed, and connectors that take
turns, fail or differ in speed cannot change the order.

Order is that of `at`, as the cursor reads it.  A doorbell says nothing about what came before, so
it only causes a read; and what the cursor reads lies at or below a horizon under which no row can
appear any more, so that it has read all that came before.

A head that waits for a later attempt stays the head.  Its rows hold an offset of their own, that of
ordered rows, until it is final: a successor reads them again from there, first row first, and knows
whom to wait for.  The lane's offset, and with it what may be forgotten of others, goes on.

An uncertain message is final as far as order goes, as the lane does nothing more about it; but not
before anybody who had claimed it may no longer hand it over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from struct import Struct
from typing import Final

from pipeline.instant import DurationMs, Instant, later
from pipeline.lane.window import Candidate
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, Event, Step
from pipeline.limits import ORDERED_ROWS_MAX, Windows
from pipeline.message import BufferRow, MessageId, PartitionKey, is_ordered

_ROW: Final = Struct("<16sqqqHI")  # id, at, born, due_at, attempt, number of the group
_KEPT_BYTES_MIN: Final = 4_096

LookUp = Callable[[MessageId, Candidate, int], None]


class _Waiting:
    """The rows of a key behind its head, packed: one of a long line takes some forty bytes."""

    __slots__ = ("_packed", "_start")

    def __init__(self) -> None:
        self._packed = bytearray()
        self._start = 0

    def __bool__(self) -> bool:
        return self._start < len(self._packed)

    def __contains__(self, id_: MessageId) -> bool:
        place = self._packed.find(id_, self._start)
        while place >= 0 and (place - self._start) % _ROW.size:
            place = self._packed.find(id_, place + 1)
        return place >= 0

    def append(self, packed: bytes) -> None:
        self._packed += packed

    def pop(self) -> tuple[bytes, int, int, int, int, int]:
        row = _ROW.unpack_from(self._packed, self._start)
        self._start += _ROW.size
        if self._start >= _KEPT_BYTES_MIN and 2 * self._start >= len(self._packed):
            del self._packed[: self._start]
            self._start = 0
        return row


@dataclass(slots=True)
class _Key:
    """One ordering key with a message that is not final."""

    head: MessageId
    at: Instant  # of the head's first row
    waiting: _Waiting
    give_up_at: Instant | None = None  # of the head, once it was deferred
    is_uncertain: bool = False
    let_go_at: Instant | None = None  # of an uncertain head: then its successor may follow


class Order:
    """The ordered rows of one owner, and which of them may be looked at."""

    def __init__(self, look_up: LookUp, *, windows: Windows) -> None:
        self._look_up = look_up
        self._retry_ms = windows.ordered_retry_ms
        self._late_ms = DurationMs(windows.send_deadline_ms + windows.clock_skew_ms_max)
        self._keys: dict[PartitionKey, _Key] = {}
        # By `at` of heads, oldest first; one whose head is another by now is left out.
        self._ats: list[tuple[Instant, PartitionKey]] = []
        # Rows and timers of later attempts of messages that are not heads yet.
        self._early: dict[MessageId, list[tuple[Candidate, int]]] = {}
        self._groups: list[str] = []
        self._group_numbers: dict[str, int] = {}
        self._uncertain: list[tuple[PartitionKey, MessageId]] = []
        self._let_go: list[tuple[Instant, PartitionKey]] = []
        self._ended: list[tuple[PartitionKey, _Waiting]] = []
        self._is_ending = False
        self._newest_at: Instant | None = None
        self.waiting_count = 0

    # --- what the backlog may ask -------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """No more rows fit in memory; the cursor waits until some are final."""
        return self.waiting_count >= ORDERED_ROWS_MAX

    @property
    def newest_at(self) -> Instant | None:
        """The `at` of the newest ordered row that was read."""
        return self._newest_at

    @property
    def next_due_at(self) -> Instant | None:
        """When something happens here though nobody says anything."""
        return self._let_go[0][0] if self._let_go else None

    def resolved_before(self, cursor: Instant) -> Instant:
        """Return an instant before which every ordered row is that of a final message."""
        ats = self._ats
        while ats:
            at, pk = ats[0]
            key = self._keys.get(pk)
            if key is not None and key.at == at:
                return min(at, cursor)
            heappop(ats)
        return cursor

    def is_head(self, pk: PartitionKey, id_: MessageId) -> bool:
        """Return whether the message is the first of its key that is not final."""
        key = self._keys.get(pk)
        return key is not None and key.head == id_

    def is_early(self, id_: MessageId) -> bool:
        """Return whether a later attempt of the message waits here for its turn."""
        return id_ in self._early

    def give_up_at(self, pk: PartitionKey, id_: MessageId, *, now: Instant) -> Instant | None:
        """Return until when a message that is deferred now is tried; None: it is not ordered.

        Counted from its first deferral that this owner saw: it may have waited for long before.
        """
        if not is_ordered(pk, id_):
            return None
        key = self._keys.get(pk)
        if key is None or key.head != id_:
            # Claimed by a predecessor, and not read again yet.
            return later(now, self._retry_ms)
        if key.give_up_at is None:
            key.give_up_at = later(now, self._retry_ms)
        # No later than that of now, where the clock was set back.
        return min(key.give_up_at, later(now, self._retry_ms))

    # --- events -------------------------------------------------------------------------------

    def add(self, row: BufferRow) -> None:
        """Take a row that the cursor read."""
        at, id_, pk, born, attempt, due_at, group = row
        self._newest_at = at
        candidate = Candidate(pk, born, group, None, None, due_at)
        key = self._keys.get(pk)
        if key is None:
            self._begin(pk, at, id_, _Waiting(), candidate, attempt)
        elif key.head == id_:
            # A copy of its first row says nothing new.
            if attempt > 1:
                self._look_up(id_, candidate, attempt)
        elif attempt > 1 and id_ in key.waiting:
            self.keep_early(id_, candidate, attempt)
        else:
            number = self._group_numbers.setdefault(group, len(self._groups))
            if number == len(self._groups):
                self._groups.append(group)
            key.waiting.append(_ROW.pack(id_, at, born, due_at, attempt, number))
            self.waiting_count += 1

    def keep_early(self, id_: MessageId, candidate: Candidate, attempt: int) -> None:
        """Keep a later attempt of a message whose turn has not come."""
        self._early.setdefault(id_, []).append((candidate, attempt))

    def on_step(self, pk: PartitionKey, id_: MessageId, step: Step | int | None) -> None:
        """Take the newest step of an ordered message, journaled or being journaled."""
        key = self._keys.get(pk)
        if key is None or key.head != id_:
            return
        event = (step or 0) & EVENT_MASK
        was_uncertain, key.is_uncertain = key.is_uncertain, event == Event.LOSE_ANSWER
        if key.is_uncertain:
            if not was_uncertain:
                self._uncertain.append((pk, id_))
        elif event >= RESOLVED_FROM:
            self._end(pk)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        latest = later(now, self._late_ms)
        for let_go_at, pk in self._let_go:
            key = self._keys.get(pk)
            if key is not None and key.let_go_at == let_go_at and let_go_at > latest:
                key.let_go_at = latest
        self._let_go = [(min(at, latest), pk) for at, pk in self._let_go]
        heapify(self._let_go)

    def decide(self, now: Instant) -> None:
        """Let the successors of uncertain messages follow, where it is time."""
        for pk, id_ in self._uncertain:
            key = self._keys.get(pk)
            if key is not None and key.head == id_:
                key.let_go_at = later(now, self._late_ms)
                heappush(self._let_go, (key.let_go_at, pk))
        self._uncertain.clear()
        while self._let_go and self._let_go[0][0] <= now:
            let_go_at, pk = heappop(self._let_go)
            key = self._keys.get(pk)
            if key is not None and key.is_uncertain and key.let_go_at == let_go_at:
                self._end(pk)

    # --- heads --------------------------------------------------------------------------------

    def _begin(
        self,
        pk: PartitionKey,
        at: Instant,
        id_: MessageId,
        waiting: _Waiting,
        candidate: Candidate,
        attempt: int,
    ) -> None:
        self._keys[pk] = _Key(id_, at, waiting)
        heappush(self._ats, (at, pk))
        early = self._early.pop(id_, ())
        self._look_up(id_, candidate, attempt)
        for later_candidate, later_attempt in early:
            if self.is_head(pk, id_):
                self._look_up(id_, later_candidate, later_attempt)

    def _end(self, pk: PartitionKey) -> None:
        """Let the next of a key be its head; it may be final itself, and so on."""
        self._ended.append((pk, self._keys.pop(pk).waiting))
        if self._is_ending:
            return
        self._is_ending = True
        while self._ended:
            pk, waiting = self._ended.pop()
            if waiting:
                id_, at, born, due_at, attempt, number = waiting.pop()
                candidate = Candidate(
                    pk, Instant(born), self._groups[number], None, None, Instant(due_at)
                )
                self.waiting_count -= 1
                self._begin(pk, Instant(at), MessageId(id_), waiting, candidate, attempt)
        self._is_ending = False
        if not self.waiting_count:
            self._groups.clear()
            self._group_numbers.clear()
