"""The owner of one lane at work: read, skip, claim, hand over, record, project, retire.

A sans-I/O object.  Events come in through the `on_*` methods; `decide(now)` returns what is to be
done next.  The rules are those of the design, section 5.3, and their order is the point:

- a message is handed over only after a definite answer to the append that claims it;
- one append is in flight; its body is frozen when it is issued;
- whether a row was claimed before is decided by data, not by clocks: a *prompt* row (stored at
  most P after its id was born) at or above the journaled offset, whose id is in no un-retired
  entry, was never claimed.  Any other row is claimed only if the fold of its timeline waits for
  exactly its attempt (`backlog`);
- only what is journaled is projected (`projection`);
- an entry retires when its claims have outcomes, it is projected, the books count it, and the
  offset is beyond born + P of every id in it.

Work comes in windows, one for each append with claims, and is kept in columns: at a thousand
messages a call, the cost of a message is a few dictionary operations.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pipeline.instant import Instant, earlier, later
from pipeline.lane.actions import Action, Append, HandOverWindow
from pipeline.lane.backlog import Backlog
from pipeline.lane.entry import Checkpoint, Entry, EntryBuilder, encode_entry
from pipeline.lane.projection import Projection
from pipeline.lane.recent import RecentSet
from pipeline.lane.recovery import Recovered
from pipeline.lane.window import Answer, Window, expired_positions, lines_bytes
from pipeline.lifecycle import EVENT_MASK, Event, Step, next_claim
from pipeline.limits import (
    CLAIM_PAUSE_MS_MAX,
    CLAIM_PAUSE_MS_MIN,
    ENTRIES_UNRETIRED_MAX,
    JOURNAL_LINES_BYTES_MAX,
    OUTCOME_DETAILS_BYTES_MAX,
    Windows,
)
from pipeline.message import Body, MessageId, PartitionKey
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

        self._backlog = Backlog(self._recent, offset=recovered.offset, windows=windows, now=now)

        # Claims.
        self._windows_open: dict[int, Window] = {}
        self._open_count = 0
        self._outcomes: deque[Answer] = deque()
        self._to_hand_over: list[HandOverWindow] = []
        self._pause_ms = 0
        self._claim_not_before = now

        self._projection = Projection(
            retired_through=recovered.retired_through, windows=windows, now=now
        )
        self._decided_at = now
        self.handed_over_count = 0

        self._take_up(recovered)

    def _take_up(self, recovered: Recovered) -> None:
        """Go on from the predecessor: project all that it journaled, answer for its open claims."""
        for seq, entry in recovered.entries:
            self._projection.on_journaled(seq, entry)
        for window in recovered.open_claims():
            unretired = self._recent.entry(window.seq)
            unretired.open_count += len(window.message_ids)
            self._windows_open[window.seq] = window
            self._open_count += len(window.message_ids)
            # The predecessor may have handed them over: they are never handed over again.
            self._answer(window, Outcomes.all_alike(Event.LOSE_ANSWER, len(window.message_ids)))

    def _answer(
        self, window: Window, outcomes: Outcomes, positions: Sequence[int] | None = None
    ) -> None:
        window.unjournaled_parts += 1
        self._outcomes.append(Answer(window, outcomes, positions))

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
            and self._projection.is_settled
        )

    @property
    def open_count(self) -> int:
        """How many messages are claimed without a journaled outcome."""
        return self._open_count

    @property
    def backlog_count(self) -> int:
        """How many messages are in memory and not claimed."""
        return len(self._backlog)

    @property
    def is_lagging(self) -> bool:
        """The cursor is behind; doorbells are dropped until it has caught up."""
        return self._backlog.is_lagging

    @property
    def rows_read_count(self) -> int:
        """How many rows of the buffer were read."""
        return self._backlog.rows_read_count

    @property
    def bodies_missing_count(self) -> int:
        """How often a body was not there."""
        return self._backlog.bodies_missing_count

    @property
    def doorbells_dropped_count(self) -> int:
        """How many rows that came with doorbells found no room."""
        return self._backlog.doorbells_dropped_count

    def wake_at(self) -> Instant:
        """Return when `decide` should be called again though no event came."""
        if self._has_business:
            return later(self._decided_at, self._windows.checkpoint_ms)
        return self._backlog.next_read_at

    @property
    def _has_business(self) -> bool:
        return bool(
            self._backlog
            or self._windows_open
            or self._backlog.is_reading
            or self._in_flight is not None
            or not self._projection.is_settled
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
        self._backlog.on_doorbell(
            message_ids=message_ids,
            partition_keys=partition_keys,
            borns=borns,
            groups=groups,
            bodies=bodies,
            offset=self._offset,
        )

    def on_rows(self, page: BufferPage, *, through: Instant) -> None:
        """Take the answer to `ReadRows`; `through` is the horizon of the read it belongs to."""
        self._backlog.on_rows(page, through=through, offset=self._offset)

    def on_read_failed(self) -> None:
        """Note that rows could not be read; the next idle read begins again at the cursor."""
        self._backlog.on_read_failed()

    def on_bodies(
        self, asked: Iterable[MessageId], bodies: Mapping[MessageId, Body], *, now: Instant
    ) -> None:
        """Take the answer to `ReadBodies`; a body that is missing is asked for again later.

        It was acknowledged before its row was written, so that only a damaged store lacks it; the
        row holds the offset until somebody looks.
        """
        self._backlog.on_bodies(asked, bodies, now=now)

    def on_bodies_failed(self, *, now: Instant) -> None:
        """Note that bodies could not be read."""
        self._backlog.on_bodies_failed(now=now)

    def on_folds(self, asked: Iterable[MessageId], folds: Mapping[MessageId, Step]) -> None:
        """Take the answer to `ReadFolds`: claim what waits for its row's attempt, drop the rest."""
        self._backlog.on_folds(asked, folds)

    def on_folds_failed(self, *, now: Instant) -> None:
        """Note that folds could not be read; the ids stay pending."""
        self._backlog.on_folds_failed(now=now)

    def on_applied(self, seq: int, *, now: Instant) -> None:
        """Take the definite yes to the append in flight."""
        append, entry = self._in_flight, self._in_flight_entry
        assert append is not None, seq
        assert entry is not None, seq
        assert append.seq == seq, (append.seq, seq)
        self._in_flight = self._in_flight_entry = None
        self._projection.on_journaled(seq, entry)
        if entry.checkpoint is not None:
            self._offset = entry.checkpoint.offset
            self._retired_through = entry.checkpoint.retired_through
            self._recent.retire(self._retired_through)
        for window, positions in self._in_flight_unsent:
            for n in positions:
                self._backlog.put_back(
                    window.message_ids[n], window.candidate(n, event=Event.NOT_SENT)
                )
        self._in_flight_unsent = []
        claimed = self._in_flight_window
        self._in_flight_window = None
        if claimed is None:
            return
        if now > claimed.send_before:
            # Nothing left this process, and from here on nothing will.
            self._answer(claimed, Outcomes.all_alike(Event.NOT_SENT, len(claimed.message_ids)))
        else:
            self._to_hand_over.append(claimed.hand_over())

    def on_fenced(self) -> None:
        """Take the definite no: a newer epoch owns the lane.  Nothing more is done."""
        self._is_fenced = True
        self._in_flight = None

    def on_outcomes(
        self,
        seq: int,
        outcomes: Outcomes,
        *,
        now: Instant,
        positions: Sequence[int] | None = None,
    ) -> None:
        """Take what the connector says of the window of `seq`, or of these positions of it."""
        if self._is_fenced:
            return
        window = self._windows_open[seq]
        count = len(window.message_ids)
        if positions is not None and len(positions) == count and window.open_positions is None:
            assert list(positions) == list(range(count)), "a whole window is answered in its order"
            positions = None
        assert len(outcomes.events) == (count if positions is None else len(positions)), seq
        self._answer(window, outcomes, positions)
        unsent = outcomes.events.count(Event.NOT_SENT)
        self.handed_over_count += len(outcomes.events) - unsent
        if unsent:
            self._pause_ms = min(max(2 * self._pause_ms, CLAIM_PAUSE_MS_MIN), CLAIM_PAUSE_MS_MAX)
            self._claim_not_before = later(now, self._pause_ms)
        else:
            self._pause_ms = 0

    def on_projected(self) -> None:
        """Take the acknowledgement of `Project`."""
        self._projection.on_projected()

    def on_project_failed(self, *, now: Instant) -> None:
        """Note that the rows may or may not have been written; they are written again."""
        self._projection.on_project_failed(now=now)

    def on_books_read(self, cells: Sequence[BookCell]) -> None:
        """Take the answer to `ReadBooks`."""
        self._projection.on_books_read(cells)

    def on_books_read_failed(self, *, now: Instant) -> None:
        """Note that the cells could not be read."""
        self._projection.on_books_read_failed(now=now)

    def on_books_written(self) -> None:
        """Take the acknowledgement of `WriteBooks`."""
        self._projection.on_books_written()

    def on_books_write_failed(self, *, now: Instant) -> None:
        """Note that the cells may or may not have been written; they are written again."""
        self._projection.on_books_write_failed(now=now)

    # --- decisions ----------------------------------------------------------------------------

    def decide(self, now: Instant) -> list[Action]:
        """Return what is to be done now.  Each action is answered by its `on_*` event."""
        if self._is_fenced:
            return []
        if now < self._decided_at:
            self._on_clock_set_back(now)
        self._decided_at = now
        actions: list[Action] = []
        actions.extend(self._to_hand_over)
        self._to_hand_over = []
        actions.extend(
            self._backlog.decide(now, open_count=self._open_count, is_draining=self._is_draining)
        )
        if self._in_flight is None:
            self._decide_append(now, actions)
        actions.extend(self._projection.decide(now, is_draining=self._is_draining))
        return actions

    def _on_clock_set_back(self, now: Instant) -> None:
        """Wait for nothing that lies as far ahead as the clock was set back."""
        self._checkpointed_at = min(self._checkpointed_at, now)
        self._claim_not_before = min(self._claim_not_before, now)
        self._backlog.on_clock_set_back(now)
        self._projection.on_clock_set_back(now)

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
                unretired.open_count += carried.open_count
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
            window, outcomes, positions = self._outcomes[0]
            groups = window.groups
            if positions is not None:
                groups = [groups[n] for n in positions]
            added = lines_bytes(groups, outcomes.details)
            if len(builder) and size + added > JOURNAL_LINES_BYTES_MAX:
                break
            size += added
            self._outcomes.popleft()
            window.unjournaled_parts -= 1
            window.add_outcome_lines(builder, outcomes, positions)
            self._recent.entry(window.named_seq).open_count -= len(groups)
            self._open_count -= len(groups)
            if positions is not None:
                window.end(positions)
            if positions is None or not window.open_positions:
                del self._windows_open[window.seq]
            if Event.NOT_SENT in outcomes.events:
                at = range(len(groups)) if positions is None else positions
                unsent = [
                    n for n, e in zip(at, outcomes.events, strict=True) if e == Event.NOT_SENT
                ]
                self._in_flight_unsent.append((window, unsent))
        return size

    def _carry_old_claims(self, builder: EntryBuilder, now: Instant, *, room_bytes: int) -> int:
        """Name again the open claims that are older than H, so that old entries can retire.

        Returns about how many bytes they take; those that do not fit are named by the next append.
        """
        limit = earlier(now, self._windows.near_horizon_ms)
        size = 0
        for window in self._windows_open.values():
            # One with answers on their way is named by them, and by a later entry if need be.
            if window.named_at < limit and not window.unjournaled_parts:
                added = lines_bytes(window.groups, {})
                if len(builder) and size + added > room_bytes:
                    break
                size += added
                window.named_at = now
                self._recent.entry(window.named_seq).open_count -= window.open_count
                window.is_carried_in_next = True
                window.add_carry_lines(builder)
        return size

    def _claim(self, builder: EntryBuilder, now: Instant, *, room_bytes: int) -> Window | None:
        """Move candidates into the next window, up to F claims without outcome."""
        room = self._windows.claims_open_max - self._open_count
        if (
            room <= 0
            or not self._backlog.has_candidates
            or self._is_draining
            or now < self._claim_not_before
            or self._recent.entries_count >= ENTRIES_UNRETIRED_MAX
        ):
            return None
        taken = self._backlog.first_candidates(room)
        # The outcomes of a window come with details, and must fit in one body as well.
        room_bytes = min(room_bytes, JOURNAL_LINES_BYTES_MAX - OUTCOME_DETAILS_BYTES_MAX)
        while taken and lines_bytes([c.group for _, c in taken], {}) > room_bytes:
            taken = taken[: len(taken) // 2]
        if not taken:
            return None
        self._backlog.claim(id_ for id_, _ in taken)
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
        offset = max(self._offset, self._backlog.resolved_before())
        retired_through = self._recent.retirable_through(
            offset=offset,
            prompt_us=self._windows.prompt_ms * 1_000,
            done_through=self._projection.done_through,
        )
        retired_through = max(retired_through, self._retired_through)
        if has_lines:
            is_worth_it = offset > self._offset or retired_through > self._retired_through
        else:
            # An idle lane writes nothing: only what spares a successor work is worth an entry.
            newest_row_at = self._backlog.newest_row_at
            rows_below = newest_row_at is not None and (
                self._offset <= newest_row_at and offset > self._offset
            )
            is_worth_it = rows_below or self._recent.names_any_through(retired_through)
        if not is_worth_it:
            return None
        return Checkpoint(offset=offset, retired_through=retired_through)
