"""How a lane asks again about what is in doubt: by the same key, or by our id (design 5.4)."""

from collections.abc import Mapping

from pipeline.instant import Instant, later
from pipeline.lane.actions import Action, AskProvider
from pipeline.lane.caution import Caution
from pipeline.lane.doubts import Doubt, Doubts
from pipeline.lane.gate import Gate
from pipeline.lane.window import Window
from pipeline.limits import Windows


class Asking:
    """Asks about the doubts of one owner, as far as connectors and caution let it."""

    def __init__(self, doubts: Doubts, gate: Gate, caution: Caution, *, windows: Windows) -> None:
        self._doubts = doubts
        self._gate = gate
        self._caution = caution
        self._windows = windows
        self._turn: list[Doubt] = []

    def forgotten(self, now: Instant, windows: Mapping[int, Window]) -> dict[int, list[int]]:
        """Return what is due and must not be handed over any more, by seq: positions.

        Its provider may have forgotten the key since it was last judged: it waited for its turn,
        for its connector, or for its body.  What is not due is looked at when it is.
        """
        self._turn = list(self._due(now))
        found: dict[int, list[int]] = {}
        send_before = later(now, self._windows.send_deadline_ms)
        for doubt in self._turn:
            window = windows[doubt.window.seq]
            if not self._gate.is_queryable(window.connector) and not self._gate.is_key_alive(
                window.connector,
                first_claimed_at=window.first_claimed_at(doubt.position),
                send_before=send_before,
            ):
                found.setdefault(window.seq, []).append(doubt.position)
        self._turn = [
            one for one in self._turn if one.position not in found.get(one.window.seq, ())
        ]
        return found

    def decide(self, now: Instant, windows: Mapping[int, Window]) -> list[Action]:
        """Return what is to be asked now; `windows`: those with claims in doubt, by seq.

        `forgotten` comes first.
        """
        actions: list[Action] = []
        by_window: dict[int, list[Doubt]] = {}
        turn, self._turn = self._turn, []
        for doubt in turn:
            by_window.setdefault(doubt.window.seq, []).append(doubt)
        for seq, doubts in by_window.items():
            window = windows[seq]
            room = self._gate.room_again(window.connector, now=now)
            asked = doubts if room is None else doubts[:room]
            for doubt in doubts[len(asked) :]:
                self._doubts.add(doubt, now=now)
            if not asked:
                continue
            positions = [doubt.position for doubt in asked]
            if self._gate.is_queryable(window.connector):
                ids = [doubt.message_id for doubt in asked]
                actions.append(
                    AskProvider(
                        seq=seq, connector=window.connector, positions=positions, message_ids=ids
                    )
                )
                continue
            self._gate.on_submit(window.connector, now=now)
            send_before = later(now, self._windows.send_deadline_ms)
            actions.append(window.hand_over_again(positions, send_before=send_before))
        return actions

    def _due(self, now: Instant) -> list[Doubt]:
        due = list(self._doubts.take_due(now))
        if not self._caution.is_on:
            return due
        may_touch = set(self._caution.may_touch([doubt.message_id for doubt in due]))
        for doubt in due:
            if doubt.message_id not in may_touch:
                self._doubts.put_back(doubt, now=now)
        return [doubt for doubt in due if doubt.message_id in may_touch]
