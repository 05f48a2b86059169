"""One lane in a world where everything may come late, twice or not at all; from a seed.

The lane is the real one; the world is a store, a provider that counts, and owners that take over
from each other at any moment.  Segments are short, so that rolls and take-overs meet.  A deposed
owner goes on as a zombie: what it had begun still happens, at any later time.  Every action is
carried out in steps, effect and answer, with anything in between.  The promises are checked here,
from outside, after every effect.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pipeline.command import decode_command
from pipeline.instant import DurationMs, Instant, earlier, later
from pipeline.lane import actions as act
from pipeline.lane.books import decode_counts
from pipeline.lane.caution import POISON
from pipeline.lane.entry import Entry, decode_entry, encode_entry
from pipeline.lane.lane import Lane
from pipeline.lane.past import Past, past_of
from pipeline.lane.recovery import JournalReadBack, Recovered
from pipeline.lane.rolling import Roll, RollStep
from pipeline.lane.suppressions import ListingTenants
from pipeline.lane.takeover import Mine, Open, OwnerWatch, Steal, Wait, decide_takeover
from pipeline.lifecycle import (
    EVENT_MASK,
    RESOLVED_FROM,
    Event,
    MessageState,
    Step,
    attempt_awaited,
    state_of,
)
from pipeline.limits import Windows
from pipeline.message import (
    AT_ONCE,
    Body,
    BufferRow,
    MessageId,
    Submission,
    TimerRow,
    encode_body,
    group_key,
    is_ordered,
    tenant_of,
)
from pipeline.outcome import Outcomes, ProviderClass, ReceiptsBy
from pipeline.ports import (
    BookCell,
    BufferPage,
    JournalEntry,
    Ownership,
    Segment,
    TimelineEvent,
    TimerPage,
)
from pipeline.route.receipts import ReceiptTerms
from pipeline.route.retry_policy import RetryPolicy
from tests.support.command_desk import CommandDesk
from tests.support.gates import gate_of, unlimited
from tests.support.order_watch import OrderWatch
from tests.support.provider_logs import ProviderLogs
from tests.support.receipts_world import ReceiptsWorld
from tests.support.suppression_lists import SuppressionLists

WINDOWS = Windows(
    claims_open_max=4,
    segment_entries_max=4,
    send_deadline_ms=DurationMs(3_000),
    near_horizon_ms=DurationMs(5_000),
    timer_slice_ms=DurationMs(1_000),
    timer_lead_ms=DurationMs(1_000),
)
RETRIES = RetryPolicy(
    backoff_base_ms=DurationMs(700), backoff_cap_ms=DurationMs(20_000), attempts_max=6
)
START = Instant(1_700_000_000_000_000)
FALLBACKS = ("second", "third")
GROUPS = ("default/a", "default/b", "other/a")
# It is 22:13:20 UTC when a world begins.  The hours of a message, the zone that they are told in,
# and when they are over meanwhile.
_MINUTES = (Instant(START + 40_000_000), Instant(START + 100_000_000))
HOURS = {
    ("daily 00:00-22:13, 22:14-24:00", "UTC"): (earlier(START, 20_000), _MINUTES[0]),
    ("daily 00:00-22:14, 22:15-24:00", "UTC"): _MINUTES,
    ("daily 00:00-03:44, 03:45-24:00", "Asia/Kolkata"): _MINUTES,
    ("tue 00:00-17:14, 17:15-24:00; mon,wed-sun 00:00-24:00", "America/New_York"): _MINUTES,
}
RECIPIENTS = tuple(f"+44770090000{n}" for n in range(5))


def body_of(
    content: str,
    expires_at: Instant | None = None,
    *,
    tenant: str = "default",
    recipient: str = RECIPIENTS[0],
    window: str = "",
    time_zone: str = "",
) -> Body:
    return Body(
        encode_body(
            Submission(
                expires_at=expires_at,
                window=window,
                time_zone=time_zone,
                tenant=tenant,
                channel="sms",
                recipient=recipient,
                content=content,
            )
        )
    )


@dataclass(slots=True)
class Row:
    at: Instant
    row: BufferRow
    visible_from: Instant


@dataclass(slots=True)
class Errand:
    """An action on its way: first its effect, then its answer."""

    action: act.Action
    answer: Callable[[], None] | None = None


@dataclass(slots=True)
class Owner:
    lane: Lane
    name: bytes
    segment: int
    epoch: int
    lists: ListingTenants
    roll: Roll | None = None
    errands: list[Errand] = field(default_factory=list)
    cut_off_until: Instant = AT_ONCE  # it reaches no store
    read_through: Instant = START
    commands_through: Instant = START

    def decide(self, now: Instant) -> None:
        self.errands.extend(Errand(action) for action in self.lane.decide(now))
        # The last look is there for faults that nobody knows of; it must not hide one.
        assert not self.lane.claims.withheld_count, "a candidate that the journal contradicts"
        assert self.lane.is_fenced or self.lane.wake_at() > now, "it would never sleep"


class LaneWorld:
    """The store, the provider, the owners, and the checks."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = START
        self.order = OrderWatch(seed)
        self.prompt_reads = self.chance.random() < 0.5  # a store that gives `at` under its lock
        self.faults = self.chance.random()
        self.fired: Counter[str] = Counter()  # the faults that happened, by kind
        self.network_chance = random.Random(f"network of {seed}")
        self.cut_rate = self.network_chance.choice([0.0, 0.003, 0.01])
        self.provider_class = self.chance.choice(list(ProviderClass))
        own_chance = random.Random(seed)
        self.crash_chance = random.Random(f"crashes of {seed}")
        self.quarantined: set[MessageId] = set()
        receipts = ReceiptTerms(by=own_chance.choice(list(ReceiptsBy)))
        self.fallback_chance = random.Random(f"fallbacks of {seed}")
        fallback = FALLBACKS[: self.fallback_chance.randrange(3)]
        self.refusal_rate = 0.4 if fallback else 0.0
        has_receipts = own_chance.random() < 0.7 and not fallback
        self.gate = gate_of(
            provider_class=self.provider_class,
            has_receipts=has_receipts,
            receipts=receipts,
            fallback=fallback,
        )
        self.providers = ProviderLogs()
        self.receipts = (
            ReceiptsWorld(connector="file", terms=receipts, chance=own_chance)
            if has_receipts
            else None
        )
        self.referenced: set[MessageId] = set()  # journaled with their references
        self.parks_from = self.chance.choice([0, 10, 1_000])
        self.gathers_from = own_chance.choice([1, 3, 1_000])
        self.asks_count = self.resends_count = 0
        self.rows: list[Row] = []
        self._newest_at = START
        self.bodies: dict[MessageId, Body] = {}
        self.borns: dict[MessageId, Instant] = {}
        self.groups: dict[MessageId, str] = {}
        self.dues: dict[MessageId, Instant] = {}  # of those that were asked for later
        self.hours_chance = random.Random(f"hours of {seed}")
        self.hours_rate = self.hours_chance.choice([0.0, 0.5])
        self.hours: dict[MessageId, tuple[str, str]] = {}
        self.in_hours_count = 0
        self.timers: set[TimerRow] = set()
        self.timer_pages: list[TimerRow] = []
        self.timer_cursor = Instant(0)
        self.deferrals_count = 0
        self.accepted: set[MessageId] = set()
        self.segments: list[Ownership] = []
        self.segment_hint = 0
        self.rolls_count = 0
        self.journal: dict[int, bytes] = {}
        self.segment_of: dict[int, int] = {}  # by seq
        self.entries: dict[int, Entry] = {}
        self.offset = earlier(START, WINDOWS.write_deadline_ms + 2 * WINDOWS.clock_skew_ms_max)
        self.retired_through = -1
        self.journaled_steps: dict[MessageId, set[int]] = {}
        self.timeline: dict[MessageId, set[int]] = {}
        self.told: dict[tuple[MessageId, int], str] = {}  # the details of the timeline
        self.lists = SuppressionLists()
        self.suppressions_count = 0
        self.cells: dict[str, BookCell] = {}
        self.copies: Counter[MessageId] = Counter()
        self.taken: Counter[MessageId] = Counter()
        self.desk = CommandDesk(self.chance, WINDOWS.near_horizon_ms, self._edition)
        self.desk.fate_chance = random.Random(f"cancelled groups of {seed}")
        self.desk.fate_share = self.desk.fate_chance.choice([0.0, 0.0, 0.1, 0.4])
        self.zombies: list[Owner] = []
        self.takeovers_count = 0
        self.owner = self._take_over()

    # --- what happens -------------------------------------------------------------------------

    def submit(self) -> None:
        """A message is accepted: its first row lands now, and is seen a little later."""
        id_ = MessageId(self.chance.randbytes(16))
        expires = later(self.now, 4_000) if self.chance.random() < 0.05 else None
        self.groups[id_] = group = self.chance.choice(GROUPS)
        recipient = self.chance.choice(RECIPIENTS)
        self.borns[id_] = earlier(self.now, self.chance.randrange(100))
        kind = self.chance.random()
        if self.order.give(id_):
            kind = 1.0  # in order and at a time: that is refused at the door
        elif self.hours_chance.random() < self.hours_rate:
            self.hours[id_] = self.hours_chance.choice(sorted(HOURS))
        window, time_zone = self.hours.get(id_, ("", ""))
        self.bodies[id_] = body_of(
            id_.hex(),
            expires,
            tenant=tenant_of(group),
            recipient=recipient,
            window=window,
            time_zone=time_zone,
        )
        due_at = AT_ONCE
        if kind < 0.1:
            due_at = later(self.now, WINDOWS.near_horizon_ms + self.chance.randrange(15_000))
            due_at = Instant(due_at + 1)
        elif kind < 0.2:
            due_at = later(self.now, self.chance.randrange(WINDOWS.near_horizon_ms))
        if id_ in self.hours:
            closes_at, opens_at = HOURS[self.hours[id_]]
            if closes_at <= max(due_at, self.now) < opens_at:
                due_at = opens_at
        if due_at != AT_ONCE:
            self.dues[id_] = due_at
        if due_at > later(self.now, WINDOWS.near_horizon_ms):
            self.write_timer(id_)
        else:
            self.write_row(id_)

    def write_timer(self, id_: MessageId) -> None:
        """A scheduled message is accepted, or its write is repeated."""
        self.timers.add(
            (self.dues[id_], id_, self.order.pk(id_), self.borns[id_], 1, self.groups[id_])
        )
        self.accepted.add(id_)

    def write_row(self, id_: MessageId) -> None:
        """A row of an id lands: the first, a rewrite, a ghost, or a replay of the key."""
        self._write_row(id_, 1, self.dues.get(id_, AT_ONCE))
        self.accepted.add(id_)

    def command(self) -> None:
        """Somebody asks something of a message, or of a group."""
        if not self.accepted:
            return
        if self.chance.random() < 0.2:
            self.desk.ask_of_group(self.chance.choice(GROUPS), at=self._next_at())
            return
        id_ = self.chance.choice(sorted(self.accepted))
        self.desk.ask(
            id_,
            pk=self.order.pk(id_),
            born=self.borns[id_],
            group=self.groups[id_],
            at=self._next_at(),
            taken=self.taken[id_] > 0,
        )

    def _next_at(self) -> Instant:
        """Return an instant of the database's clock, which rows and commands share."""
        self._newest_at = max(self.now, Instant(self._newest_at + 1))
        return self._newest_at

    def _write_row(self, id_: MessageId, attempt: int, due_at: Instant) -> None:
        at = self._next_at()
        delay_ms = 0 if self.prompt_reads else self.chance.randrange(WINDOWS.write_deadline_ms)
        born, group = self.borns[id_], self.groups[id_]
        row: BufferRow = (at, id_, self.order.pk(id_), born, attempt, due_at, group)
        self.order.on_row(id_, at)
        self.rows.append(Row(at, row, START if self.prompt_reads else later(at, delay_ms)))

    def ring(self) -> None:
        """A doorbell for rows that can be seen; once, twice, late or never."""
        known = [
            row
            for row in self.rows
            if row.visible_from <= self.now and row.row[4] == 1 and row.row[5] == AT_ONCE
        ]
        if not known:
            return
        recent = known[-8:] if self.chance.random() < 0.8 else known
        chosen = self.chance.choices(recent, k=self.chance.randrange(1, 6))
        owner = self.chance.choice([self.owner, self.owner, *self.zombies])
        self.fired["a doorbell of a deposed owner"] += owner is not self.owner
        self.fired["a doorbell is doubled"] += len({row.row[1] for row in chosen}) < len(chosen)
        ids = [row.row[1] for row in chosen]
        owner.lane.on_doorbell(
            message_ids=ids,
            partition_keys=[self.order.pk(id_) for id_ in ids],
            borns=[self.borns[id_] for id_ in ids],
            groups=[self.groups[id_] for id_ in ids],
            bodies=[Body(b"") if self.chance.random() < 0.1 else self.bodies[id_] for id_ in ids],
        )

    def replay(self) -> None:
        """The client repeats a key, or a ghost of an earlier write lands."""
        if self.accepted:
            id_ = self.chance.choice(sorted(self.accepted))
            self.fired["a row is written again"] += 1
            # Whether a repeat lies in the buffer or in the timers is chosen again at every try.
            if self.dues.get(id_, AT_ONCE) > later(self.now, WINDOWS.near_horizon_ms):
                self.write_timer(id_)
            else:
                self.write_row(id_)

    def _edition(self, content: str, tenant: str) -> Body:
        return body_of(content, tenant=tenant, recipient=self.chance.choice(RECIPIENTS))

    def cut_off(self) -> None:
        """An owner, or one that was, gets no answer of the store for a while."""
        if self.network_chance.random() < self.cut_rate:
            owner = self.network_chance.choice([self.owner, self.owner, *self.zombies])
            owner.cut_off_until = later(self.now, self.network_chance.randrange(1, 20_000))
            self.fired["the store is out of reach"] += 1

    def suppress(self) -> None:
        """Somebody wants nothing more, or wants messages again."""
        if self.bodies:
            body = self.bodies[self.chance.choice(sorted(self.bodies))]
            if self.chance.random() < 0.7:
                self.lists.put(body, self.now)
            else:
                self.lists.remove(body)

    def tick(self, duration_ms: int) -> None:
        self.now = later(self.now, duration_ms)
        if self.receipts is not None:
            self.receipts.receive(now=self.now)
        for owner in (self.owner, *self.zombies):
            if self.chance.random() < 0.7:
                tenants = self.lists.tenants() if self.chance.random() < 0.9 else None
                owner.lists.on_read(tenants, as_of=self.now)

    def take_over(self) -> None:
        if self.receipts is not None and self.receipts.chance.random() < 0.5:
            # What it had begun to note stays undone.
            self.owner.errands = [
                errand
                for errand in self.owner.errands
                if not isinstance(errand.action, act.NoteReferences)
            ]
        deposed = self.owner
        self.zombies.append(deposed)
        self.takeovers_count += 1
        self.fired["an owner is deposed"] += 1
        self.owner = self._take_over()
        # It may be about to do anything, also the next step of a roll.
        for _ in range(self.chance.choice([0, 0, 2, 10])):
            deposed.decide(self.now)
            self.step(deposed)

    def _take_over(self) -> Owner:
        """Somebody takes the lane over; answers may be lost, and several may try before one does.

        While it looks and acts the others go on, also the owner in the middle of a roll.
        """
        while True:
            name = self.chance.randbytes(16)
            held = self._take_lane(name)
            if self.chance.random() >= 0.2 * self.faults:
                break
            self.fired["an owner dies before it has read anything"] += 1
        lists = ListingTenants()
        lane = Lane(
            self._read_back(held),
            windows=WINDOWS,
            gate=self.gate,
            admission=unlimited(),
            lists=lists,
            retry_policy=RETRIES,
            chance=random.Random(self.chance.getrandbits(32)),
            now=self.now,
        )
        lane.decisions.parks_from = lane.decisions.parks_anew_from = self.parks_from
        lane._claims.gathering.gathers_from = self.gathers_from
        return Owner(lane, name, held.segment, held.epoch, lists)

    def _take_lane(self, name: bytes) -> Mine:
        watch = OwnerWatch(steal_after_ms=WINDOWS.steal_after_ms)
        while True:
            decision = decide_takeover(
                self._newest_segment(), me=name, platform=name[:1], watch=watch, boot_us=0
            )
            for _ in range(self.chance.randrange(4) if self.zombies else 0):
                self.step(self.chance.choice(self.zombies))
            match decision:
                case Mine() as held:
                    return held
                case Open(segment, epoch):
                    if self._open_segment(segment, Ownership(epoch, name)) and not self._is_lost():
                        return Mine(segment, epoch)
                case Steal(segment, expected):
                    if self.segments[segment].epoch == expected:
                        self.segments[segment] = Ownership(expected + 1, name)
                        if not self._is_lost():
                            return Mine(segment, expected + 1)
                case Wait():  # its name begins like the owner's, as if of one platform
                    name = self.chance.randbytes(16)

    def _is_lost(self) -> bool:
        is_lost = self.chance.random() < 0.3 * self.faults
        self.fired["a take-over has no answer"] += is_lost
        return is_lost

    def _newest_segment(self) -> Segment | None:
        number = max(self.segment_hint - 1, 0)
        if number >= len(self.segments):
            assert not self.segments, "the hint leads to nothing"
            return None
        while number + 1 < len(self.segments) and self.segments[number].epoch < 0:
            number += 1
        assert number == len(self.segments) - 1, "a segment cannot be found"
        return Segment(number, self.segments[number])

    def _open_segment(self, segment: int, cells: Ownership) -> bool:
        if segment < len(self.segments):
            return False
        assert segment == len(self.segments), "a segment is left out"
        assert segment <= self.segment_hint, "opened, and nobody would look for it"
        assert all(older.epoch < 0 for older in self.segments), "two segments are open"
        if self.segments:
            epoch, owner = self.segments[-1]
            assert cells.epoch == -epoch + (cells.owner != owner), "an epoch for each owner"
        self.segments.append(cells)
        return True

    def _read_back(self, held: Mine) -> Recovered:
        read_back = JournalReadBack(
            newest_segment=held.segment,
            first_offset=earlier(START, WINDOWS.write_deadline_ms + 2 * WINDOWS.clock_skew_ms_max),
        )
        for _ in range(10_000):
            if read_back.is_complete:
                break
            before = read_back.before_seq
            held_seqs = [
                seq for seq, segment in self.segment_of.items() if segment == read_back.segment
            ]
            assert not held_seqs or max(held_seqs) > self.retired_through, "read, though retired"
            seqs = [
                seq for seq in sorted(held_seqs, reverse=True) if before is None or seq < before
            ]
            page = [JournalEntry(seq, self.journal[seq]) for seq in seqs[:3]]
            read_back.on_entries(page, limit=3)
        assert read_back.is_complete, "it reads the journal for ever"
        recovered = read_back.result(is_after_crash=self._is_after_crash())
        needed = [seq for seq in sorted(self.journal) if seq > self.retired_through]
        assert [seq for seq, _ in recovered.entries] == needed, "not all that is un-retired"
        return recovered

    def _is_after_crash(self) -> bool:
        """Whether the predecessor seems to have crashed; else it was drained, or gave the lane."""
        return self.takeovers_count > 0 and self.crash_chance.random() < 0.7

    def step(self, owner: Owner, *, is_calm: bool = False) -> bool:
        """Carry out one step of one errand; return whether there was one."""
        if not owner.errands:
            return False
        errand = owner.errands[0 if is_calm else self.chance.randrange(len(owner.errands))]
        if errand.answer is None:
            errand.answer = self._effect(owner, errand.action, is_calm=is_calm)
        else:
            owner.errands.remove(errand)
            errand.answer()
        return True

    # --- effects ------------------------------------------------------------------------------

    def _effect(self, owner: Owner, action: act.Action, *, is_calm: bool) -> Callable[[], None]:
        lane = owner.lane
        fails = not is_calm and self.chance.random() < 0.1 * self.faults
        if not is_calm and self.now < owner.cut_off_until:
            fails = True
        if fails and not isinstance(action, act.HandOverWindow | act.NoteReferences):
            self.fired[f"no answer to {type(action).__name__}"] += 1
        match action:
            case act.Append(seq=seq, body=body):
                if action.begins_segment and (owner.roll is None or not owner.roll.is_over):
                    return self._roll(owner, action, fails=fails)
                applied = (
                    owner.roll is None or owner.roll.step is RollStep.ROLLED
                ) and self.segments[owner.segment].epoch == owner.epoch
                if fails and self.network_chance.random() < 0.5:
                    self.fired["an append that never arrives"] += applied
                    applied = False
                if applied:
                    self._journal(seq, body, segment=owner.segment)
                if fails:
                    return lambda: owner.errands.append(Errand(action))
                owner.roll = None
                if applied:
                    return lambda: lane.on_applied(seq, now=self.now)
                return lane.on_fenced
            case act.ReadClaimedBodies(keys=keys):
                claimed = self.desk.bodies({id_: self.bodies[id_] for _, id_ in keys})
                if fails:
                    return lambda: lane.on_claimed_bodies_failed(now=self.now)
                return lambda: lane.on_claimed_bodies(claimed, now=self.now)
            case act.AskProvider():
                assert self.provider_class is ProviderClass.QUERYABLE
                self.asks_count += 1
                found = {
                    n: self.taken[id_] > 0
                    for n, id_ in zip(action.positions, action.message_ids, strict=True)
                }
                if fails:
                    found = dict.fromkeys(found, False)
                return lambda: lane.on_found(action.seq, found, now=self.now)
            case act.HandOverWindow():
                return self._hand_over(owner, action, is_calm=is_calm)
            case act.ReadRows():
                if fails:
                    return lane.on_read_failed
                page, through = self._read(owner, action)
                return lambda: lane.on_rows(page, through=through)
            case act.ReadTimers():
                if fails:
                    return lambda: lane.on_timers_failed(now=self.now)
                timers = self._read_timers(action)
                return lambda: lane.on_timers(timers)
            case act.WriteLater(rows=rows, timers=timer_rows):
                # Of several writes some may land though the whole is not acknowledged.
                for id_, _, _, attempt, due_at, _ in rows:
                    if not fails or self.chance.random() < 0.5:
                        self._write_row(id_, attempt, due_at)
                self.timers.update(
                    row for row in timer_rows if not fails or self.chance.random() < 0.5
                )
                return (
                    (lambda: lane.on_later_failed(now=self.now)) if fails else lane.on_later_written
                )
            case act.ReadBodies(keys=keys):
                bodies = self.desk.bodies({id_: self.bodies[id_] for _, id_ in keys})
                if fails:
                    return lambda: lane.on_bodies_failed(now=self.now)
                return lambda: lane.on_bodies([id_ for _, id_ in keys], bodies, now=self.now)
            case act.ReadFolds(keys=keys):
                folds = {
                    id_: Step(max(self.timeline[id_])) for _, id_ in keys if id_ in self.timeline
                }
                if fails:
                    return lambda: lane.on_folds_failed(now=self.now)
                pasts = {id_: past for _, id_ in keys if (past := self._past_of(id_))}
                return lambda: lane.on_folds([id_ for _, id_ in keys], folds, pasts)
            case act.ReadSuppressions(keys=listed):
                said = self.lists.read(listed)
                if fails:
                    said = {key: why for key, why in said.items() if self.chance.random() < 0.5}
                return lambda: lane.on_suppressions(said, now=self.now)
            case act.Project(rows=rows):
                if not fails or self.chance.random() < 0.5:
                    for id_, _, step, _, detail in rows:
                        assert step in self.journaled_steps[id_], "projected, never journaled"
                        self.told.setdefault((id_, step), detail)
                        self.timeline.setdefault(id_, set()).add(step)
                return (
                    (lambda: lane.projection.on_project_failed(now=self.now))
                    if fails
                    else lane.projection.on_projected
                )
            case act.NoteReferences(rows=references):
                receipts = self.receipts
                assert receipts is not None, "references of a connector without receipts"
                if receipts.chance.random() < 0.1 * self.faults and not is_calm:
                    receipts.write(references[::2])
                    return lambda: lane.references.on_note_failed(now=self.now)
                receipts.write(references)

                def act_and_answer() -> None:
                    receipts.act(references)
                    lane.references.on_noted()

                return act_and_answer
            case act.ReadBooks(books=books):
                cells = [self.cells[book] for book in books if book in self.cells]
                if fails:
                    return lambda: lane.projection.on_books_read_failed(now=self.now)
                return lambda: lane.projection.on_books_read(cells)
            case act.WriteBooks(cells=cells):
                if not fails or self.chance.random() < 0.5:
                    for cell in cells:
                        if cell.as_of > self.cells.get(cell.book, cell._replace(as_of=-1)).as_of:
                            self.cells[cell.book] = cell
                return (
                    (lambda: lane.projection.on_books_write_failed(now=self.now))
                    if fails
                    else lane.projection.on_books_written
                )
            case act.WriteAnswers(answers=answers):
                if not fails or self.chance.random() < 0.5:
                    self.desk.confirm_editions(action.editions)
                    self.desk.results.update((row.command_id, row.verdict) for row in answers)
                return (
                    (lambda: lane.projection.on_answers_failed(now=self.now))
                    if fails
                    else lane.projection.on_answers_written
                )
            case _:
                if fails and not isinstance(action, act.WriteRuled):
                    return lambda: lane.decisions.on_failed(now=self.now)
                return self._ruling_effect(owner, action, fails=fails)

    def _ruling_effect(
        self, owner: Owner, action: act.RulingAction, *, fails: bool
    ) -> Callable[[], None]:
        decisions = owner.lane.decisions
        match action:
            case act.ReadCommands():
                if action.resume is None:
                    owner.commands_through = self._horizon()
                through = owner.commands_through
                commands = self.desk.read(
                    from_at=action.from_at, through=through, resume=action.resume
                )
                return lambda: decisions.on_commands(commands, through=through)
            case act.ReadGroupOrders():
                orders = list(self.desk.orders.values())
                return lambda: decisions.on_orders(orders)
            case act.ReadGroupTimers():
                timers = self._read_timers(action)
                return lambda: decisions.on_timers(timers)
            case act.ReadRuledFolds(keys=keys):
                folds = {
                    id_: Step(max(self.timeline[id_])) for _, id_ in keys if id_ in self.timeline
                }
                pasts = {id_: past for _, id_ in keys if (past := self._past_of(id_))}
                return lambda: decisions.on_folds([id_ for _, id_ in keys], folds, pasts)
            case act.ReadRuledBodies(keys=keys):
                bodies = self.desk.bodies({id_: self.bodies[id_] for _, id_ in keys})
                return lambda: decisions.on_bodies(bodies)
            case act.WriteRuled():
                self.desk.write_editions(action.editions)
                for id_, _, _, attempt, due_at, _ in action.rows:
                    if not fails or self.chance.random() < 0.5:
                        self._write_row(id_, attempt, due_at)
                self.timers.update(
                    row for row in action.timers if not fails or self.chance.random() < 0.5
                )
                if fails:
                    return lambda: decisions.on_failed(now=self.now)
                return decisions.on_written

    def _roll(self, owner: Owner, append: act.Append, *, fails: bool) -> Callable[[], None]:
        """One step of a roll; if it fails, it may have been done or not."""
        roll = owner.roll
        if roll is None:
            roll = owner.roll = Roll(owner.segment, epoch=owner.epoch, owner=owner.name)
        is_done = not fails or self.chance.random() < 0.5
        take: Callable[[], None]
        match roll.step:
            case RollStep.HINT:
                if is_done:
                    self.segment_hint = max(self.segment_hint, roll.next_segment)
                take = roll.on_hinted
            case RollStep.CLOSE:
                is_mine = is_done and self.segments[roll.segment].epoch == roll.epoch
                if is_mine:
                    self.segments[roll.segment] = Ownership(-roll.epoch, roll.owner)
                take = partial(roll.on_written, is_applied=is_mine)
            case RollStep.OPEN:
                is_mine = is_done and self._open_segment(
                    roll.next_segment, Ownership(roll.epoch, roll.owner)
                )
                take = partial(roll.on_written, is_applied=is_mine)
            case RollStep.LOOK_AT_CLOSED:
                take = partial(roll.on_cells, self.segments[roll.segment])
            case RollStep.LOOK_AT_OPENED:
                take = partial(roll.on_cells, self.segments[roll.next_segment])
            case step:
                raise AssertionError(step)

        def answer() -> None:
            if not fails:
                take()
                if roll.step is RollStep.ROLLED:
                    owner.segment, self.rolls_count = roll.next_segment, self.rolls_count + 1
            owner.errands.append(Errand(append))

        return answer

    def _check_hours(self, id_: MessageId, window: act.HandOverWindow) -> None:
        # Who gave it other words took its hours away; a copy with the same key is in doubt.
        if id_ not in self.hours or id_ in self.desk.edited or window.positions is not None:
            return
        closes_at, opens_at = HOURS[self.hours[id_]]
        assert not closes_at < self.now < opens_at, "handed over out of its hours"
        self.in_hours_count += 1

    def _hand_over(
        self, owner: Owner, window: act.HandOverWindow, *, is_calm: bool
    ) -> Callable[[], None]:
        count = len(window.message_ids)
        events = bytearray()
        if self.now > window.send_before:
            self.fired["a hand-over comes too late"] += 1
            events.extend([Event.NOT_SENT] * count)
        else:
            for id_, attempt, body in zip(
                window.message_ids, window.attempts, window.bodies, strict=True
            ):
                chance = 1.0 if is_calm else self.chance.random()
                if chance < 0.05:
                    self.fired["a provider is not connected"] += 1
                    events.append(Event.NOT_SENT)
                    continue
                steps = self.journaled_steps.get(id_, set())
                assert any(
                    step & EVENT_MASK == Event.CLAIM and step >> 24 == attempt for step in steps
                ), "handed over without a journaled claim"
                assert id_ in self.accepted
                assert self.now >= self.dues.get(id_, AT_ONCE), "handed over before its time"
                if chance < 0.25:
                    self.deferrals_count += 1
                    self.fired["a provider defers"] += 1
                    events.append(Event.DEFER)
                    continue
                self._check_order(id_)
                self._check_hours(id_, window)
                held = self.desk.edited.get(id_, self.bodies[id_])
                assert body == held, "handed over other words than it holds"
                event = self._provider_says(id_, chance, window.connector)
                if id_ not in self.desk.overruled:
                    self.providers.note(id_, window.connector, event)
                events.append(event)
        if is_calm or count == 1 or self.chance.random() < 0.5:
            outcomes = Outcomes(
                events=bytes(events),
                details={0: "x"} if count % 2 else {},
                references=self._references(window, events),
            )
            return lambda: owner.lane.on_outcomes(
                window.seq, outcomes, positions=window.positions, now=self.now
            )
        positions = list(range(count))
        self.chance.shuffle(positions)
        cut = self.chance.randrange(1, count)
        self.fired["outcomes come apart"] += 1
        first, second = positions[:cut], positions[cut:]

        said = Outcomes(events=bytes(events), references=self._references(window, events))

        def answer(part: list[int]) -> None:
            owner.lane.on_outcomes(
                window.seq,
                said.part(part, bytes(events[n] for n in part)),
                positions=[window.positions[n] for n in part] if window.positions else part,
                now=self.now,
            )

        def answer_first() -> None:
            answer(first)
            owner.errands.append(Errand(window, answer=lambda: answer(second)))

        return answer_first

    def _newest_step(self, id_: MessageId) -> int:
        return max(self.journaled_steps.get(id_, {0}))

    def _check_order(self, id_: MessageId) -> None:
        if not self.copies[id_]:
            self.order.check_hand_over(
                id_,
                newest_step=self._newest_step,
                copies=lambda other: self.copies[other],
                is_overruled=lambda other: other in self.desk.overruled,
            )

    def _references(self, window: act.HandOverWindow, events: bytes | bytearray) -> dict[int, str]:
        if self.receipts is None:
            return {}
        return {
            n: self.receipts.reference(id_)
            for n, id_ in enumerate(window.message_ids)
            if events[n] == Event.TAKE
        }

    def _past_of(self, id_: MessageId) -> Past | None:
        steps = sorted(self.timeline.get(id_, ()))
        return past_of(TimelineEvent(self.now, Step(step), self.told[id_, step]) for step in steps)

    def _provider_says(self, id_: MessageId, chance: float, connector: str) -> Event:
        """A copy has left: what the provider makes of it, and what we hear of that."""
        self.copies[id_] += 1
        if id_ not in self.desk.overruled:
            self.providers.check(
                id_, connector, is_keyed=self.provider_class is ProviderClass.KEYED
            )
        if self.taken[id_] and self.provider_class is ProviderClass.KEYED:
            self.fired["a provider gets a key again"] += 1
            self.resends_count += 1  # it knows the key, and takes nothing twice
        elif chance < 0.28 or self.fallback_chance.random() < self.refusal_rate:
            self.fired["a provider refuses"] += 1
            return Event.REFUSE
        elif chance < 0.30:
            self.fired["a hand-over is lost on its way"] += 1
            return Event.LOSE_ANSWER
        else:
            self.taken[id_] += 1
            if self.receipts is not None:
                self.receipts.take(id_, now=self.now)
        self.fired["a provider's answer is lost"] += chance < 0.34
        return Event.LOSE_ANSWER if chance < 0.34 else Event.TAKE

    def _horizon(self) -> Instant:
        safe = earlier(self.now, WINDOWS.write_deadline_ms + WINDOWS.clock_skew_ms_max)
        return max(self._newest_at, safe) if self.prompt_reads else safe

    def _read(self, owner: Owner, read: act.ReadRows) -> tuple[BufferPage, Instant]:
        if read.resume is None:
            owner.read_through = self._horizon()
            start = read.from_at
            position = -1
        else:
            position = int(read.resume)
            start = Instant(0)
        through = owner.read_through
        found = [
            (n, row.row)
            for n, row in enumerate(self.rows)
            if n > position and start <= row.at <= through and row.visible_from <= self.now
        ]
        limit = self.chance.randrange(1, read.limit + 1)  # short pages are no ends
        if found and self.network_chance.random() < 0.1 * self.faults:
            self.fired["a page is empty and not the last"] += 1
            return BufferPage([], str(found[0][0] - 1).encode()), through
        page = found[:limit]
        self.fired["a page is short"] += limit < len(found)
        resume = str(page[-1][0]).encode() if len(found) > limit else None
        return BufferPage([row for _, row in page], resume), through

    def _read_timers(self, read: act.ReadTimers | act.ReadGroupTimers) -> TimerPage:
        after = None if read.resume is None else self.timer_pages[int(read.resume)]
        found = sorted(
            row
            for row in self.timers
            if read.from_due <= row[0] < read.through_due and (after is None or row > after)
        )
        page = found[: self.chance.randrange(1, read.limit + 1)]
        if len(page) == len(found):
            return TimerPage(page, None)
        self.timer_pages.append(page[-1])
        return TimerPage(page, str(len(self.timer_pages) - 1).encode())

    def _journal(self, seq: int, body: bytes, *, segment: int) -> None:
        if seq in self.journal:
            assert self.journal[seq] == body, "a seq never carries other bytes"
            assert self.segment_of[seq] == segment, "one entry in two segments"
            return
        assert seq == len(self.journal), "seq has no gaps"
        entry = decode_entry(body)
        assert encode_entry(entry) == body
        self.journal[seq] = body
        self.segment_of[seq] = segment
        in_segment = sum(number == segment for number in self.segment_of.values())
        assert in_segment <= WINDOWS.segment_entries_max, "a segment is too long"
        self.entries[seq] = entry
        self.quarantined.update(row[0] for row in entry.timeline_rows() if row[4] == POISON)
        lines = zip(entry.message_ids, entry.steps, entry.events_before, strict=True)
        for id_, step, before in lines:
            steps = self.journaled_steps.setdefault(id_, set())
            # One that was claimed before is named again as long as it is open.
            if step & EVENT_MASK == Event.CLAIM and before != Event.CLAIM:
                waits = attempt_awaited(Step(max(steps)) if steps else None)
                assert waits == step >> 24, "claimed, though it does not wait for a claim"
                self.desk.check_claim(self.groups[id_])
                self.order.check_claim(id_, self._newest_step)
                body = self.desk.edited.get(id_, self.bodies[id_])
                self.lists.check_claim(body, entry.at)
            if step & EVENT_MASK == Event.SUPPRESS:
                self.lists.check_suppressed(self.desk.edited.get(id_, self.bodies[id_]))
                self.suppressions_count += 1
            steps.add(step)
        self.referenced.update(entry.message_ids[n] for n in entry.references)
        self.desk.on_journaled(entry, self.dues)
        if entry.checkpoint is not None:
            self._check_checkpoint(entry)
        open_count = sum(
            max(steps) & EVENT_MASK == Event.CLAIM for steps in self.journaled_steps.values()
        )
        assert open_count <= WINDOWS.claims_open_max, "more than F claims without outcome"

    def _check_checkpoint(self, entry: Entry) -> None:
        checkpoint = entry.checkpoint
        assert checkpoint is not None
        assert checkpoint.offset >= self.offset, "the offset went back"
        assert checkpoint.retired_through >= self.retired_through, "retirement went back"
        for seq in range(self.retired_through + 1, checkpoint.retired_through + 1):
            for id_, step in zip(
                self.entries[seq].message_ids, self.entries[seq].steps, strict=True
            ):
                assert step in self.timeline.get(id_, ()), "retired, not projected"
                later_steps = {
                    s
                    for later_seq in self.entries
                    if later_seq > seq
                    for i, s in zip(
                        self.entries[later_seq].message_ids,
                        self.entries[later_seq].steps,
                        strict=True,
                    )
                    if i == id_ and s >= step
                }
                assert step & EVENT_MASK != Event.CLAIM or later_steps, "retired with an open claim"
        assert checkpoint.timer_cursor >= self.timer_cursor, "the cursor of timers went back"
        self.offset, self.retired_through = checkpoint.offset, checkpoint.retired_through
        self.timer_cursor = checkpoint.timer_cursor
        for id_ in self.accepted:
            steps = self.journaled_steps.get(id_)
            if steps and max(steps) & EVENT_MASK >= RESOLVED_FROM:
                continue
            if steps and max(steps) & EVENT_MASK == Event.CLAIM:
                continue
            awaited = attempt_awaited(Step(max(steps)) if steps else None)
            offset = self.offset
            if is_ordered(self.order.pk(id_), id_):
                # The first row of it, so that a successor finds its place in the line.
                offset = checkpoint.ordered_offset or checkpoint.offset
                first_at = min(row.at for row in self.rows if row.row[1] == id_)
                assert first_at >= offset or id_ in self.desk.overruled, "its place was forgotten"
            assert any(
                row.row[1] == id_ and row.row[4] == awaited and row.at >= offset
                for row in self.rows
            ) or any(
                timer[1] == id_ and timer[4] == awaited and timer[0] >= self.timer_cursor
                for timer in self.timers
            ), "the offset or the cursor of timers passed what is not resolved"

    # --- the end ------------------------------------------------------------------------------

    def heal(self) -> None:
        """No more faults: the owner of now brings everything to an end, by its rows alone."""
        self.desk.resume_all(GROUPS, at=self._next_at)
        for _ in range(20_000):
            self.owner.decide(self.now)
            if not self.step(self.owner, is_calm=True):
                if self._is_over():
                    return
                self._receive()
                self.tick(WINDOWS.checkpoint_ms)
        raise AssertionError(f"not at its end: {self._open()}")

    def _open(self) -> list[str]:
        return [
            id_.hex()
            for id_ in sorted(self.accepted)
            if max(self.timeline.get(id_, {0})) & EVENT_MASK < RESOLVED_FROM
        ]

    def _is_over(self) -> bool:
        return (
            not self._open()
            and self.owner.lane.open_count == 0
            and not self._unretired()
            and self.desk.is_answered
        )

    def _unretired(self) -> bool:
        return any(
            entry.message_ids and seq > self.retired_through for seq, entry in self.entries.items()
        )

    def _receive(self) -> None:
        if self.receipts is not None:
            for _ in range(len(self.receipts.on_their_way)):
                self.receipts.receive(now=self.now)

    def check_end(self) -> None:
        """The timeline, the provider and the books tell the same story."""
        self.desk.check_end()
        for id_ in self.accepted:
            fold = Step(max(self.timeline[id_]))
            match state_of(fold):
                case _ if id_ in self.desk.overruled:
                    pass
                case MessageState.SENT:
                    assert self.taken[id_] == 1
                case MessageState.FAILED:
                    assert self.taken[id_] == 0
                case MessageState.CANCELLED:
                    assert self.copies[id_] == 0 or self.taken[id_] == 0
                case MessageState.EXPIRED | MessageState.SUPPRESSED:
                    assert self.taken[id_] == 0
                case state:
                    assert state is MessageState.UNCERTAIN, state
                    # Its key lives, so it can be asked for until it is there.
                    is_asked = self.provider_class is ProviderClass.KEYED
                    assert not is_asked or id_ in self.quarantined
        truth: dict[str, Counter[MessageState]] = {}
        for id_ in self.accepted:
            book = f"group:{self.groups[id_]}"
            truth.setdefault(book, Counter())[state_of(Step(max(self.timeline[id_])))] += 1
        for book, counts in truth.items():
            assert decode_counts(self.cells[book].counts) == counts, book
        days = [cell for book, cell in self.cells.items() if book.startswith("day:")]
        assert sum(decode_counts(cell.counts).total() for cell in days) == len(self.accepted)
        # Timers that something overtook still come by, each at its time.
        self.now = max([self.now, *(timer[0] for timer in self.timers)])
        self._idle(rounds=10)  # the newest rows may be copies, read only now
        for zombie in self.zombies:
            for command in zombie.lane.take_testimony()[0]:
                id_ = MessageId(command.message_id)
                if decode_command(command.payload).event == Event.TAKE:
                    assert self.taken[id_] > 0, "a false testimony"
                else:
                    # What was refused may have been taken when somebody sent it again.
                    assert self.taken[id_] < self.copies[id_], "a false testimony"
        before = len(self.journal)
        self._idle(rounds=40)
        if self.receipts is not None:
            self.receipts.check_end(self.referenced)
        assert len(self.journal) == before, "an idle lane writes nothing"

    def _idle(self, *, rounds: int) -> None:
        for _ in range(rounds):
            self.tick(WINDOWS.idle_read_ms)
            self._receive()
            self.owner.decide(self.now)
            while self.step(self.owner, is_calm=True):
                self.owner.decide(self.now)


__all__ = ["GROUPS", "START", "WINDOWS", "LaneWorld", "body_of", "group_key"]
