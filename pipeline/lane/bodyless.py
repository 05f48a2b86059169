"""What a lane would claim and whose body is not here: rows say what to send, not what it says."""

from collections.abc import Iterable, Mapping
from itertools import islice

from pipeline.instant import Instant, later
from pipeline.lane.actions import ReadBodies
from pipeline.lane.caution import Caution
from pipeline.lane.editions import Unconfirmed
from pipeline.lane.in_turn import InTurn
from pipeline.lane.window import Candidate
from pipeline.limits import Windows
from pipeline.message import Body, MessageId, decode_body


class Bodyless(InTurn):
    """Those of one owner; one read of bodies is under way at a time."""

    def __init__(
        self, caution: Caution, unconfirmed: Unconfirmed, *, windows: Windows, now: Instant
    ) -> None:
        super().__init__()
        self._caution = caution
        self._unconfirmed = unconfirmed
        self._windows = windows
        self._is_asked = False
        self._withdrawn: set[MessageId] = set()  # while a read is under way
        self._not_before = now
        self.missing_count = 0

    def look_up(self, ready: InTurn, now: Instant) -> list[ReadBodies]:
        """Return the read of those bodies that are wanted soon, as long as few are `ready`."""
        if not self or self._is_asked or now < self._not_before:
            return []
        most = 2 * self._windows.claims_open_max
        wanted = {
            id_: row.pk
            # What is due has room of its own, however much of the other kind is ready.
            for bodied, waiting in ((ready.due, self.due), (ready.fresh, self.fresh))
            for id_, row in islice(self._readable(waiting), max(most - len(bodied), 0))
        }
        if not wanted:
            return []
        ids = self._caution.may_touch(list(wanted)) if self._caution.is_on else wanted
        self._is_asked = bool(ids)
        return [ReadBodies(keys=[(wanted[id_], id_) for id_ in ids])] if ids else []

    def _readable(
        self, waiting: dict[MessageId, Candidate]
    ) -> Iterable[tuple[MessageId, Candidate]]:
        if not self._unconfirmed:
            return waiting.items()
        return (item for item in waiting.items() if item[0] not in self._unconfirmed)

    def withdraw(self, id_: MessageId) -> None:
        """Let go of a message that is ruled on: a read that is under way may give its old words."""
        self.pop(id_)
        if self._is_asked:
            self._withdrawn.add(id_)

    def on_bodies(
        self,
        asked: Iterable[MessageId],
        bodies: Mapping[MessageId, Body],
        ready: InTurn,
        *,
        now: Instant,
    ) -> None:
        """Let be `ready` whose bodies came; the others are asked for again later.

        A body was acknowledged before its row was written, so that only a damaged store lacks it;
        the row holds the offset until somebody looks.
        """
        self._is_asked = False
        if self._caution.is_on:
            for told in bodies.values():
                decode_body(told)  # as whoever hands it over does: what that does, it does now
            self._caution.on_touched(asked)
        if self._withdrawn:
            asked = [id_ for id_ in asked if id_ not in self._withdrawn]
            self._withdrawn.clear()
        for id_ in asked:
            body = bodies.get(id_)
            if (candidate := self.fresh.pop(id_, None)) is not None and body is not None:
                ready.fresh[id_] = candidate.with_body(body)
                continue
            candidate = candidate or self.due.pop(id_, None)
            if candidate is None:
                continue
            if body is not None:
                ready.add(id_, candidate.with_body(body))
            else:
                self.add(id_, candidate)
                self._not_before = later(now, self._windows.idle_read_ms)
                self.missing_count += 1

    def on_failed(self, *, now: Instant) -> None:
        """Note that bodies could not be read."""
        self._is_asked = False
        self._withdrawn.clear()
        self._not_before = later(now, self._windows.checkpoint_ms)

    def on_clock_set_back(self, now: Instant) -> None:
        """Wait for no instant that is further ahead than it was meant."""
        self._not_before = min(self._not_before, now)
