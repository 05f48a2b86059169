"""The commands of a lane: read in their order, judged one after another (design 5.5).

Commands to single messages are judged some at a time: their folds are read together, and meanwhile
nothing else may happen to these messages (`Backlog.begin_ruling`).  A command to a group is judged
alone.  The answer to a command is in the entry that carries it out, beside the cursor that says so:
either all of it happened or nothing.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from pipeline.command import (
    GROUP_KINDS,
    CommandBody,
    CommandKind,
    CommandUnreadable,
    Verdict,
    decode_command,
)
from pipeline.instant import Instant, later
from pipeline.lane.actions import (
    Action,
    ReadCommands,
    ReadGroupOrders,
    ReadGroupTimers,
    ReadRuledBodies,
    ReadRuledFolds,
)
from pipeline.lane.backlog import Backlog
from pipeline.lane.command_verdict import Ruled, rule, told
from pipeline.lane.entry import CommandAnswer
from pipeline.lane.group_orders import GroupOrders
from pipeline.lane.group_scan import GroupScan
from pipeline.lane.lately import Lately
from pipeline.lane.past import Folds, Past, Pasts
from pipeline.lane.recent import RecentSet
from pipeline.lane.restored import RESTORED, RestoreGuard, doubted
from pipeline.lane.ruling import Batch, Ruling
from pipeline.later import CommandEntry, CommandPage, CommandRow, EditionRow, GroupOrder, TimerPage
from pipeline.lifecycle import Event, MessageState, Step, state_of
from pipeline.limits import COMMANDS_AT_ONCE_MAX, RULINGS_AT_ONCE_MAX, Windows
from pipeline.message import Body, MessageId, PartitionKey

_KINDS = frozenset(CommandKind)
_CHANGES_ORDERS = frozenset({CommandKind.CANCEL, CommandKind.PAUSE, CommandKind.RESUME})
_SCANS = frozenset({CommandKind.CANCEL, CommandKind.RESUME, CommandKind.EXPEDITE})


class Commands:
    """The commands of one owner.  One question is under way at a time; see `Decisions`."""

    def __init__(
        self,
        recent: RecentSet,
        backlog: Backlog,
        orders: GroupOrders,
        guard: RestoreGuard | None,
        *,
        cursor: Instant,
        windows: Windows,
        now: Instant,
    ) -> None:
        self._recent = recent
        self._backlog = backlog
        self._orders = orders
        self._guard = guard
        self._windows = windows
        self._lately = Lately(validity_ms_max=windows.validity_ms_max)

        self._read_through = cursor
        self._resume: bytes | None = None
        self._is_read_wanted = True
        self._read_at = now
        self._rows: deque[CommandRow] = deque()
        self._has_read = False
        # Whether all that was there when this owner began is carried out.
        self.has_caught_up = False

        self._are_orders_stale = True
        # A command that cannot be read has no body.
        self._run: list[tuple[CommandRow, CommandBody | None]] = []
        self._folds: dict[MessageId, Step | None] = {}
        self._pasts: dict[MessageId, Past] = {}
        self._scan: GroupScan | None = None
        self._rest: Batch | None = None  # of the page of a scan
        self._bodies: Mapping[MessageId, Body] | None = None

        # Batches that answer commands and are not in the journal yet.
        self._unjournaled_count = 0
        # Every command with at <= this one is carried out, and that is journaled.
        self.done_through = cursor

    # --- what its lane may ask ----------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """No command is known that is not carried out."""
        return not (self._rows or self._run or self._scan or self._resume is not None)

    @property
    def next_read_at(self) -> Instant:
        """When commands are read again though nobody said that there are any."""
        return later(self._read_at, self._windows.idle_read_ms)

    def want_read(self) -> None:
        """Note that there are commands."""
        self._is_read_wanted = True

    def proofs(self) -> list[MessageId]:
        """Return messages that are claimed, and that their provider is known to have."""
        if not self._run:
            return []
        (_, entry), body = self._run[0]
        id_ = MessageId(entry.message_id)
        if body is None or state_of(self._step(id_)) is not _CLAIMED:
            return []
        return [id_] if _is_proof(entry, body) else []

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._read_at = min(self._read_at, now)

    # --- questions ----------------------------------------------------------------------------

    def question(self, now: Instant) -> Action | None:
        """Return what must be known next, None for nothing."""
        if not self._run and self._scan is None and self._rows and not self._are_orders_stale:
            self._begin(now)
        if self._are_orders_stale:
            return ReadGroupOrders()
        if self._run:
            keys = [
                (PartitionKey(entry.pk), MessageId(entry.message_id))
                for (_, entry), body in self._run
                if body is not None and not self._is_known(MessageId(entry.message_id))
            ]
            return ReadRuledFolds(keys=keys) if keys else None
        if self._scan is not None:
            return self._question_of_scan(self._scan)
        if self._resume is None and not self._is_read_wanted and now < self.next_read_at:
            return None
        self._is_read_wanted, self._read_at = False, now
        return ReadCommands(
            from_at=Instant(self._read_through + 1),
            limit=COMMANDS_AT_ONCE_MAX,
            resume=self._resume,
        )

    def _question_of_scan(self, scan: GroupScan) -> Action | None:
        if scan.kind not in _SCANS:
            return None
        if scan.span is not None:
            return ReadGroupTimers(
                from_due=scan.span.from_due,
                through_due=scan.span.through_due,
                limit=RULINGS_AT_ONCE_MAX,
                resume=scan.span.resume,
            )
        if scan.is_over:
            return None
        self._backlog.begin_ruling(id_ for _, id_ in scan.keys)
        unknown = [key for key in scan.keys if not self._is_known(key[1])]
        if unknown:
            return ReadRuledFolds(keys=unknown)
        if scan.needs_bodies and self._bodies is None:
            if any(id_ in self._recent.unconfirmed for _, id_ in scan.keys):
                return None
            return ReadRuledBodies(keys=scan.keys)
        return None

    def _is_known(self, id_: MessageId) -> bool:
        return id_ in self._recent or id_ in self._folds

    def _step(self, id_: MessageId) -> Step | None:
        """Return the largest step of a message that nothing else happens to meanwhile."""
        step = self._recent.step(id_)
        return self._folds.get(id_) if step is None else step

    def _past(self, id_: MessageId) -> Past | None:
        return self._recent.past(id_) or self._pasts.get(id_)

    def _begin(self, now: Instant) -> None:
        _, first = self._rows[0]
        if first.group:
            row = self._rows.popleft()
            if first.kind in GROUP_KINDS:
                self._are_orders_stale = first.kind in _CHANGES_ORDERS
                near = self._backlog.later.timers_of(first.group) if first.kind in _SCANS else ()
                self._scan = GroupScan(
                    row, near, now=now, validity_ms_max=self._windows.validity_ms_max
                )
            else:
                self._run = [(row, None)]
            return
        ids: set[MessageId] = set()
        while self._rows and len(self._run) < COMMANDS_AT_ONCE_MAX:
            row = self._rows[0]
            id_ = MessageId(row[1].message_id)
            # One of the same message is judged by what becomes of the one before.
            if row[1].group or id_ in ids:
                break
            self._rows.popleft()
            ids.add(id_)
            self._run.append((row, _body_of(row[1])))
        self._backlog.begin_ruling(ids)

    # --- answers ------------------------------------------------------------------------------

    def on_commands(self, page: CommandPage, *, through: Instant) -> None:
        """Take the answer to `ReadCommands`; `through` is the horizon of its read."""
        self._rows.extend(page.rows)
        self._resume = page.resume
        if page.rows:
            # They come in order: a read after one that failed begins behind them.
            self._read_through = page.rows[-1][0]
        if page.resume is None:
            self._read_through = max(self._read_through, through)
            self._has_read = True
            self._note_done()

    def on_orders(self, orders: Sequence[GroupOrder]) -> None:
        """Take the answer to `ReadGroupOrders`."""
        self._are_orders_stale = False
        self._orders.on_orders(orders)
        self._note_done()

    def on_folds(self, asked: Sequence[MessageId], folds: Folds, pasts: Pasts) -> None:
        """Take the answer to `ReadRuledFolds`."""
        self._folds.update((id_, folds.get(id_)) for id_ in asked)
        self._pasts.update(pasts)

    def on_bodies(self, bodies: Mapping[MessageId, Body]) -> None:
        """Take the answer to `ReadRuledBodies`."""
        self._bodies = bodies

    def on_timers(self, page: TimerPage) -> None:
        """Take the answer to `ReadGroupTimers`."""
        assert self._scan is not None
        self._scan.on_page(page)

    def on_read_failed(self) -> None:
        """Note that commands could not be read; the next read begins at the cursor again."""
        if not self._rows:
            self._resume = None
            self._is_read_wanted = True

    # --- verdicts -----------------------------------------------------------------------------

    def take(self) -> Batch | None:
        """Return what may be journaled next, None if nothing is judged."""
        if self._are_orders_stale:
            return None
        batch: Batch | None = None
        if self._rest is not None:
            batch, self._rest = self._rest, None
        elif self._run:
            batch = self._judge_run()
        elif self._scan is not None:
            batch = self._judge_scan(self._scan)
        if batch is not None and batch.command_cursor is not None:
            self._unjournaled_count += 1
        return batch

    def _judge_run(self) -> Batch | None:
        rulings: list[Ruling] = []
        answers: list[CommandAnswer] = []
        editions: list[EditionRow] = []
        held: list[MessageId] = []
        cursor = Instant(0)
        for (at, entry), body in self._run:
            id_ = MessageId(entry.message_id)
            if body is None or entry.kind not in _KINDS:
                ruled: Ruled | None = Ruled(Verdict.REFUSED, "this release cannot read it")
            elif not self._is_known(id_):
                return None
            else:
                if entry.kind == CommandKind.EDIT:
                    body = self._lately.on_top(id_, self._step(id_), body)
                ruled = rule(CommandKind(entry.kind), body, self._step(id_))
            if ruled is None and id_ in self._backlog.held.in_doubt and not _is_proof(entry, body):
                # The provider itself is being asked, for hours if need be.
                ruled = Ruled(Verdict.DONE, "its provider is being asked")
            if ruled is None:
                break
            cursor = at
            held.append(id_)
            answers.append(CommandAnswer(entry.id, ruled.verdict, ruled.detail, {}))
            if ruled.event is not None and body is not None:
                ruling = self._ruling(entry, body, ruled)
                if self._is_doubted(ruling):
                    rulings.append(doubted(ruling, detail=RESTORED))
                    answers[-1] = CommandAnswer(entry.id, Verdict.TOO_LATE, RESTORED, {})
                    continue
                rulings.append(ruling)
                self._lately.on_command(CommandKind(entry.kind), rulings[-1])
                if body.body and entry.kind == CommandKind.EDIT:
                    editions.append(EditionRow(id_, PartitionKey(entry.pk), at, Body(body.body)))
        if not answers:
            return None
        self._rows.extendleft(reversed([row for row, _ in self._run[len(answers) :]]))
        self._backlog.end_ruling(
            [MessageId(row[1].message_id) for row, _ in self._run[len(answers) :]]
        )
        self._run, self._folds, self._pasts = [], {}, {}
        return Batch(
            rulings=rulings,
            answers=answers,
            editions=editions,
            held=held,
            command_cursor=cursor,
        )

    def _is_doubted(self, ruling: Ruling) -> bool:
        return self._guard is not None and self._guard.doubts_ruling(ruling)

    def _ruling(self, entry: CommandEntry, body: CommandBody, ruled: Ruled) -> Ruling:
        assert ruled.event is not None
        return Ruling(
            MessageId(entry.message_id),
            PartitionKey(entry.pk),
            Instant(body.born),
            body.group,
            self._step(MessageId(entry.message_id)),
            ruled.event,
            told(CommandKind(entry.kind), entry.by, body.detail),
            ruled.due_at,
            Body(body.body) if body.body else None,
            self._past(MessageId(entry.message_id)),
        )

    def _judge_scan(self, scan: GroupScan) -> Batch | None:
        if scan.kind not in _SCANS or scan.is_over:
            self._scan = None
            counts = {"messages": scan.ruled_count} if scan.kind in _SCANS else {}
            answer = CommandAnswer(scan.command_id, Verdict.DONE, "", counts)
            return Batch(answers=[answer], command_cursor=scan.at)
        ids = [id_ for _, id_ in scan.keys]
        if not ids or not all(map(self._is_known, ids)):
            return None
        if scan.needs_bodies and self._bodies is None:
            return None
        rulings = [
            ruling._replace(past=self._past(ruling.id))
            for ruling in scan.rule({id_: self._step(id_) for id_ in ids}, self._bodies or {})
        ]
        self._bodies, self._folds, self._pasts = None, {}, {}
        if not rulings:
            self._backlog.end_ruling(ids)
            return None
        doubtful = [doubted(ruling) for ruling in rulings if self._is_doubted(ruling)]
        if not doubtful:
            return Batch(rulings=rulings, held=ids, reason=scan.reason)
        # All lines of a batch have one reason; the others are ruled on next.
        rest = [ruling for ruling in rulings if not self._is_doubted(ruling)]
        rest_ids = [ruling.id for ruling in rest]
        if rest:
            self._rest = Batch(rulings=rest, held=rest_ids, reason=scan.reason)
        held = [id_ for id_ in ids if id_ not in rest_ids]
        return Batch(rulings=doubtful, held=held, reason=RESTORED)

    def on_applied(self, batch: Batch) -> None:
        """Note that what `take` returned is journaled."""
        if batch.command_cursor is not None:
            self._unjournaled_count -= 1
            self.done_through = max(self.done_through, batch.command_cursor)
        self._note_done()

    def _note_done(self) -> None:
        if self.is_idle and not self._unjournaled_count:
            self.done_through = max(self.done_through, self._read_through)
            self.has_caught_up |= self._has_read and not self._are_orders_stale


_CLAIMED = MessageState.CLAIMED
_SETTLES = frozenset({Event.TAKE, Event.DELIVER, Event.REFUSE})


def _is_proof(entry: CommandEntry, body: CommandBody | None) -> bool:
    """Return whether the provider must have taken the message: none reports what it never had."""
    if body is None:
        return False
    if entry.kind == CommandKind.RECEIPT:
        return body.event in _SETTLES
    return entry.kind == CommandKind.TESTIMONY and body.event == Event.TAKE


def _body_of(entry: CommandEntry) -> CommandBody | None:
    try:
        return decode_command(entry.payload)
    except CommandUnreadable:
        return None
