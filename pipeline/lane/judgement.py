"""What the answers to a window prove, and what they leave in doubt (design 5.4)."""

from collections.abc import Sequence

from pipeline.instant import Instant, earlier, later
from pipeline.lane.doubts import Doubt, Doubts
from pipeline.lane.gate import Gate
from pipeline.lane.past import attempts_seen, is_worn_out
from pipeline.lane.retries import Retries
from pipeline.lane.window import Answer, Window
from pipeline.lifecycle import Event, Step
from pipeline.limits import Windows
from pipeline.outcome import Outcomes
from pipeline.route.provider_class import Verdict

_ASKED = frozenset({Verdict.RESEND_SAME_KEY, Verdict.ASK})
_UNCERTAIN = frozenset({Verdict.AWAIT_RECEIPT, Verdict.AWAIT_ACT})


class Judgement:
    """Parts proof from doubt, and what is final from what is tried again."""

    def __init__(self, gate: Gate, doubts: Doubts, retries: Retries, *, windows: Windows) -> None:
        self._gate = gate
        self._doubts = doubts
        self._retries = retries
        self._windows = windows

    def judge(
        self,
        window: Window,
        outcomes: Outcomes,
        positions: Sequence[int],
        *,
        now: Instant,
        later_room: int,
    ) -> list[Answer]:
        """Return what may be journaled now; the rest is in doubt, or waits for its next row.

        A copy of an attempt may exist once an answer was lost, and always where a predecessor
        claimed it: then only the provider's word that it has the message is proof.
        """
        is_copied = [
            window.is_recovered or self._doubts.get(window, n) is not None for n in positions
        ]
        sole, shared = (
            self._gate.judge(window.connector, outcomes.events, may_have_copy=may_have)
            for may_have in (False, True)
        )
        events = bytearray(outcomes.events)
        proven: list[int] = []
        for m, n in enumerate(positions):
            verdict = shared[m] if is_copied[m] else sole[m]
            if verdict in _ASKED and self._may_ask(window, n, verdict, now=now):
                self._doubts.add(Doubt(window, n, since=now), now=now)
                continue
            if verdict in _ASKED or verdict in _UNCERTAIN:
                events[m] = Event.LOSE_ANSWER
            self._doubts.settle(window, n)
            proven.append(m)
        if not proven:
            return []
        falling_back = [
            k
            for k, m in enumerate(proven)
            if (events[m] == Event.REFUSE or self._is_worn_out(window, outcomes, m, positions[m]))
            and not is_copied[m]
            # Whoever is to get nothing on this channel gets it by no other connector either.
            and m not in outcomes.unwanted
            and self._falls_back(window, positions[m])
        ]
        part = outcomes.part(proven, bytes(events[m] for m in proven))
        at = [positions[m] for m in proven]
        if falling_back or Event.DEFER in part.events:
            return self._retries.defer(
                window, part, at, falling_back=falling_back, now=now, later_room=later_room
            )
        is_whole = window.open_positions is None and at == list(range(len(window.message_ids)))
        return [Answer(window, part, None if is_whole else at)]

    def _is_worn_out(self, window: Window, outcomes: Outcomes, m: int, n: int) -> bool:
        """Return whether a connector could not take a message for so often that another one may.

        One that asks for a pause is well: what it puts off waits for it.
        """
        if outcomes.events[m] != Event.DEFER or m in outcomes.retry_after_ms:
            return False
        past = window.pasts.get(n)
        return is_worn_out(attempts_seen(Step(window.steps[n]), past), past)

    def _falls_back(self, window: Window, n: int) -> bool:
        past = window.pasts.get(n)
        return self._gate.falls_back(
            window.connector, refused_by=past.refused_by if past is not None else ()
        )

    def _may_ask(self, window: Window, n: int, verdict: int, *, now: Instant) -> bool:
        if verdict == Verdict.RESEND_SAME_KEY:
            return self._gate.is_key_alive(
                window.connector,
                first_claimed_at=window.first_claimed_at(n),
                send_before=later(now, self._windows.send_deadline_ms),
            )
        # What a provider does not have for so long it mostly never got; but that is no proof.
        doubt = self._doubts.get(window, n)
        return doubt is None or doubt.since > earlier(now, self._windows.near_horizon_ms)
