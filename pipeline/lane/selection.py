"""Which of a lane's candidates are claimed next, for which connector."""

from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.instant import Instant, later
from pipeline.lane.actions import Action
from pipeline.lane.admission import Admission
from pipeline.lane.backlog import Backlog
from pipeline.lane.entry import EntryBuilder
from pipeline.lane.gate import Gate
from pipeline.lane.recent import STEP_MASK, RecentSet
from pipeline.lane.send_hours import SendHours
from pipeline.lane.suppressions import Suppressions, add_suppression_lines
from pipeline.lane.window import (
    Candidate,
    Window,
    add_expiry_line,
    expired_positions,
    lines_bytes,
)
from pipeline.lifecycle import EVENT_MASK, Step, attempt_awaited, next_claim
from pipeline.limits import JOURNAL_LINES_BYTES_MAX, OUTCOME_DETAILS_BYTES_MAX, Windows
from pipeline.message import MessageId

_FIRST_CLAIM: Final = next_claim(None)

_Pairs = Sequence[tuple[MessageId, Candidate]]


class Selection:
    """Takes candidates out of the backlog: those that expired, and those that may leave now."""

    def __init__(
        self,
        recent: RecentSet,
        backlog: Backlog,
        gate: Gate,
        admission: Admission,
        suppressions: Suppressions,
        hours: SendHours,
        *,
        windows: Windows,
    ) -> None:
        self._recent = recent
        self._backlog = backlog
        self._gate = gate
        self._admission = admission
        self._suppressions = suppressions
        self._hours = hours
        self._windows = windows
        self.withheld_count = 0
        """How many claims the journal contradicted at the last moment: there should be none."""

    def connectors(self, now: Instant, *, room: int) -> Sequence[str]:
        """Return the connectors that may be given one of the first candidates."""
        if room <= 0 or not self._backlog.candidates_count:
            return ()
        return self._gate.sole or tuple(self._choose(now, room))

    def take(
        self, builder: EntryBuilder, connector: str, now: Instant, *, room: int, room_bytes: int
    ) -> Window | None:
        """Return the connector's next window of up to `room` messages, its lines added."""
        if room <= 0 or not self._backlog.candidates_count:
            return None
        waiting = min(room, self._backlog.candidates_count)
        # Where permits are scarce most candidates are not even looked at.
        most = self._admission.room(connector, waiting, now=now) if self._gate.sole else None
        if most == 0:
            return None
        taken = self._choose_for(
            connector, now, room if most is None else min(room, most), room_bytes
        )
        taken = self._withhold(taken)
        taken = self._expire(builder, taken, now=now)
        taken = self._suppress(builder, taken, now=now, room_bytes=room_bytes)
        taken, permits = self._admission.admit(connector, taken, waiting=waiting, now=now)
        if not taken:
            return None
        ids, candidates = [id_ for id_, _ in taken], [candidate for _, candidate in taken]
        self._backlog.claim(ids)
        self._gate.on_submit(connector, now=now)
        folds = [c.fold for c in candidates]
        window = Window(
            connector=connector,
            message_ids=ids,
            partition_keys=[c.pk for c in candidates],
            borns=[c.born for c in candidates],
            groups=[c.group for c in candidates],
            steps=[next_claim(fold) for fold in folds]
            if any(folds)
            else [_FIRST_CLAIM] * len(taken),
            bodies=[c.body for c in candidates],
            claimed_at=now,
            named_at=now,
            # Its hours may end before.
            send_before=self._hours.leave_by(
                taken, now, latest=later(now, self._windows.send_deadline_ms)
            ),
            permits=permits,
            pasts={n: c.past for n, c in enumerate(candidates) if c.past},
        )
        window.add_claim_lines(builder, [(fold or 0) & EVENT_MASK for fold in folds])
        return window

    def _withhold(self, taken: _Pairs) -> _Pairs:
        """Let go of what does not wait for this very claim; return the others.

        What waits here is kept in step with the journal by many hands.  Should one of them slip,
        its message would be handed over twice: so the journal has the last word.
        """
        known = self._recent.step_or_none
        stale = {
            n
            for n, (id_, candidate) in enumerate(taken)
            if (step := known(id_)) is not None and step & STEP_MASK != (candidate.fold or 0)
        }
        if not stale:
            return taken
        self.withheld_count += len(stale)
        self._backlog.claim(taken[n][0] for n in stale)
        return [pair for n, pair in enumerate(taken) if n not in stale]

    def _expire(self, builder: EntryBuilder, taken: _Pairs, *, now: Instant) -> _Pairs:
        """End what is not worth sending any more; return the others."""
        expired = expired_positions(
            [candidate for _, candidate in taken],
            now=now,
            validity_ms_max=self._windows.validity_ms_max,
        )
        if not expired:
            return taken
        self._backlog.claim(taken[n][0] for n in expired)
        for n in sorted(expired):
            add_expiry_line(builder, *taken[n])
        return [pair for n, pair in enumerate(taken) if n not in expired]

    def look_up(self, now: Instant) -> list[Action]:
        """Return the read that says which of the first candidates nobody wants."""
        if not self._backlog.candidates_count or not self._suppressions.may_ask(now):
            return []
        candidates = self._backlog.first_candidates(self._windows.claims_open_max)
        return self._suppressions.ask(candidates, now)

    def _suppress(
        self, builder: EntryBuilder, taken: _Pairs, *, now: Instant, room_bytes: int
    ) -> _Pairs:
        """End what its recipient does not want; return the others."""
        reasons = self._suppressions.reasons(taken, now)
        if not reasons:
            return taken
        unwanted = [taken[n] for n in reasons]
        self._backlog.claim(id_ for id_, _ in unwanted)
        room_bytes -= lines_bytes([c.group for _, c in taken], {})
        add_suppression_lines(builder, unwanted, list(reasons.values()), room_bytes=room_bytes)
        return [pair for n, pair in enumerate(taken) if n not in reasons]

    def _choose_for(self, connector: str, now: Instant, room: int, room_bytes: int) -> _Pairs:
        """Return which of the first candidates the connector may have, as many as fit a body."""
        taken = self._choose(now, room).get(connector, ())
        # The outcomes of a window come with details, and must fit in one body as well.
        room_bytes = min(room_bytes, JOURNAL_LINES_BYTES_MAX - OUTCOME_DETAILS_BYTES_MAX)
        while taken and _claims_bytes(taken) > room_bytes:
            taken = taken[: len(taken) // 2]
        return taken

    def _choose(self, now: Instant, room: int) -> Mapping[str, _Pairs]:
        """Return who may have which of the first candidates."""
        first = self._backlog.first_candidates(room + self._suppressions.waiting_count)
        taken = self._hours.open_now(self._suppressions.known(first, now)[:room], now)
        attempts = [
            1 if candidate.fold is None else attempt_awaited(Step(candidate.fold)) or 1
            for _, candidate in taken
        ]
        choice = self._gate.choose(
            [id_ for id_, _ in taken],
            attempts,
            refused_by={n: c.past.refused_by for n, (_, c) in enumerate(taken) if c.past},
            now=now,
        )
        chosen: dict[str, _Pairs] = {}
        for name, positions in choice.by_connector.items():
            limit = self._gate.room(name, now=now)
            chosen[name] = [taken[n] for n in positions[:limit]]
        return chosen


def _claims_bytes(taken: _Pairs) -> int:
    """Return how many bytes of a journal body the claims of these take at most."""
    pasts = [c.past for _, c in taken if c.past]
    return lines_bytes([c.group for _, c in taken], {}, pasts=pasts)
