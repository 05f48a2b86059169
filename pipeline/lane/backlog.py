"""What a lane has read of its buffer and not yet claimed (design 5.3).

Rows come twice: with doorbells, which are hints, and by the cursor, which reads each row once.
Here they become candidates.  A prompt row at or above the journaled offset whose id is in no
un-retired entry was never claimed; for any other the fold of its timeline is read first, and
meanwhile its id is pending.  A row without a body waits for it.  What the cursor has read is
remembered until it is resolved, wherever it waits: the offset may not pass it.

The number of messages in memory is bounded.  What does not fit stays in the buffer: the lane lags,
and the cursor comes by.  What has come due has a bound of its own, and goes first (`in_turn`).
"""

from collections.abc import Iterable, Mapping, Sequence, Sized
from itertools import islice

from msgspec.structs import replace

from pipeline.instant import Instant
from pipeline.lane.actions import Action
from pipeline.lane.bodyless import Bodyless
from pipeline.lane.caution import Caution
from pipeline.lane.cursor import Cursor
from pipeline.lane.due_later import DueLater
from pipeline.lane.group_orders import GroupOrders
from pipeline.lane.held import HeldRows
from pipeline.lane.in_turn import InTurn
from pipeline.lane.order import Order
from pipeline.lane.past import Folds, Pasts
from pipeline.lane.pending import Pending
from pipeline.lane.recent import RecentSet
from pipeline.lane.restored import RestoreGuard
from pipeline.lane.window import Candidate
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, attempt_awaited
from pipeline.limits import LATER_ROWS_MAX, Windows
from pipeline.message import Body, BufferRow, MessageId, PartitionKey, TimerRow, is_ordered
from pipeline.ports import BufferPage


class Backlog:
    """The rows of one owner.  Events and actions are those of its `Lane`."""

    def __init__(
        self,
        recent: RecentSet,
        orders: GroupOrders,
        guard: RestoreGuard | None,
        caution: Caution,
        *,
        offset: Instant,
        ordered_offset: Instant,
        windows: Windows,
        now: Instant,
    ) -> None:
        self._recent = recent
        self._orders = orders
        self._caution = caution
        # The messages that have an ordering key; only the first of each key comes to the others.
        self.order = Order(self._look_up, windows=windows)
        self._windows = windows
        self._prompt_us = windows.prompt_ms * 1_000

        self.cursor = Cursor(min(offset, ordered_offset), windows=windows, now=now)
        # Of what lies below, only what has an ordering key was left open.
        self._skipped_before = offset if ordered_offset < offset else Instant(0)

        self._pending = Pending(windows=windows, now=now)
        self._bodyless = Bodyless(caution, recent.unconfirmed, windows=windows, now=now)
        self._queue = InTurn()
        # What is ruled on now, and rows of it that came meanwhile.
        self._ruled: set[MessageId] = set()
        self._stashed: dict[MessageId, list[tuple[Candidate, int]]] = {}
        self._keepers: list[RestoreGuard | Caution] = [] if guard is None else [guard]
        if caution.has_quarantine:
            self._keepers.append(caution)
        self._suspects = [one.suspects for one in self._keepers]
        self.later = DueLater()

        self.held = HeldRows(recent, stashed=self._stashed, is_here=self._is_here)

        self.rows_read_count = 0
        self.doorbells_dropped_count = 0

    # --- what its lane may ask ----------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many messages are in memory, due and not claimed."""
        lines: tuple[Sized, ...] = (self._queue, self._bodyless, self._pending, *self._suspects)
        return sum(map(len, lines))

    @property
    def _due_count(self) -> int:
        return len(self._queue.due) + len(self._bodyless.due)

    @property
    def _room(self) -> int:
        """How many more messages that are fresh fit in memory."""
        due_count = min(self._due_count, self._windows.due_rows_max)
        return self._windows.read_ahead_rows_max - (len(self) - due_count)

    @property
    def candidates_count(self) -> int:
        """How many messages may be claimed now."""
        return len(self._queue)

    @property
    def later_room(self) -> int:
        """How many more messages fit in memory until they are due."""
        return max(LATER_ROWS_MAX - len(self.later), 0)

    @property
    def timers_room(self) -> int:
        """How many timers may be read now."""
        return min(self._windows.claims_open_max - len(self._pending), self.later_room)

    @property
    def bodies_missing_count(self) -> int:
        """How many bodies were asked for in vain."""
        return self._bodyless.missing_count

    def is_read_through(self, now: Instant) -> bool:
        """Whether all rows were read once, and nothing that is due waits for fold or body."""
        is_waiting = self._bodyless or self._pending or self.later.is_due(now)
        return self.cursor.was_read_through and not is_waiting

    @property
    def next_due_at(self) -> Instant | None:
        """When the first of the messages that wait for their time is due."""
        return self.later.next_due_at

    def resolved_before(self) -> Instant:
        """Return an instant before which every row is resolved."""
        return self.held.resolved_before(self.cursor.at)

    def ordered_resolved_before(self) -> Instant:
        """Return an instant before which every row of an ordered message is resolved."""
        return self.order.resolved_before(self.cursor.at)

    def first_candidates(self, count: int) -> list[tuple[MessageId, Candidate]]:
        """Return up to `count` messages that may be claimed, the first first."""
        if not self._ruled and not self._orders:
            return list(islice(self._queue.in_turn(), count))
        ruled, orders = self._ruled, self._orders
        free = (
            item
            for item in self._queue.in_turn()
            if item[0] not in ruled and not orders.is_stopped(item[1].group)
        )
        return list(islice(free, count))

    def first_stopped(self, count: int) -> list[tuple[MessageId, Candidate]]:
        """Return up to `count` messages whose group is paused or cancelled."""
        ruled, orders = self._ruled, self._orders
        stopped = (
            item
            for item in self._queue.in_turn()
            if orders.is_stopped(item[1].group) and item[0] not in ruled
        )
        return list(islice(stopped, count))

    def first_held(self, before: Instant, count: int) -> list[tuple[MessageId, Candidate]]:
        """Return up to `count` messages that wait to be claimed and hold the offset before then."""
        found: dict[MessageId, Candidate] = {}
        for id_ in self.held.older_than(before):
            if len(found) == count:
                break
            candidate = self._queue.get(id_)
            if candidate is not None and id_ not in self._ruled:
                found[id_] = candidate
        return list(found.items())

    def begin_ruling(self, ids: Iterable[MessageId]) -> None:
        """Let nothing happen to these messages until `end_ruling`: their folds are being read."""
        self._ruled.update(ids)

    def end_ruling(self, ids: Iterable[MessageId]) -> None:
        """Look at what came meanwhile."""
        for id_ in ids:
            self._ruled.discard(id_)
            for candidate, attempt in self._stashed.pop(id_, ()):
                self._look_up(id_, candidate, attempt)

    def withdraw(self, ids: Iterable[MessageId]) -> None:
        """Forget what waits of these messages: the next entry rules on them."""
        for id_ in ids:
            self._queue.pop(id_)
            self._bodyless.withdraw(id_)
            self.later.withdraw(id_)
            self._pending.pop(id_, None)

    def claim(self, ids: Iterable[MessageId]) -> None:
        """Let go of candidates that the next entry names."""
        self._queue.take(ids)

    def put_back(self, id_: MessageId, candidate: Candidate) -> None:
        """Take a message back whose claim certainly ended without a hand-over.

        Its row may have been read since the entry that says so was issued; it waits here once.
        """
        self.withdraw((id_,))
        if candidate.due_at:
            self.later.add(id_, candidate)
        elif candidate.body is None:
            self._wait_for_body(id_, candidate)
        else:
            self._let_claim(id_, candidate)

    def set_aside(self, id_: MessageId, *, until: Instant) -> None:
        """Let the head of a line wait here, without its body, and take no room from others."""
        candidate = self._queue.pop(id_)
        assert candidate is not None, id_
        self.later.add(id_, replace(candidate, body=None, due_at=until))

    # --- events -------------------------------------------------------------------------------

    def on_doorbell(
        self,
        *,
        message_ids: Sequence[MessageId],
        partition_keys: Sequence[PartitionKey],
        borns: Sequence[Instant],
        groups: Sequence[str],
        bodies: Sequence[Body],
        offset: Instant,
    ) -> None:
        """See `Lane.on_doorbell`; `offset` is the journaled one."""
        partitions: Sequence[bytes] = partition_keys
        if has_ordered := partitions != message_ids:
            # What came before them only a read can tell.
            self.cursor.want_read()
        # A body is touched by whoever takes it: after a crash only once its row is known.
        room = 0 if self.cursor.is_lagging or self._caution.is_careful else self._room
        if room < len(message_ids):
            self.doorbells_dropped_count += len(message_ids) - max(room, 0)
            self.cursor.want_read()
            if room <= 0:
                return
        floor = offset - self._prompt_us
        recent, queue, pending, bodyless = self._recent, self._queue, self._pending, self._bodyless
        waiting, fresh, due = self.later, queue.fresh, queue.due
        fresh_bodyless, due_bodyless = bodyless.fresh, bodyless.due
        has_held, is_held = self._caution.holds_any, self._caution.is_held
        rows = zip(message_ids, partition_keys, borns, groups, bodies, strict=True)
        for id_, pk, born, group, body in islice(rows, room):
            # Below the floor an id may be forgotten: only its row can tell, with the timeline.
            if born < floor or id_ in recent or id_ in pending or id_ in fresh or id_ in waiting:
                continue
            if id_ in due:
                continue
            if (has_ordered and is_ordered(pk, id_)) or (has_held and is_held(id_)):
                continue
            hinted = fresh_bodyless.get(id_) or due_bodyless.get(id_)
            candidate = hinted or Candidate(pk, born, group, None, body)
            if hinted is None:
                (fresh if body else fresh_bodyless)[id_] = candidate
            elif body:
                self._let_claim(id_, candidate.with_body(body))

    def on_rows(self, page: BufferPage, *, through: Instant, offset: Instant) -> None:
        """See `Lane.on_rows`; `offset` is the journaled one."""
        self.rows_read_count += len(page.rows)
        for row in self._unresolved(page.rows):
            at, id_, pk, born, attempt, due_at, group = row
            if is_ordered(pk, id_):
                self.order.add(row)
                continue
            if at < self._skipped_before:
                continue
            self.held.append(at, id_, attempt)
            candidate = Candidate(pk, born, group, None, None, due_at)
            is_prompt = attempt == 1 and at <= born + self._prompt_us and at >= offset
            if is_prompt and id_ not in self._recent and id_ not in self._pending:
                self._wait_for_body(id_, candidate)
            else:
                self._look_up(id_, candidate, attempt)
        self.cursor.on_page(page, through=through)

    def on_timers(self, rows: Iterable[TimerRow]) -> None:
        """Take timers: none is prompt, each counts only if the fold waits for its attempt."""
        for due_at, id_, pk, born, attempt, group in rows:
            self._look_up(id_, Candidate(pk, born, group, None, None, due_at), attempt)

    def on_bodies(
        self, asked: Iterable[MessageId], bodies: Mapping[MessageId, Body], *, now: Instant
    ) -> None:
        """See `Lane.on_bodies`."""
        self._bodyless.on_bodies(asked, bodies, self._queue, now=now)

    def on_bodies_failed(self, *, now: Instant) -> None:
        """See `Lane.on_bodies_failed`."""
        self._bodyless.on_failed(now=now)

    def on_folds(self, asked: Iterable[MessageId], folds: Folds, pasts: Pasts) -> None:
        """See `Lane.on_folds`."""
        self._pending.on_answered()
        for id_ in asked:
            step = folds.get(id_)
            if id_ in self._ruled:
                self._stashed.setdefault(id_, []).extend(self._pending.pop(id_, []))
                continue
            rows = self._pending.pop(id_, [])
            for candidate, attempt in rows:
                if attempt_awaited(step) == attempt:
                    self._wait_for_body(id_, candidate.at(step, pasts.get(id_)), attempt)
            if rows and is_ordered(rows[0][0].pk, id_):
                self.order.on_step(rows[0][0].pk, id_, step)

    def on_folds_failed(self, *, now: Instant) -> None:
        """See `Lane.on_folds_failed`."""
        self._pending.on_failed(now=now)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self.order.on_clock_set_back(now)
        self.cursor.on_clock_set_back(now)
        self._pending.on_clock_set_back(now)
        self._bodyless.on_clock_set_back(now)

    # --- decisions ----------------------------------------------------------------------------

    def decide(self, now: Instant, *, open_count: int, is_draining: bool) -> list[Action]:
        """Return what is to be read now; `open_count` messages are claimed without outcome."""
        self.order.decide(now)
        self._take_what_is_due(now)
        actions = self.look_up(now)
        if is_draining or not self.cursor.is_read_due(now):
            return actions
        room = self._room - open_count
        if room < self._windows.claims_open_max or not self.later_room or self.order.is_full:
            self.cursor.is_lagging = True
            return actions
        if len(self.held) >= self._windows.read_ahead_rows_max:
            self.held.forget_resolved()
        actions.append(self.cursor.read(now, room=room))
        return actions

    def look_up(self, now: Instant) -> list[Action]:
        """Return the reads that say of messages whether they wait, and what they hold."""
        return [*self._pending.look_up(now), *self._bodyless.look_up(self._queue, now)]

    def _unresolved(self, rows: Sequence[BufferRow]) -> Sequence[BufferRow]:
        """Return the rows that are not plainly resolved; most of them are, behind doorbells."""
        step_of, ruled = self._recent.step_or_none, self._ruled
        return [
            row
            for row in rows
            # One that is sent again is resolved until its ruling is journaled; its row comes first.
            if (step_of(row[1]) or 0) & EVENT_MASK < RESOLVED_FROM
            or row[1] in ruled
            or is_ordered(row[2], row[1])
        ]

    def _is_here(self, id_: MessageId) -> bool:
        return (
            id_ in self._queue.fresh
            or id_ in self._bodyless.fresh
            or id_ in self._queue.due
            or id_ in self._bodyless.due
            or id_ in self.later
            or id_ in self._pending
            or id_ in self._stashed
            or any(id_ in suspects for suspects in self._suspects)
            or self.order.is_early(id_)
        )

    def _look_up(self, id_: MessageId, candidate: Candidate, attempt: int) -> None:
        """Let the fold say whether a row counts: that in memory if there is one."""
        if id_ in self._ruled:
            # Perhaps of the attempt that the ruling is about to make the next one.
            self._stashed.setdefault(id_, []).append((candidate, attempt))
            return
        step = self._recent.step(id_)
        if step is not None:
            if attempt_awaited(step) == attempt:
                self._wait_for_body(id_, candidate.at(step, self._recent.past(id_)), attempt)
            if is_ordered(candidate.pk, id_):
                self.order.on_step(candidate.pk, id_, step)
        elif id_ in self._pending:
            self._pending[id_].append((candidate, attempt))
        elif self.order.is_early(id_):  # which of its attempts counts is known at its turn
            self.order.keep_early(id_, candidate, attempt)
        elif not self._is_here(id_):
            self._pending[id_] = [(candidate, attempt)]

    def _wait_for_body(self, id_: MessageId, candidate: Candidate, attempt: int = 1) -> None:
        queue, bodyless = self._queue, self._bodyless
        if id_ in queue.fresh or id_ in bodyless.fresh or id_ in self.later:
            return
        if id_ in queue.due or id_ in bodyless.due:
            return
        if is_ordered(candidate.pk, id_) and not self.order.is_head(candidate.pk, id_):
            # A timer that came before the message's turn.
            self.order.keep_early(id_, candidate, attempt)
            return
        for one in self._keepers:
            if one.keeps(id_, candidate):
                return
        if candidate.due_at:
            self.later.add(id_, candidate)
        else:
            bodyless.add(id_, candidate)

    def _let_claim(self, id_: MessageId, candidate: Candidate) -> None:
        # A row may have asked for its body meanwhile.
        self._bodyless.pop(id_)
        self._queue.add(id_, candidate)

    def _take_what_is_due(self, now: Instant) -> None:
        """Let what is due be claimed, beside what the cursor reads ahead.

        So neither keeps the other out: each has room of its own.
        """
        room = self._windows.due_rows_max - self._due_count
        for id_, candidate in self.later.take_due(now, room=room):
            take = self._bodyless.add if candidate.body is None else self._let_claim
            take(id_, candidate)
