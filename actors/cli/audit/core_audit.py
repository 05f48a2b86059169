"""One core judged as it stood at one instant.

Memory is bounded by what is un-retired in the journals and by the number of books, not by the
number of messages: these pass through, a block at a time.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import msgspec

from actors.cli.audit.findings import FindingKind, Findings
from actors.cli.audit.lane_journal import LaneJournal, read_lane_journal
from actors.cli.audit.timeline_verdict import TimelineVerdict, judge
from cluster.local.core_snapshot import CoreSnapshot, Steps
from cluster.topology.generation import Core, Generation
from pipeline.instant import DurationMs, Instant, earlier, later
from pipeline.lane.books import Counts, day_book, day_of, decode_counts, group_book
from pipeline.lane.missed import is_answered_for
from pipeline.lane_id import LaneId
from pipeline.lifecycle import (
    STATE_AFTER,
    Event,
    MessageState,
    attempt_of,
)
from pipeline.limits import Windows
from pipeline.message import Body, BufferRow, MessageId, decode_body, is_ordered, tenant_of

_DAY_PREFIX: Final = "day:"


@dataclass(slots=True, kw_only=True)
class CoreAccount:
    """How much was looked at, and what the journals named."""

    messages: int = 0
    without_event: int = 0
    rows: int = 0
    timers: int = 0
    entries: int = 0
    too_old: int = 0  # past their time to live, and so not judged
    books: int = 0
    books_too_old: int = 0
    # Steps of the messages that un-retired entries name.
    named: dict[MessageId, list[int]] = field(default_factory=dict)


class CoreAudit:
    """Judges one core's view."""

    def __init__(
        self,
        core: Core,
        view: CoreSnapshot,
        *,
        generation: Generation,
        windows: Windows,
        now: Instant,
        unasked: Container[str],
        findings: Findings,
    ) -> None:
        """`unasked`: the connectors whose providers cannot be asked about what they may have."""
        self._core = core
        self._unasked = unasked
        self._view = view
        self._generation = generation
        self._core_index = generation.index_of(core)
        self._findings = findings
        self._known_since = earlier(now, windows.messages_ttl_ms)
        # A message's events follow its born by no more than this.
        self._life_ms = DurationMs(windows.validity_ms_max + windows.near_horizon_ms)
        self._account = CoreAccount()

    @property
    def named(self) -> Mapping[MessageId, Sequence[int]]:
        """The steps of the messages that un-retired entries name, after these were read."""
        return self._account.named

    def run(self) -> CoreAccount:
        """Judge everything; raises `StoreUnavailable` where the file cannot be read."""
        as_of: dict[str, dict[str, int]] = {}
        books: dict[str, Counts] = {}
        for lane, cell in self._view.cells():
            as_of.setdefault(str(lane), {})[cell.book] = cell.as_of
            try:
                counts = decode_counts(cell.counts)
            except (msgspec.DecodeError, ValueError) as error:
                self._findings.add(
                    FindingKind.BOOKS_DIFFER, where=cell.book, detail=f"in {lane}: {error}"
                )
            else:
                books.setdefault(cell.book, Counter()).update(counts)
        journals = self.read_journals(as_of)
        for journal in journals.values():
            for book, counts in journal.uncounted.items():
                books.setdefault(book, Counter()).update(counts)
        folds = self._judge_messages()
        self._judge_bodiless()
        self._compare_books(books, folds)
        for lane_name, journal in journals.items():
            self._judge_rows(lane_name, journal)
            self._judge_timers(lane_name, journal)
            self._judge_commands(lane_name, journal)
        return self._account

    # --- journals -----------------------------------------------------------------------------

    def read_journals(self, as_of: Mapping[str, Mapping[str, int]]) -> dict[str, LaneJournal]:
        """Read the journal of every lane; `as_of`: of the cells, by lane and book."""
        announced = set(self._view.announced_lanes())
        used = self._view.used_lanes()
        for lane in sorted(used - announced):
            self._findings.add(
                FindingKind.LANE_UNANNOUNCED,
                where=lane,
                detail=f"it has rows on {_name(self._core)} and is not announced",
            )
        first_offset = earlier(
            Instant(self._generation.starts_at), DurationMs(self._generation.prompt_ms)
        )
        journals = {}
        for lane in sorted(announced | used):
            journal = journals[lane] = read_lane_journal(
                lane,
                self._view.entries(lane),
                first_offset=first_offset,
                as_of=as_of.get(lane, {}),
                findings=self._findings,
            )
            self._account.entries += journal.entries_count
            for id_, steps in journal.named.items():
                self._account.named.setdefault(id_, []).extend(steps)
        return journals

    # --- messages and their timelines ---------------------------------------------------------

    def verdicts(self, ids: Sequence[MessageId]) -> list[TimelineVerdict | None]:
        """Return what the steps of each message say, by timeline and journal; None: no steps."""
        steps: Sequence[Steps] = self._view.steps_of(ids)
        named = self._account.named
        if not named.keys().isdisjoint(ids):
            steps = [
                with_journaled(known, named.get(id_)) for id_, known in zip(ids, steps, strict=True)
            ]
        return [None if known is None else judge(known) for known in steps]

    def _judge_messages(self) -> dict[str, Counts]:
        """Judge every timeline; return how many messages of each book are in which state."""
        counts: Counter[tuple[str, int, Event | None]] = Counter()
        for block in self._view.messages():
            verdicts = self.verdicts(block.ids)
            self._account.messages += len(verdicts)
            self._look_for_faults(block.ids, block.borns, verdicts)
            self._look_into_bodies(block.ids, block.bodies)
            counts.update(
                (group, day_of(born), verdict.event)
                for group, born, verdict in zip(block.groups, block.borns, verdicts, strict=True)
                if verdict is not None
            )
            self._account.without_event += verdicts.count(None)
        books: dict[str, Counts] = {}
        for (group, day, event), count in counts.items():
            if event is not None:
                state = STATE_AFTER[event]
                for book in (group_book(group), day_book(tenant_of(group), day)):
                    books.setdefault(book, Counter())[state] += count
        return books

    def _look_into_bodies(self, ids: Sequence[MessageId], bodies: Sequence[Body]) -> None:
        for id_, body in zip(ids, bodies, strict=True):
            try:
                decode_body(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._add(FindingKind.BODY_UNREADABLE, id_, str(error))

    def _look_for_faults(
        self,
        ids: Sequence[MessageId],
        borns: Sequence[Instant],
        verdicts: Sequence[TimelineVerdict | None],
    ) -> None:
        named = self._account.named
        for id_, born, verdict in zip(ids, borns, verdicts, strict=True):
            if verdict is None or (verdict.fault is None and verdict.event != Event.CLAIM):
                continue
            if born < self._known_since:
                self._account.too_old += 1
            elif verdict.takes_count > 1:
                self._add(
                    FindingKind.TAKEN_TWICE, id_, f"its timeline has {verdict.takes_count} TAKE"
                )
            elif verdict.fault is not None:
                self._add(FindingKind.ILLEGAL_ORDER, id_, verdict.fault)
            elif id_ not in named:
                self._add(FindingKind.CLAIM_FORGOTTEN, id_, "claimed, and in no un-retired entry")

    def _judge_bodiless(self) -> None:
        for timeline in self._view.bodiless_timelines():
            if timeline.first_at < later(self._known_since, self._life_ms):
                self._account.too_old += 1
                continue
            verdict = judge(timeline.steps)
            self._add(
                FindingKind.MESSAGE_MISSING, timeline.id, f"its timeline says {verdict.state}"
            )
            if verdict.takes_count > 1:
                self._add(
                    FindingKind.TAKEN_TWICE,
                    timeline.id,
                    f"its timeline has {verdict.takes_count} TAKE",
                )

    # --- books --------------------------------------------------------------------------------

    def _compare_books(self, told: Mapping[str, Counts], folds: Mapping[str, Counts]) -> None:
        is_swept = self._view.is_swept()
        first_day = day_book("", day_of(self._known_since) + 1).rpartition("/")[2]
        for book in sorted(told.keys() | folds.keys()):
            self._account.books += 1
            said, counted = told.get(book, Counter()), folds.get(book, Counter())
            differ = [state for state in MessageState if said[state] != counted[state]]
            if not differ:
                continue
            if book.startswith(_DAY_PREFIX):
                is_too_old = book.rpartition("/")[2] < first_day
            else:
                is_too_old = said.total() > counted.total()
            if is_swept and is_too_old:
                # It counts messages that are past their time to live.
                self._account.books_too_old += 1
                continue
            self._findings.add(
                FindingKind.BOOKS_DIFFER,
                where=book,
                detail=f"on {_name(self._core)}: "
                + ", ".join(
                    f"{state} {said[state]} in the books, {counted[state]} by the timelines"
                    for state in differ
                ),
            )

    # --- rows of the buffer -------------------------------------------------------------------

    def _judge_rows(self, lane: str, journal: LaneJournal) -> None:
        generation = self._generation
        is_placed_by_it = LaneId.parse(lane).generation == generation.number
        for rows in self._view.buffer(lane):
            self._account.rows += len(rows)
            ids = [row[1] for row in rows]
            for id_ in self._view.bodiless(ids):
                self._add(FindingKind.MESSAGE_MISSING, id_, "it has a row in the buffer", lane)
            if is_placed_by_it:
                indexes = generation.core_indexes_of([row[2] for row in rows])
                for position in (indexes != self._core_index).nonzero()[0].tolist():
                    owner = generation.cores[int(indexes[position])]
                    self._add(
                        FindingKind.MISPLACED, ids[position], f"it belongs on {_name(owner)}", lane
                    )
            below = [
                row
                for row in rows
                if row[0]
                < (journal.ordered_offset if is_ordered(row[2], row[1]) else journal.offset)
            ]
            if below:
                self._judge_rows_below(lane, below, journal)

    def _judge_rows_below(self, lane: str, rows: Sequence[BufferRow], journal: LaneJournal) -> None:
        verdicts = self.verdicts([row[1] for row in rows])
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict is None:
                self._add(
                    FindingKind.MISSED_ROW, row[1], "below the offset, and never claimed", lane
                )
            elif not self._is_answered_for(row[1], verdict, journal, attempt=row[4]):
                self._add(
                    FindingKind.MISSED_ROW, row[1], f"below the offset, and {verdict.state}", lane
                )

    # --- timers and commands ------------------------------------------------------------------

    def _judge_timers(self, lane: str, journal: LaneJournal) -> None:
        for rows in self._view.timers(lane):
            self._account.timers += len(rows)
            below = [row for row in rows if row[0] < journal.timer_cursor]
            verdicts = self.verdicts([row[1] for row in below])
            for (due_at, id_, _, _, attempt, _), verdict in zip(below, verdicts, strict=True):
                if due_at < self._known_since:
                    self._account.too_old += 1
                elif verdict is None:
                    self._add(
                        FindingKind.MISSED_TIMER, id_, "below the cursor, and never claimed", lane
                    )
                elif not self._is_answered_for(id_, verdict, journal, attempt=attempt):
                    self._add(
                        FindingKind.MISSED_TIMER,
                        id_,
                        f"below the cursor, and {verdict.state}",
                        lane,
                    )

    def _is_answered_for(
        self, id_: MessageId, verdict: TimelineVerdict, journal: LaneJournal, *, attempt: int
    ) -> bool:
        """Return whether a row of this attempt holds its lane's offset no longer."""
        if verdict.event is None:
            return True  # what cannot be read was told already
        if verdict.event is Event.CLAIM and attempt_of(verdict.fold) == attempt:
            # One in doubt may wait for hours for what its provider says; its claim is named.
            connector = journal.claimed_by.get(id_)
            return connector is not None and connector not in self._unasked
        return is_answered_for(verdict.fold, attempt)

    def _judge_commands(self, lane: str, journal: LaneJournal) -> None:
        """What came of a command is told by its answer, in an entry or among the results."""
        for rows in self._view.unanswered(lane, through=journal.command_cursor):
            for at, command_id, message_id in rows:
                if at < self._known_since or command_id in journal.answered:
                    continue
                self._findings.add(
                    FindingKind.COMMAND_UNANSWERED,
                    where=lane,
                    message_id=MessageId(message_id) if message_id else None,
                    detail=f"command {command_id.hex()}",
                )

    def _add(
        self, kind: FindingKind, message_id: MessageId, detail: str, where: str | None = None
    ) -> None:
        self._findings.add(
            kind, where=where or _name(self._core), message_id=message_id, detail=detail
        )


def with_journaled(steps: Steps, journaled: Iterable[int] | None) -> Steps:
    """Return steps of a timeline together with those that its lane's journal names."""
    if journaled is None:
        return steps
    return ",".join(map(str, chain([] if steps is None else [steps], journaled)))


def _name(core: Core) -> str:
    return f"{core.node}/{core.shard}"
