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

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from pipeline.instant import Instant, later
from pipeline.lane.actions import Action, Append, WriteLater, WriteRuled
from pipeline.lane.admission import Admission
from pipeline.lane.backlog import Backlog
from pipeline.lane.caution import Caution
from pipeline.lane.checkpoints import Checkpoints
from pipeline.lane.claims import Claims
from pipeline.lane.commands import Commands
from pipeline.lane.decisions import Decisions
from pipeline.lane.entry import Entry, EntryBuilder, encode_entry
from pipeline.lane.gate import Gate
from pipeline.lane.group_orders import GroupOrders
from pipeline.lane.past import Folds, Pasts
from pipeline.lane.projection import Projection
from pipeline.lane.recent import RecentSet
from pipeline.lane.recovery import Recovered
from pipeline.lane.references import References
from pipeline.lane.restored import RESTORED, RestoreGuard
from pipeline.lane.rolling import begins_segment
from pipeline.lane.ruling import Batch
from pipeline.lane.send_hours import SendHours
from pipeline.lane.suppressions import ListingTenants, Suppressions
from pipeline.lane.testimony import Testimony
from pipeline.lane.timers import Timers
from pipeline.lane.window import Candidate
from pipeline.later import CommandEntry, ReceiptRow, TimerPage
from pipeline.lifecycle import Step
from pipeline.limits import (
    ENTRIES_UNRETIRED_MAX,
    JOURNAL_LINES_BYTES_MAX,
    Windows,
)
from pipeline.message import Body, MessageId, PartitionKey, TimerRow
from pipeline.outcome import Outcomes
from pipeline.ports import BufferPage
from pipeline.route.retry_policy import RetryPolicy
from pipeline.route.suppression import SuppressionKey


class Lane:
    """One lane, owned under one epoch.  Made from what `recovery` read back."""

    def __init__(
        self,
        recovered: Recovered,
        *,
        windows: Windows,
        gate: Gate,
        admission: Admission,
        lists: ListingTenants,
        retry_policy: RetryPolicy,
        chance: Random,
        now: Instant,
    ) -> None:
        self._windows = windows

        # The journal.
        self._next_seq = recovered.next_seq
        self._new_segment_seq = recovered.next_seq if recovered.is_segment_new else None
        self._in_flight: Append | None = None
        self._in_flight_entry: Entry | None = None
        self._recent = RecentSet(recovered.entries)
        self._is_fenced = False
        self._is_draining = False

        restored_at = recovered.restored_at
        guard = self._guard = None if restored_at is None else RestoreGuard(restored_at)
        caution = self._caution = Caution(
            is_after_crash=recovered.is_after_crash,
            tried=recovered.trial,
            ends=recovered.starts,
            windows=windows,
            now=now,
        )
        orders = GroupOrders()
        hours = SendHours()
        self._backlog = Backlog(
            self._recent,
            orders,
            guard,
            caution,
            offset=recovered.offset,
            ordered_offset=recovered.read_from,
            windows=windows,
            now=now,
        )
        self._commands = Commands(
            self._recent,
            self._backlog,
            orders,
            guard,
            cursor=recovered.command_cursor,
            windows=windows,
            now=now,
        )
        self._decisions = Decisions(
            self._commands,
            self._recent,
            self._backlog,
            orders,
            guard,
            caution,
            hours,
            windows=windows,
            now=now,
        )
        self._batch_in_flight: Batch | None = None
        self._was_last_ruled = False
        self._timers = Timers(cursor=recovered.timer_cursor, windows=windows, now=now)
        self._suppressions = Suppressions(lists)
        self._claims = Claims(
            self._recent,
            self._backlog,
            gate,
            caution,
            admission=admission,
            suppressions=self._suppressions,
            hours=hours,
            retry_policy=retry_policy,
            chance=chance,
            windows=windows,
            now=now,
        )
        self._backlog.held.in_doubt = self._claims.doubts.message_ids
        self._projection = Projection(
            self._recent.unconfirmed,
            retired_through=recovered.retired_through,
            windows=windows,
            now=now,
        )
        self._gate = gate
        self._testimony = Testimony(gate, lane=admission.lane, at=now)
        self._references = References(gate, lane=admission.lane, windows=windows, now=now)
        self._checkpoints = Checkpoints(
            self._recent,
            self._backlog,
            self._timers,
            self._commands,
            caution,
            self._projection,
            self._references,
            recovered=recovered,
            windows=windows,
            now=now,
        )
        self._decided_at = now

        # Go on from the predecessor: project all that it journaled, answer for its open claims.
        for seq, entry in recovered.entries:
            self._projection.on_journaled(seq, entry)
            self._references.on_journaled(seq, entry)
        for window in recovered.open_claims():
            if guard is not None and guard.doubts_claim(window.claimed_at):
                self._claims.give_up(window, RESTORED)
            else:
                self._claims.take_up(window, now=now)

    # --- what a shell may ask -----------------------------------------------------------------

    @property
    def decisions(self) -> Decisions:
        """Who takes the answers to what is asked for rulings."""
        return self._decisions

    @property
    def claims(self) -> Claims:
        """Who claims and hands over, and counts it."""
        return self._claims

    @property
    def projection(self) -> Projection:
        """Who takes the answers to what is projected, and to the books."""
        return self._projection

    @property
    def references(self) -> References:
        """Who takes the answers to `NoteReferences`."""
        return self._references

    @property
    def offset(self) -> Instant:
        """The offset of the last definitely journaled checkpoint."""
        return self._checkpoints.offset

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
            and self._claims.is_settled
            and self._projection.is_settled
            and self._references.is_settled
        )

    @property
    def resolved_through(self) -> Instant:
        """Below it no row of whatever kind is open, by the last definitely journaled checkpoint."""
        return self._checkpoints.resolved_through

    def known_steps(self, ids: Iterable[MessageId]) -> dict[MessageId, Step]:
        """Return the last steps of those messages that un-retired entries name."""
        return {id_: step for id_ in ids if (step := self._recent.step(id_)) is not None}

    def note_missed(self, count: int) -> None:
        """Count rows that were missed, and were written again."""
        self._checkpoints.missed_count += count
        self._backlog.cursor.want_read()

    @property
    def missed_count(self) -> int:
        """How many rows were missed, by this owner's and its predecessors' count."""
        return self._checkpoints.missed_count

    @property
    def is_cautious(self) -> bool:
        """Its owner before crashed, and it is not sure so far that no message is what did it."""
        return self._caution.is_on

    @property
    def open_count(self) -> int:
        """How many messages are claimed without a journaled outcome."""
        return self._claims.open_count

    @property
    def backlog_count(self) -> int:
        """How many messages are in memory and not claimed."""
        return len(self._backlog) + self._backlog.order.waiting_count

    @property
    def is_lagging(self) -> bool:
        """The cursor is behind; doorbells are dropped until it has caught up."""
        return self._backlog.cursor.is_lagging

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
        soon = later(self._decided_at, self._windows.checkpoint_ms)
        if self._has_business:
            wake_at = soon
        else:
            wake_at = min(
                self._backlog.cursor.next_read_at,
                self._timers.next_read_at(),
                self._commands.next_read_at,
            )
        for due_at in (
            self._backlog.next_due_at,
            self._backlog.order.next_due_at,
            self._claims.doubts.next_due_at,
            self._claims.next_permit_at(self._decided_at),
            self._claims.gathering.until,
        ):
            if due_at is not None:
                wake_at = min(wake_at, due_at)
        # What was to be done already and was not, has no room yet.
        return wake_at if wake_at > self._decided_at else soon

    @property
    def _has_business(self) -> bool:
        return bool(
            self._backlog
            or not self._claims.is_empty
            or self._backlog.cursor.is_reading
            or self._in_flight is not None
            or not self._projection.is_settled
            or not self._references.is_settled
            or self._timers.is_behind
            or self._decisions.is_busy
            or self._recent.has_entries
        )

    def close(self) -> None:
        """Give back what the lane holds of what others share.  Nothing may follow."""
        self._claims.close()

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
            offset=self._doorbell_offset,
        )

    def on_bare_doorbell(self) -> None:
        """Note that somebody wrote rows or commands, and does not say which; a hint as well."""
        self._backlog.cursor.want_read()
        self._commands.want_read()

    @property
    def _doorbell_offset(self) -> Instant:
        if self._guard is None:
            return self.offset
        return max(self.offset, later(self._guard.born_min, self._windows.prompt_ms))

    def on_rows(self, page: BufferPage, *, through: Instant) -> None:
        """Take the answer to `ReadRows`; `through` is the horizon of the read it belongs to."""
        if self._guard is not None:
            self._guard.note_rows(page.rows)
        self._backlog.on_rows(page, through=through, offset=self.offset)

    def on_timers(self, page: TimerPage) -> None:
        """Take the answer to `ReadTimers`."""
        if self._guard is not None:
            self._guard.note_timers(page.rows)
        self._timers.on_timers(page)
        self._backlog.on_timers(page.rows)

    def on_timers_failed(self, *, now: Instant) -> None:
        """Note that timers could not be read."""
        self._timers.on_read_failed(now=now)

    def on_later_written(self) -> None:
        """Take the acknowledgement of `WriteLater`: what was deferred may be journaled."""
        self._claims.on_later_written()

    def on_later_failed(self, *, now: Instant) -> None:
        """Note that the rows of next attempts may or may not be there; they are written again."""
        self._claims.retries.on_write_failed(now=now)

    def on_found(self, seq: int, found: Mapping[int, bool], *, now: Instant) -> None:
        """Take the answer to `AskProvider`, by position of the window: it has them, or not.

        None of those that it could not be asked about counts as a no.
        """
        if not self._is_fenced:
            self._claims.on_found(seq, found, now=now)

    def on_claimed_bodies(self, bodies: Mapping[MessageId, Body], *, now: Instant) -> None:
        """Take the answer to `ReadClaimedBodies`."""
        self._claims.doubts.on_bodies(bodies, now=now)

    def on_claimed_bodies_failed(self, *, now: Instant) -> None:
        """Note that these bodies could not be read."""
        self._claims.doubts.on_bodies_failed(now=now)

    def on_read_failed(self) -> None:
        """Note that rows could not be read; the next idle read begins again at the cursor."""
        self._backlog.cursor.on_failed()

    def on_bodies(
        self, asked: Iterable[MessageId], bodies: Mapping[MessageId, Body], *, now: Instant
    ) -> None:
        """Take the answer to `ReadBodies`; a body that is missing is asked for again later."""
        self._backlog.on_bodies(asked, bodies, now=now)

    def on_bodies_failed(self, *, now: Instant) -> None:
        """Note that bodies could not be read."""
        self._backlog.on_bodies_failed(now=now)

    def on_folds(self, asked: Iterable[MessageId], folds: Folds, pasts: Pasts) -> None:
        """Take the answer to `ReadFolds`: claim what waits for its row's attempt, drop the rest."""
        self._backlog.on_folds(asked, folds, pasts)

    def on_folds_failed(self, *, now: Instant) -> None:
        """Note that folds could not be read; the ids stay pending."""
        self._backlog.on_folds_failed(now=now)

    def on_suppressions(self, found: Mapping[SuppressionKey, str | None], *, now: Instant) -> None:
        """Take the answer to `ReadSuppressions`: why each is on a list, None: is on none.

        A key that could not be read is missing; it is asked for again.
        """
        self._suppressions.on_read(found, now=now)

    def on_applied(self, seq: int, *, now: Instant) -> None:
        """Take the definite yes to the append in flight."""
        append, entry = self._in_flight, self._in_flight_entry
        assert append is not None, seq
        assert entry is not None, seq
        assert append.seq == seq, (append.seq, seq)
        self._in_flight = self._in_flight_entry = None
        self._projection.on_journaled(seq, entry)
        self._references.on_journaled(seq, entry)
        if entry.checkpoint is not None:
            self._checkpoints.on_applied(entry.checkpoint)
            self._recent.retire(entry.checkpoint.retired_through)
        self._caution.on_applied(entry.trial, now=now)
        batch, self._batch_in_flight = self._batch_in_flight, None
        if batch is not None:
            self._commands.on_applied(batch)
            if batch.rows:
                self._backlog.cursor.want_read()
            for id_, candidate, timer in batch.waiting_for_timers():
                self._wait_again(id_, candidate, timer)
        for id_, candidate, again in self._claims.on_applied(now=now):
            self._wait_again(id_, candidate, again)

    def _wait_again(self, id_: MessageId, candidate: Candidate, timer: TimerRow | None) -> None:
        if timer is None or self._timers.on_journaled(timer):
            self._backlog.put_back(id_, candidate)

    def on_fenced(self) -> None:
        """Take the definite no: a newer epoch owns the lane.  Nothing more is done."""
        self._is_fenced = True
        self._in_flight = None
        if self._in_flight_entry is not None:
            self._testimony.hear_entry(self._in_flight_entry)
        self._claims.testify(self._testimony)

    def on_outcomes(
        self,
        seq: int,
        outcomes: Outcomes,
        *,
        now: Instant,
        positions: Sequence[int] | None = None,
    ) -> None:
        """Take what the connector says of the window of `seq`, or of these positions of it."""
        if not self._is_fenced:
            self._claims.on_outcomes(seq, outcomes, now=now, positions=positions)
        elif (window := self._claims.window(seq)) is not None:
            self._testimony.hear(window, outcomes, positions)

    def is_testified(self, connector: str) -> bool:
        """Whether a deposed owner alone can know what became of what it handed over."""
        return self._gate.is_testified(connector)

    def take_testimony(self) -> tuple[list[CommandEntry], list[ReceiptRow]]:
        """Return what a deposed owner knows and nobody else: commands, and rows of references."""
        return self._testimony.take()

    # --- decisions ----------------------------------------------------------------------------

    def decide(self, now: Instant) -> list[Action]:
        """Return what is to be done now.  Each action is answered by its `on_*` event."""
        if self._is_fenced:
            return []
        if now < self._decided_at:
            self._on_clock_set_back(now)
        self._decided_at = now
        if self._caution.is_on:
            self._caution.decide(
                now,
                is_read_through=self._backlog.is_read_through(now)
                and self._timers.is_read_through(now),
            )
        actions: list[Action] = []
        actions.extend(self._claims.decide(now, is_draining=self._is_draining))
        open_count = self._claims.open_count
        actions.extend(
            self._backlog.decide(now, open_count=open_count, is_draining=self._is_draining)
        )
        if not self._is_draining:
            actions.extend(self._timers.decide(now, room=self._backlog.timers_room))
            if self._guard is not None:
                self._guard.settle(
                    rows_before=min(
                        self._backlog.resolved_before(), self._backlog.ordered_resolved_before()
                    ),
                    timers_before=self._timers.resolved_before(self._backlog.held.is_resolved),
                )
            actions.extend(self._decisions.decide(now))
            for id_ in self._commands.proofs():
                self._claims.on_proof(id_, now=now)
            # What is due now is a candidate from here on.
            actions.extend(self._claims.look_up(now))
        for action in actions:
            if isinstance(action, WriteLater | WriteRuled):
                self._timers.on_writing(action.timers)
        if self._in_flight is None:
            self._decide_append(now, actions)
            entry = self._in_flight_entry
            if entry is not None and entry.partition_keys:
                # What ended may let others follow: they are looked up while it is being journaled.
                actions.extend(self._backlog.look_up(now))
        actions.extend(self._projection.decide(now, is_draining=self._is_draining))
        actions.extend(self._references.decide(now))
        return actions

    def _on_clock_set_back(self, now: Instant) -> None:
        """Wait for nothing that lies as far ahead as the clock was set back."""
        self._checkpoints.on_clock_set_back(now)
        self._backlog.on_clock_set_back(now)
        self._timers.on_clock_set_back(now)
        self._claims.on_clock_set_back(now)
        self._decisions.on_clock_set_back(now)
        self._projection.on_clock_set_back(now)
        self._references.on_clock_set_back(now)

    def _decide_append(self, now: Instant, actions: list[Action]) -> None:
        builder = EntryBuilder()
        claims, connector = self._claims, self._claims.turn(now)
        batch: Batch | None = None
        # Rulings and connectors take turns.
        if (
            self._decisions.is_ready
            and not self._is_draining
            and not (connector and self._was_last_ruled)
        ):
            batch, connector = self._decisions.take_ready(), ""
            batch.add_lines(builder)
        if connector and not self._is_draining and claims.gathers(now, may_claim=self._may_claim):
            return
        if connector:
            room_bytes = JOURNAL_LINES_BYTES_MAX - claims.add_outcomes(builder, connector)
            room_bytes -= claims.carry_old(builder, connector, now, room_bytes=room_bytes)
            if self._may_claim:
                claims.claim(builder, connector, now, room_bytes=room_bytes)
        self._was_last_ruled = batch is not None
        has_lines = len(builder) > 0
        seq = self._next_seq
        if has_lines:
            # Before the checkpoint: it counts the lines of its own body.
            self._recent.name_lines(seq, builder)
        if batch is not None:
            self._backlog.withdraw(ruling.id for ruling in batch.rulings)
            self._backlog.end_ruling(batch.held)
        for n, pk in builder.partition_keys.items():
            self._backlog.order.on_step(pk, builder.message_ids[n], builder.steps[n])
        checkpoint = self._checkpoints.next(
            now,
            has_lines=has_lines,
            command_cursor=None if batch is None else batch.command_cursor,
            is_draining=self._is_draining,
        )
        if not has_lines:
            if checkpoint is None:
                return
            self._recent.name(seq, [], steps=[], borns=[])
        self._next_seq += 1
        entry = builder.build(
            at=now,
            connector=connector,
            checkpoint=checkpoint,
            answers=() if batch is None else batch.answers,
            reason="" if batch is None else batch.reason,
            trial=self._caution.trial,
        )
        self._claims.on_appended(seq)
        self._in_flight = Append(
            seq=seq,
            body=encode_entry(entry),
            begins_segment=begins_segment(
                seq,
                entries_max=self._windows.segment_entries_max,
                new_segment_seq=self._new_segment_seq,
            ),
        )
        self._in_flight_entry, self._batch_in_flight = entry, batch
        if checkpoint is not None:
            self._checkpoints.on_issued(now)
        actions.append(self._in_flight)

    @property
    def _may_claim(self) -> bool:
        return (
            not self._is_draining
            and self._recent.entries_count < ENTRIES_UNRETIRED_MAX
            # Else it would claim what a command that its predecessor read has ended.
            and self._commands.has_caught_up
        )
