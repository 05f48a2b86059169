"""What a lane has claimed: windows on their way to connectors, and what becomes of them.

One append speaks of one connector: its claims are that connector's, and so are the outcomes in it.
Connectors take turns, so that a slow one holds up no other.  A message is handed over only when its
claim is definitely journaled.  What an answer proves is decided by `gate`; what it leaves open
waits in `doubts`, what was refused for now in `retries`.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final

from pipeline.instant import Instant, earlier, later
from pipeline.lane.actions import Action, HandOverWindow, ReadClaimedBodies
from pipeline.lane.admission import Admission
from pipeline.lane.answers import Answers
from pipeline.lane.asking import Asking
from pipeline.lane.backlog import Backlog
from pipeline.lane.caution import POISON, Caution
from pipeline.lane.doubts import Doubts
from pipeline.lane.entry import EntryBuilder
from pipeline.lane.gate import Gate
from pipeline.lane.gathering import Gathering
from pipeline.lane.judgement import Judgement
from pipeline.lane.recent import RecentSet
from pipeline.lane.retries import Retries
from pipeline.lane.selection import Selection
from pipeline.lane.send_hours import SendHours
from pipeline.lane.suppressions import Suppressions
from pipeline.lane.testimony import Testimony
from pipeline.lane.window import (
    Answer,
    Candidate,
    Window,
    add_expiry_line,
    lines_bytes,
)
from pipeline.lifecycle import Event
from pipeline.limits import (
    CLAIM_PAUSE_MS_MAX,
    CLAIM_PAUSE_MS_MIN,
    OUTCOME_DETAIL_CHARS_MAX,
    OUTCOME_DETAILS_BYTES_MAX,
    Windows,
)
from pipeline.message import MessageId, TimerRow
from pipeline.outcome import Outcomes
from pipeline.route.provider_class import OWNER_LOST
from pipeline.route.retry_policy import RetryPolicy

_TAKEN: Final = bytes([Event.TAKE])
_GIVEN_UP_AT_ONCE: Final = OUTCOME_DETAILS_BYTES_MAX // (4 * OUTCOME_DETAIL_CHARS_MAX + 8)


class Claims:
    """The claims of one owner.  Events and actions are those of its `Lane`."""

    def __init__(
        self,
        recent: RecentSet,
        backlog: Backlog,
        gate: Gate,
        caution: Caution,
        *,
        admission: Admission,
        suppressions: Suppressions,
        hours: SendHours,
        retry_policy: RetryPolicy,
        chance: Random,
        windows: Windows,
        now: Instant,
    ) -> None:
        self._recent = recent
        self._backlog = backlog
        self._gate = gate
        self._caution = caution
        self._admission = admission
        self._windows = windows
        self.retries = Retries(
            retry_policy, backlog.order, hours, chance=chance, windows=windows, now=now
        )
        self.doubts = Doubts(retry_policy, recent.unconfirmed, chance=chance, windows=windows)

        self._asking = Asking(self.doubts, gate, caution, windows=windows)
        self._selection = Selection(
            recent, backlog, gate, admission, suppressions, hours, windows=windows
        )
        self._judgement = Judgement(gate, self.doubts, self.retries, windows=windows)

        self._open: dict[int, Window] = {}
        self._answers = Answers()
        self._to_hand_over: list[HandOverWindow] = []
        self._last_turn = ""
        self._has_room_for_more = False
        self.gathering = Gathering(now)
        self._claimed: Window | None = None
        self._has_own_outcomes = False  # in the append in flight
        # What waits for another claim once the append in flight is applied.
        self._waiting: list[tuple[MessageId, Candidate, TimerRow | None]] = []
        self._pause_ms = 0
        self._not_before = now

        self.open_count = 0
        self.handed_over_count = 0

    @property
    def withheld_count(self) -> int:
        """How many claims the journal contradicted at the last moment; see `Selection`."""
        return self._selection.withheld_count

    def take_up(self, window: Window, *, now: Instant) -> None:
        """Go on with what a predecessor claimed; it may have handed it over, or still do so."""
        self._open_again(window)
        lost = list(range(len(window.message_ids)))
        if self._caution.has_quarantine:
            is_poison = self._caution.is_quarantined
            poison = [n for n in lost if is_poison(window.message_ids[n])]
            if poison:
                uncertain = Outcomes.all_alike(Event.LOSE_ANSWER, len(poison), POISON)
                self._answers.add(Answer(window, uncertain, poison))
                lost = [n for n in lost if n not in poison]
        if lost:
            outcomes = Outcomes(events=bytes([OWNER_LOST]) * len(lost))
            self._judge(window, outcomes, lost, now=now)
        self._caution.note_claimed(self.doubts.message_ids)

    def give_up(self, window: Window, detail: str) -> None:
        """End what a predecessor claimed: it stays uncertain, and nobody is asked."""
        count = self._open_again(window)
        # In parts, as the details of one are bounded.
        for start in range(0, count, _GIVEN_UP_AT_ONCE):
            at = range(start, min(start + _GIVEN_UP_AT_ONCE, count))
            lost = Outcomes.all_alike(Event.LOSE_ANSWER, len(at), detail)
            self._answers.add(Answer(window, lost, at))

    def _open_again(self, window: Window) -> int:
        count = len(window.message_ids)
        self._recent.entry(window.seq).open_count += count
        self._open[window.seq] = window
        self.open_count += count
        return count

    @property
    def is_settled(self) -> bool:
        """Nothing is under way that a drain must wait for; the next owner asks what is in doubt."""
        return (
            self.open_count == len(self.doubts)
            and not self._answers
            and not self._to_hand_over
            and self._claimed is None
            and self.retries.is_settled
        )

    @property
    def is_empty(self) -> bool:
        """Nothing is claimed."""
        return not self._open and self.retries.is_settled

    # --- events -------------------------------------------------------------------------------

    def on_applied(self, *, now: Instant) -> list[tuple[MessageId, Candidate, TimerRow | None]]:
        """Take the definite yes; return what waits for another claim from now on."""
        waiting, self._waiting = self._waiting, []
        if self._has_own_outcomes:
            self._has_own_outcomes = False
            self._caution.on_own_outcome()
        claimed, self._claimed = self._claimed, None
        self.gathering.on_applied(now)
        if claimed is not None:
            if now > claimed.send_before:
                # Nothing left this process, and from here on nothing will.
                count = len(claimed.message_ids)
                unsent = Outcomes.all_alike(Event.NOT_SENT, count)
                self._admission.on_outcomes(claimed, range(count), unsent)
                self._answers.add(Answer(claimed, unsent, None))
            else:
                self._to_hand_over.append(claimed.hand_over())
                self._caution.on_own_claim(now=now)
        return waiting

    def on_outcomes(
        self, seq: int, outcomes: Outcomes, *, now: Instant, positions: Sequence[int] | None
    ) -> None:
        """See `Lane.on_outcomes`."""
        window = self._open[seq]
        count = len(window.message_ids)
        if positions is None:
            positions = range(count)
        assert len(outcomes.events) == len(positions), seq
        self._note_touched(window, positions)
        outcomes = self._gate.with_references(window.connector, outcomes)
        unsent = outcomes.events.count(Event.NOT_SENT)
        self.handed_over_count += len(positions) - unsent
        self._gate.on_outcomes(window.connector, outcomes, now=now)
        self._admission.on_outcomes(window, positions, outcomes)
        if unsent:
            self._pause_ms = min(max(2 * self._pause_ms, CLAIM_PAUSE_MS_MIN), CLAIM_PAUSE_MS_MAX)
            self._not_before = later(now, self._pause_ms)
        else:
            self._pause_ms = 0
        if outcomes.events == _TAKEN * count and window.open_positions is None and not self.doubts:
            self._answers.add(Answer(window, outcomes, None))
        else:
            self._judge(window, outcomes, positions, now=now)

    def testify(self, testimony: Testimony) -> None:
        """Tell of the outcomes that came and are in no entry: the lane is fenced."""
        for window, outcomes, positions, _ in self._answers:
            testimony.hear(window, outcomes, positions)

    def window(self, seq: int) -> Window | None:
        """Return a window that has claims without an outcome in any entry."""
        return self._open.get(seq)

    def on_found(self, seq: int, found: Mapping[int, bool], *, now: Instant) -> None:
        """Take what a provider of class Q says of messages, by position: it has them, or not.

        That it has none proves nothing: a copy may still be on its way.
        """
        window = self._open[seq]
        self._note_touched(window, found)
        taken = [n for n, is_there in found.items() if is_there]
        if taken:
            self._judge(window, Outcomes.all_alike(Event.TAKE, len(taken)), taken, now=now)
        missing = [n for n, is_there in found.items() if not is_there]
        if missing:
            lost = Outcomes.all_alike(Event.LOSE_ANSWER, len(missing))
            self._judge(window, lost, missing, now=now)

    def _note_touched(self, window: Window, positions: Iterable[int]) -> None:
        if self._caution.is_on:
            self._caution.on_touched(window.message_ids[n] for n in positions)

    def on_proof(self, id_: MessageId, *, now: Instant) -> None:
        """Note that its provider has a message; what is not in doubt has its outcome soon."""
        doubt = self.doubts.find(id_)
        if doubt is not None:
            proof = Outcomes.all_alike(Event.TAKE, 1, "its provider has it")
            self._judge(doubt.window, proof, [doubt.position], now=now)

    def on_later_written(self) -> None:
        """See `Lane.on_later_written`."""
        for answer in self.retries.on_written():
            self._answers.add(answer)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._not_before = min(self._not_before, now)
        self.gathering.on_clock_set_back(now)
        self.retries.on_clock_set_back(now)

    def _judge(
        self, window: Window, outcomes: Outcomes, positions: Sequence[int], *, now: Instant
    ) -> None:
        room = self._backlog.later_room
        for answer in self._judgement.judge(window, outcomes, positions, now=now, later_room=room):
            self._answers.add(answer)

    # --- decisions ----------------------------------------------------------------------------

    def decide(self, now: Instant, *, is_draining: bool) -> list[Action]:
        """Return what is to be handed over, asked or written now."""
        actions: list[Action] = list(self._to_hand_over)
        self._to_hand_over = []
        if not is_draining:
            keys = self.doubts.bodies_to_read(now)
            if keys:
                actions.append(ReadClaimedBodies(keys=keys))
            for seq, positions in self._asking.forgotten(now, self._open).items():
                lost = Outcomes.all_alike(Event.LOSE_ANSWER, len(positions))
                self._judge(self._open[seq], lost, positions, now=now)
            actions.extend(self._asking.decide(now, self._open))
        actions.extend(self.retries.decide(now))
        return actions

    def look_up(self, now: Instant) -> list[Action]:
        """Return what must be read before candidates are claimed."""
        return self._selection.look_up(now)

    def turn(self, now: Instant) -> str:
        """Return the connector that the next append speaks of, "" for none."""
        names = {answer.window.connector for answer in self._answers}
        limit = earlier(now, self._windows.near_horizon_ms)
        names.update(
            window.connector
            for window in self._open.values()
            if window.named_at < limit and not window.unjournaled_parts
        )
        chosen = self._selection.connectors(now, room=self._room(now))
        names |= (claiming := {name for name in chosen if self._room_of(name, now) > 0})
        self._has_room_for_more = bool(claiming)
        if not names:
            return ""
        self._last_turn = min([name for name in names if name > self._last_turn] or names)
        return self._last_turn

    def gathers(self, now: Instant, *, may_claim: bool) -> bool:
        """Return whether the append of this `turn` waits for more outcomes, or more permits."""
        if self._admission.is_paused(now):
            return True
        counts = {"entries_count": self._recent.entries_count, "open_count": self.open_count}
        is_claiming = may_claim and self._has_room_for_more
        return not is_claiming and self.gathering.waits(now, self._answers, **counts)

    def add_outcomes(self, builder: EntryBuilder, connector: str) -> int:
        """Add a connector's answers, as many as one body may hold; return about their bytes."""
        answers, size = self._answers.take(connector, is_body_empty=not len(builder))
        for window, outcomes, positions, expired in answers:
            count = len(outcomes.events)
            self._has_own_outcomes |= not window.is_recovered
            window.add_outcome_lines(builder, outcomes, positions)
            self._recent.entry(window.named_seq).open_count -= count
            self.open_count -= count
            if positions is not None:
                window.end(positions)
            if positions is None or not window.open_positions:
                del self._open[window.seq]
            if Event.NOT_SENT in outcomes.events or Event.DEFER in outcomes.events:
                at = range(count) if positions is None else positions
                self._wait_or_expire(builder, window, outcomes, at, expired)
        return size

    def _wait_or_expire(
        self,
        builder: EntryBuilder,
        window: Window,
        outcomes: Outcomes,
        positions: Sequence[int],
        expired: Sequence[int],
    ) -> None:
        too_late = set(expired)
        for m, (n, event) in enumerate(zip(positions, outcomes.events, strict=True)):
            id_ = window.message_ids[n]
            if m in too_late:
                add_expiry_line(builder, id_, window.candidate(n, event=Event.DEFER))
            elif event == Event.NOT_SENT:
                candidate = window.candidate(n, event=Event.NOT_SENT)
                self._waiting.append((id_, candidate, None))
            elif event == Event.DEFER:
                due_at, timer = self.retries.take_planned(window, n)
                candidate = window.candidate(n, event=Event.DEFER, due_at=due_at)
                self._waiting.append((id_, candidate, timer))

    def carry_old(
        self, builder: EntryBuilder, connector: str, now: Instant, *, room_bytes: int
    ) -> int:
        """Name again the open claims that are older than H, so that old entries can retire.

        Returns about how many bytes they take; those that do not fit are named by the next append.
        """
        limit = earlier(now, self._windows.near_horizon_ms)
        size = 0
        for window in self._open.values():
            # One with answers on their way is named by them, and by a later entry if need be.
            if (
                window.connector == connector
                and window.named_at < limit
                and not window.unjournaled_parts
            ):
                added = lines_bytes(window.groups, {}, pasts=list(window.pasts.values()))
                if len(builder) and size + added > room_bytes:
                    break
                size += added
                window.named_at = now
                self._recent.entry(window.named_seq).open_count -= window.open_count
                window.is_carried_in_next = True
                window.add_carry_lines(builder)
        return size

    def claim(
        self, builder: EntryBuilder, connector: str, now: Instant, *, room_bytes: int
    ) -> None:
        """Move candidates into the connector's next window, up to F claims without outcome."""
        room = self._room_of(connector, now)
        self._claimed = self._selection.take(
            builder, connector, now, room=room, room_bytes=room_bytes
        )

    def next_permit_at(self, now: Instant) -> Instant | None:
        """Return when the next permit comes that the lane waits for."""
        if not self._backlog.candidates_count:
            self._admission.want_nothing()
        return self._admission.next_at(now)

    def close(self) -> None:
        """Give back what is held: the lane is over."""
        self._admission.want_nothing()
        for window in self._open.values():
            if window.permits:
                at = (
                    range(len(window.permits))
                    if window.open_positions is None
                    else window.open_positions
                )
                self._admission.give_back([window.permits[n] for n in at])

    def on_appended(self, seq: int) -> None:
        """Note the seq of the append that carries what was added."""
        entry = self._recent.entry(seq)
        window = self._claimed
        if window is not None:
            window.seq = seq
            entry.open_count += len(window.message_ids)
            self._open[seq] = window
            self.open_count += len(window.message_ids)
        for carried in self._open.values():
            if carried.is_carried_in_next:
                carried.is_carried_in_next = False
                carried.named_seq = seq
                entry.open_count += carried.open_count

    def _room_of(self, connector: str, now: Instant) -> int:
        room, most = self._room(now), self._gate.claims_max(connector)
        if most is None:
            return room
        claimed = sum(
            window.open_count for window in self._open.values() if window.connector == connector
        )
        return min(room, most - claimed)

    def _room(self, now: Instant) -> int:
        if now < self._not_before:
            return 0
        room = self._windows.claims_open_max - self.open_count
        if self._caution.is_alone:
            return 0
        if self._caution.is_window_one:
            own = sum(one.open_count for one in self._open.values() if not one.is_recovered)
            return min(room, 1 - own)
        return room
