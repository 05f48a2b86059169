"""The owner of one lane at work: read, skip, claim, hand over, record, project, retire.

A sans-I/O object.  Events come in through the `on_*` methods; `decide(now)` returns what is to be
done next.  The rules are those of the design, section 5.3, and their order is the point:

- a message is handed over only after a definite answer to the append that claims it;
- one append is in flight; its body is frozen when it is issued;
- whether a row was claimed before is decided by data, not by clocks: a *prompt* row (stored at
  most P after its id was born) at or above the journaled offset, whose id is in no un-retired
  entry, was never claimed.  Any other row is claimed only if the fold of its timeline waits for
  exactly its attempt;
- an entry retires when its claims have outcomes, it is projected, the books count it, and the
  offset is beyond born + P of every id in it.

Work comes in windows, one for each append with claims, and is kept in columns: at a thousand
messages a call, the cost of a message is a few dictionary operations.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from pipeline.instant import Instant, earlier, later
from pipeline.lane.actions import (
    Action,
    Append,
    HandOverWindow,
    Project,
    ReadBodies,
    ReadBooks,
    ReadFolds,
    ReadRows,
    WriteBooks,
)
from pipeline.lane.books import LaneBooks, tally_of
from pipeline.lane.entry import Checkpoint, Entry, EntryBuilder, encode_entry
from pipeline.lane.recent import RecentSet
from pipeline.lane.recovery import Recovered
from pipeline.lane.window import Candidate, Window, expired_positions, lines_bytes
from pipeline.lifecycle import (
    EVENT_MASK,
    RESOLVED_FROM,
    Event,
    Step,
    attempt_awaited,
    attempt_of,
    next_claim,
)
from pipeline.limits import (
    CLAIM_PAUSE_MS_MAX,
    CLAIM_PAUSE_MS_MIN,
    ENTRIES_UNRETIRED_MAX,
    JOURNAL_LINES_BYTES_MAX,
    OUTCOME_DETAILS_BYTES_MAX,
    PROJECT_ROWS_MAX,
    READ_PAGE_ROWS_MAX,
    Windows,
)
from pipeline.message import Body, BufferRow, MessageId, PartitionKey, TimelineRow
from pipeline.outcome import Outcomes
from pipeline.ports import BookCell, BufferPage

_FIRST_CLAIM: Final = next_claim(None)


class Lane:
    """One lane, owned under one epoch.  Made from what `recovery` read back."""

    def __init__(
        self, recovered: Recovered, *, windows: Windows, connector: str, now: Instant
    ) -> None:
        self._windows = windows
        self._connector = connector
        self._prompt_us = windows.prompt_ms * 1_000

        # The journal.
        self._next_seq = recovered.next_seq
        self._in_flight: Append | None = None
        self._in_flight_entry: Entry | None = None
        self._in_flight_window: Window | None = None
        self._in_flight_unsent: list[tuple[Window, list[int]]] = []
        self._offset = recovered.offset
        self._retired_through = recovered.retired_through
        self._checkpointed_at = now
        self._recent = RecentSet(recovered.entries)
        self._is_fenced = False
        self._is_draining = False

        # Rows.
        self._cursor = recovered.offset
        self._resume: bytes | None = None
        self._is_reading = False
        self._read_wanted = True
        self._read_at = now
        self._newest_row_at: Instant | None = None
        self._is_lagging = False
        self._held: deque[tuple[Instant, MessageId, int]] = deque()
        self._pending: dict[MessageId, list[BufferRow]] = {}
        self._folds_asked = False
        self._folds_not_before = now
        self._bodyless: dict[MessageId, Candidate] = {}
        self._bodies_asked = False
        self._bodies_not_before = now

        # Claims.
        self._queue: dict[MessageId, Candidate] = {}
        self._windows_open: dict[int, Window] = {}
        self._open_count = 0
        self._outcomes: deque[tuple[Window, Outcomes]] = deque()
        self._to_hand_over: list[HandOverWindow] = []
        self._pause_ms = 0
        self._claim_not_before = now

        # What is journaled goes on to the timeline and the books.
        self._to_project: deque[tuple[int, Entry]] = deque()
        self._projecting_through: int | None = None
        self._project_not_before = now
        self._projected_through = recovered.retired_through
        self._books = LaneBooks()
        self._books_written_at = earlier(now, windows.checkpoint_ms)
        self._books_not_before = now

        self._decided_at = now
        self.rows_read_count = 0
        self.bodies_missing_count = 0
        self.doorbells_dropped_count = 0
        self.handed_over_count = 0

        self._take_up(recovered)

    def _take_up(self, recovered: Recovered) -> None:
        """Go on from the predecessor: project all that it journaled, answer for its open claims."""
        for seq, entry in recovered.entries:
            self._to_project.append((seq, entry))
            self._books.apply(seq, tally_of(entry))
        for window in recovered.open_claims():
            unretired = self._recent.entry(window.seq)
            unretired.open_count += len(window.message_ids)
            self._windows_open[window.seq] = window
            self._open_count += len(window.message_ids)
            # The predecessor may have handed them over: they are never handed over again.
            self._outcomes.append(
                (window, Outcomes.all_alike(Event.LOSE_ANSWER, len(window.message_ids)))
            )

    # --- what a shell may ask -----------------------------------------------------------------

    @property
    def offset(self) -> Instant:
        """The offset of the last definitely journaled checkpoint."""
        return self._offset

    @property
    def is_fenced(self) -> bool:
        """Another owner took the lane; this one is over."""
        return self._is_fenced

    @property
    def is_drained(self) -> bool:
        """After `drain`: every claim has a journaled outcome, all is projected and counted."""
        return (
            self._is_draining
            and self._in_flight is None
            and not self._windows_open
            and not self._to_hand_over
            and not self._to_project
            and self._projecting_through is None
            and self._books.is_settled
        )

    @property
    def open_count(self) -> int:
        """How many messages are claimed without a journaled outcome."""
        return self._open_count

    @property
    def backlog_count(self) -> int:
        """How many messages are in memory and not claimed."""
        return len(self._queue) + len(self._bodyless) + len(self._pending)

    @property
    def is_lagging(self) -> bool:
        """The cursor is behind; doorbells are dropped until it has caught up."""
        return self._is_lagging

    def wake_at(self) -> Instant:
        """Return when `decide` should be called again though no event came."""
        if self._has_business:
            return later(self._decided_at, self._windows.checkpoint_ms)
        return later(self._read_at, self._windows.idle_read_ms)

    @property
    def _has_business(self) -> bool:
        return bool(
            self._queue
            or self._bodyless
            or self._pending
            or self._windows_open
            or self._is_reading
            or self._in_flight is not None
            or not self._books.is_settled
            or self._recent.has_entries
        )

    def drain(self) -> None:
        """Claim nothing more; finish what is claimed.  May be called twice."""
        self._is_draining = True

    # --- events -------------------------------------------------------------------------------

    def on_doorbell(
        self,
        *,
        message_ids: Sequence[MessageId],
        partition_keys: Sequence[PartitionKey],
        borns: Sequence[Instant],
        groups: Sequence[str],
        bodies: Sequence[Body],
    ) -> None:
        """Take rows that an ingester had acknowledged; an empty body was too long to come along.

        A hint: whatever is dropped here is found by the cursor.
        """
        if self._is_fenced or self._is_draining:
            return
        room = 0 if self._is_lagging else self._windows.read_ahead_rows_max - self.backlog_count
        if room < len(message_ids):
            self.doorbells_dropped_count += len(message_ids) - max(room, 0)
            self._read_wanted = True
            if room <= 0:
                return
        floor = self._offset - self._prompt_us
        recent, queue, pending, bodyless = self._recent, self._queue, self._pending, self._bodyless
        rows = zip(message_ids, partition_keys, borns, groups, bodies, strict=True)
        for id_, pk, born, group, body in islice(rows, room):
            # Below the floor an id may be forgotten: only its row can tell, with the timeline.
            if born < floor or id_ in recent or id_ in pending or id_ in queue:
                continue
            waiting = bodyless.get(id_)
            candidate = waiting or Candidate(pk, born, group, None, body)
            if not body:
                bodyless.setdefault(id_, candidate)
            else:
                bodyless.pop(id_, None)
                queue[id_] = candidate._replace(body=body) if waiting else candidate

    def on_rows(self, page: BufferPage, *, through: Instant) -> None:
        """Take the answer to `ReadRows`; `through` is the horizon of the read it belongs to."""
        self._is_reading = False
        self.rows_read_count += len(page.rows)
        for at, id_, pk, born, attempt, group in self._unresolved(page.rows):
            self._held.append((at, id_, attempt))
            step = self._recent.step(id_)
            if step is not None:
                if attempt_awaited(step) == attempt:
                    self._wait_for_body(id_, Candidate(pk, born, group, step, None))
            elif id_ in self._pending:
                self._pending[id_].append((at, id_, pk, born, attempt, group))
            elif attempt == 1 and at <= born + self._prompt_us and at >= self._offset:
                self._wait_for_body(id_, Candidate(pk, born, group, None, None))
            elif id_ not in self._queue and id_ not in self._bodyless:
                self._pending[id_] = [(at, id_, pk, born, attempt, group)]
        if page.rows:
            # Rows come in order: all before the last one were read.
            self._newest_row_at = page.rows[-1][0]
            self._cursor = max(self._cursor, self._newest_row_at)
        self._resume = page.resume
        if page.resume is None:
            self._cursor = max(self._cursor, through)
            self._is_lagging = False

    def on_read_failed(self) -> None:
        """Note that rows could not be read; the next idle read begins again at the cursor."""
        self._is_reading, self._resume = False, None

    def on_bodies(
        self, asked: Iterable[MessageId], bodies: Mapping[MessageId, Body], *, now: Instant
    ) -> None:
        """Take the answer to `ReadBodies`; a body that is missing is asked for again later.

        It was acknowledged before its row was written, so that only a damaged store lacks it; the
        row holds the offset until somebody looks.
        """
        self._bodies_asked = False
        for id_ in asked:
            candidate = self._bodyless.pop(id_, None)
            if candidate is None:
                continue
            body = bodies.get(id_)
            if body is not None:
                self._queue[id_] = candidate._replace(body=body)
            else:
                self._bodyless[id_] = candidate
                self._bodies_not_before = later(now, self._windows.idle_read_ms)
                self.bodies_missing_count += 1

    def on_bodies_failed(self, *, now: Instant) -> None:
        """Note that bodies could not be read."""
        self._bodies_asked = False
        self._bodies_not_before = later(now, self._windows.checkpoint_ms)

    def on_folds(self, asked: Iterable[MessageId], folds: dict[MessageId, Step]) -> None:
        """Take the answer to `ReadFolds`: claim what waits for its row's attempt, drop the rest."""
        self._folds_asked = False
        for id_ in asked:
            step = folds.get(id_)
            for _, _, pk, born, attempt, group in self._pending.pop(id_, []):
                if attempt_awaited(step) == attempt:
                    self._wait_for_body(id_, Candidate(pk, born, group, step, None))

    def on_folds_failed(self, *, now: Instant) -> None:
        """Note that folds could not be read; the ids stay pending."""
        self._folds_asked = False
        self._folds_not_before = later(now, self._windows.checkpoint_ms)

    def on_applied(self, seq: int, *, now: Instant) -> None:
        """Take the definite yes to the append in flight."""
        append, entry = self._in_flight, self._in_flight_entry
        assert append is not None, seq
        assert entry is not None, seq
        assert append.seq == seq, (append.seq, seq)
        self._in_flight = self._in_flight_entry = None
        self._to_project.append((seq, entry))
        self._books.apply(seq, tally_of(entry))
        if entry.checkpoint is not None:
            self._offset = entry.checkpoint.offset
            self._retired_through = entry.checkpoint.retired_through
            self._recent.retire(self._retired_through)
        for window, positions in self._in_flight_unsent:
            for n in positions:
                candidate = window.candidate(n, event=Event.NOT_SENT)
                if candidate.body is None:
                    self._wait_for_body(window.message_ids[n], candidate)
                else:
                    # A row may have asked for its body meanwhile.
                    self._bodyless.pop(window.message_ids[n], None)
                    self._queue[window.message_ids[n]] = candidate
        self._in_flight_unsent = []
        claimed = self._in_flight_window
        self._in_flight_window = None
        if claimed is None:
            return
        if now > claimed.send_before:
            # Nothing left this process, and from here on nothing will.
            self._outcomes.append(
                (claimed, Outcomes.all_alike(Event.NOT_SENT, len(claimed.message_ids)))
            )
        else:
            self._to_hand_over.append(claimed.hand_over())

    def on_fenced(self) -> None:
        """Take the definite no: a newer epoch owns the lane.  Nothing more is done."""
        self._is_fenced = True
        self._in_flight = None

    def on_outcomes(self, seq: int, outcomes: Outcomes, *, now: Instant) -> None:
        """Take what the connector says of the window of `seq`."""
        if self._is_fenced:
            return
        window = self._windows_open[seq]
        assert len(outcomes.events) == len(window.message_ids), seq
        self._outcomes.append((window, outcomes))
        unsent = outcomes.events.count(Event.NOT_SENT)
        self.handed_over_count += len(outcomes.events) - unsent
        if unsent:
            self._pause_ms = min(max(2 * self._pause_ms, CLAIM_PAUSE_MS_MIN), CLAIM_PAUSE_MS_MAX)
            self._claim_not_before = later(now, self._pause_ms)
        else:
            self._pause_ms = 0

    def on_projected(self) -> None:
        """Take the acknowledgement of `Project`."""
        assert self._projecting_through is not None
        self._projected_through, self._projecting_through = self._projecting_through, None
        while self._to_project and self._to_project[0][0] <= self._projected_through:
            self._to_project.popleft()

    def on_project_failed(self, *, now: Instant) -> None:
        """Note that the rows may or may not have been written; they are written again."""
        self._projecting_through = None
        self._project_not_before = later(now, self._windows.checkpoint_ms)

    def on_books_read(self, cells: Sequence[BookCell]) -> None:
        """Take the answer to `ReadBooks`."""
        self._books.on_read(cells)

    def on_books_read_failed(self, *, now: Instant) -> None:
        """Note that the cells could not be read."""
        self._books.on_read_failed()
        self._books_not_before = later(now, self._windows.checkpoint_ms)

    def on_books_written(self) -> None:
        """Take the acknowledgement of `WriteBooks`."""
        self._books.on_written()

    def on_books_write_failed(self, *, now: Instant) -> None:
        """Note that the cells may or may not have been written; they are written again."""
        self._books.on_write_failed()
        self._books_not_before = later(now, self._windows.checkpoint_ms)

    # --- decisions ----------------------------------------------------------------------------

    def decide(self, now: Instant) -> list[Action]:
        """Return what is to be done now.  Each action is answered by its `on_*` event."""
        if self._is_fenced:
            return []
        self._decided_at = now
        actions: list[Action] = []
        actions.extend(self._to_hand_over)
        self._to_hand_over = []
        self._decide_reading(now, actions)
        if self._in_flight is None:
            self._decide_append(now, actions)
        self._decide_projection(now, actions)
        self._decide_books(now, actions)
        return actions

    def _decide_reading(self, now: Instant, actions: list[Action]) -> None:
        if self._pending and not self._folds_asked and now >= self._folds_not_before:
            self._folds_asked = True
            actions.append(
                ReadFolds(keys=[(rows[0][2], id_) for id_, rows in self._pending.items()])
            )
        if self._bodyless and not self._bodies_asked and now >= self._bodies_not_before:
            room = 2 * self._windows.claims_open_max - len(self._queue)
            if room > 0:
                self._bodies_asked = True
                actions.append(
                    ReadBodies(
                        keys=[(row.pk, id_) for id_, row in islice(self._bodyless.items(), room)]
                    )
                )
        if self._is_reading or self._is_draining:
            return
        is_due = (
            self._read_wanted
            or self._resume is not None
            or now >= later(self._read_at, self._windows.idle_read_ms)
        )
        if not is_due:
            return
        unresolved_count = self.backlog_count + self._open_count
        room = self._windows.read_ahead_rows_max - unresolved_count
        if room < self._windows.claims_open_max:
            self._is_lagging = True
            return
        if len(self._held) >= self._windows.read_ahead_rows_max:
            self._held = deque(row for row in self._held if not self._is_resolved(row[1], row[2]))
        self._is_reading, self._read_wanted, self._read_at = True, False, now
        actions.append(
            ReadRows(from_at=self._cursor, limit=min(room, READ_PAGE_ROWS_MAX), resume=self._resume)
        )

    def _decide_append(self, now: Instant, actions: list[Action]) -> None:
        builder = EntryBuilder()
        room_bytes = JOURNAL_LINES_BYTES_MAX - self._add_outcomes(builder)
        room_bytes -= self._carry_old_claims(builder, now, room_bytes=room_bytes)
        window = self._claim(builder, now, room_bytes=room_bytes)
        has_lines = len(builder) > 0
        seq = self._next_seq
        if has_lines:
            # Before the checkpoint: it counts the lines of its own body.
            unretired = self._recent.name(
                seq, builder.message_ids, steps=builder.steps, borns=builder.borns
            )
        checkpoint = self._checkpoint(now, has_lines=has_lines)
        if not has_lines:
            if checkpoint is None:
                return
            unretired = self._recent.name(seq, [], steps=[], borns=[])
        self._next_seq += 1
        entry = builder.build(at=now, connector=self._connector, checkpoint=checkpoint)
        if window is not None:
            window.seq = seq
            unretired.open_count += len(window.message_ids)
            self._windows_open[seq] = window
            self._open_count += len(window.message_ids)
        for carried in self._windows_open.values():
            if carried.is_carried_in_next:
                carried.is_carried_in_next = False
                carried.named_seq = seq
                unretired.open_count += len(carried.message_ids)
        self._in_flight = Append(seq=seq, body=encode_entry(entry))
        self._in_flight_entry, self._in_flight_window = entry, window
        if checkpoint is not None:
            self._checkpointed_at = now
        actions.append(self._in_flight)

    def _add_outcomes(self, builder: EntryBuilder) -> int:
        """Add the lines of the windows that are answered, as many as one body may hold.

        Returns about how many bytes they take.
        """
        size = 0
        while self._outcomes:
            window, outcomes = self._outcomes[0]
            added = lines_bytes(window.groups, outcomes.details)
            if len(builder) and size + added > JOURNAL_LINES_BYTES_MAX:
                break
            size += added
            self._outcomes.popleft()
            window.add_outcome_lines(builder, outcomes)
            self._recent.entry(window.named_seq).open_count -= len(window.message_ids)
            del self._windows_open[window.seq]
            self._open_count -= len(window.message_ids)
            if Event.NOT_SENT in outcomes.events:
                unsent = [n for n, e in enumerate(outcomes.events) if e == Event.NOT_SENT]
                self._in_flight_unsent.append((window, unsent))
        return size

    def _carry_old_claims(self, builder: EntryBuilder, now: Instant, *, room_bytes: int) -> int:
        """Name again the open claims that are older than H, so that old entries can retire.

        Returns about how many bytes they take; those that do not fit are named by the next append.
        """
        answered = {window.seq for window, _ in self._outcomes}
        limit = earlier(now, self._windows.near_horizon_ms)
        size = 0
        for window in self._windows_open.values():
            if window.named_at < limit and window.seq not in answered:
                added = lines_bytes(window.groups, {})
                if len(builder) and size + added > room_bytes:
                    break
                size += added
                window.named_at = now
                self._recent.entry(window.named_seq).open_count -= len(window.message_ids)
                window.is_carried_in_next = True
                window.add_claim_lines(builder, [Event.CLAIM] * len(window.message_ids))
        return size

    def _claim(self, builder: EntryBuilder, now: Instant, *, room_bytes: int) -> Window | None:
        """Move candidates into the next window, up to F claims without outcome."""
        room = self._windows.claims_open_max - self._open_count
        if (
            room <= 0
            or not self._queue
            or self._is_draining
            or now < self._claim_not_before
            or self._recent.entries_count >= ENTRIES_UNRETIRED_MAX
        ):
            return None
        taken = list(islice(self._queue.items(), room))
        # The outcomes of a window come with details, and must fit in one body as well.
        room_bytes = min(room_bytes, JOURNAL_LINES_BYTES_MAX - OUTCOME_DETAILS_BYTES_MAX)
        while taken and lines_bytes([c.group for _, c in taken], {}) > room_bytes:
            taken = taken[: len(taken) // 2]
        if not taken:
            return None
        for id_, _ in taken:
            del self._queue[id_]
        expired = expired_positions(
            [candidate for _, candidate in taken],
            now=now,
            validity_ms_max=self._windows.validity_ms_max,
        )
        if expired:
            for n in sorted(expired):
                id_, candidate = taken[n]
                step = next_claim(candidate.fold) - Event.CLAIM + Event.EXPIRE
                builder.add_lines(
                    message_ids=[id_],
                    partition_keys=[candidate.pk],
                    steps=[step],
                    events_before=[(candidate.fold or 0) & EVENT_MASK],
                    borns=[candidate.born],
                    groups=[candidate.group],
                    details={},
                )
            taken = [pair for n, pair in enumerate(taken) if n not in expired]
            if not taken:
                return None
        pks, borns, groups, folds, bodies = zip(*(c for _, c in taken), strict=True)
        steps: list[int] = (
            [next_claim(fold) for fold in folds] if any(folds) else [_FIRST_CLAIM] * len(taken)
        )
        window = Window(
            message_ids=[id_ for id_, _ in taken],
            partition_keys=pks,
            borns=borns,
            groups=groups,
            steps=steps,
            bodies=bodies,
            named_at=now,
            send_before=later(now, self._windows.send_deadline_ms),
        )
        window.add_claim_lines(builder, [(fold or 0) & EVENT_MASK for fold in folds])
        return window

    def _checkpoint(self, now: Instant, *, has_lines: bool) -> Checkpoint | None:
        """Return the checkpoint that the next entry should carry, if it is worth one."""
        if now < later(self._checkpointed_at, self._windows.checkpoint_ms) and not (
            self._is_draining and not has_lines
        ):
            return None
        held = self._held
        while held and self._is_resolved(held[0][1], held[0][2]):
            held.popleft()
        offset = max(self._offset, min(self._cursor, held[0][0]) if held else self._cursor)
        retired_through = self._recent.retirable_through(
            offset=offset,
            prompt_us=self._prompt_us,
            done_through=min(self._projected_through, self._books.written_through),
        )
        retired_through = max(retired_through, self._retired_through)
        if has_lines:
            is_worth_it = offset > self._offset or retired_through > self._retired_through
        else:
            # An idle lane writes nothing: only what spares a successor work is worth an entry.
            rows_below = self._newest_row_at is not None and (
                self._offset <= self._newest_row_at and offset > self._offset
            )
            is_worth_it = rows_below or self._recent.names_any_through(retired_through)
        if not is_worth_it:
            return None
        return Checkpoint(offset=offset, retired_through=retired_through)

    def _decide_projection(self, now: Instant, actions: list[Action]) -> None:
        if (
            self._projecting_through is not None
            or not self._to_project
            or now < self._project_not_before
        ):
            return
        rows: list[TimelineRow] = []
        for seq, entry in self._to_project:
            rows.extend(entry.timeline_rows())
            self._projecting_through = seq
            if len(rows) >= PROJECT_ROWS_MAX:
                break
        if rows:
            actions.append(Project(rows=rows))
        else:
            self.on_projected()

    def _decide_books(self, now: Instant, actions: list[Action]) -> None:
        if now < self._books_not_before:
            return
        unread = self._books.take_unread()
        if unread:
            actions.append(ReadBooks(books=unread))
        if now >= later(self._books_written_at, self._windows.checkpoint_ms) or self._is_draining:
            cells = self._books.take_cells()
            if cells:
                self._books_written_at = now
                actions.append(WriteBooks(cells=cells))

    # --- rows ---------------------------------------------------------------------------------

    def _unresolved(self, rows: Sequence[BufferRow]) -> Sequence[BufferRow]:
        """Return the rows that are not plainly resolved; most of them are, behind doorbells."""
        step_of = self._recent.step_or_none
        return [row for row in rows if (step_of(row[1]) or 0) & EVENT_MASK < RESOLVED_FROM]

    def _is_resolved(self, id_: MessageId, attempt: int) -> bool:
        """Return whether a row that the cursor has read holds the offset no longer."""
        step = self._recent.step(id_)
        if step is None:
            # Named once and retired since, or dropped by its fold; else it still waits here.
            return not (id_ in self._queue or id_ in self._bodyless or id_ in self._pending)
        if step & EVENT_MASK >= RESOLVED_FROM:
            return True
        awaited = attempt_awaited(step)
        return attempt_of(step) > attempt if awaited is None else awaited > attempt

    def _wait_for_body(self, id_: MessageId, candidate: Candidate) -> None:
        if id_ not in self._queue and id_ not in self._bodyless:
            self._bodyless[id_] = candidate
