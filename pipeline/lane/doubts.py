"""Claimed messages that may be with their provider, and can be asked about (design 5.4).

They stay claimed.  A provider of class K is given the same key again, one of class Q is asked for
our id, each time after a longer wait, until it has the message or the key's life ends; then, and
for the other classes at once, the message is uncertain.  A drain leaves them claimed: the next
owner goes on where this one stopped.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from pipeline.instant import Instant, later
from pipeline.lane.editions import Unconfirmed
from pipeline.lane.window import Window
from pipeline.limits import Windows
from pipeline.message import Body, MessageId, PartitionKey
from pipeline.route.retry_policy import RetryPolicy


@dataclass(slots=True)
class Doubt:
    """One claimed message whose answer was lost, or whose owner is gone."""

    window: Window
    position: int
    since: Instant
    tries: int = 0

    @property
    def message_id(self) -> MessageId:
        """Return the message's id."""
        return self.window.message_ids[self.position]


class Doubts:
    """The messages in doubt of one owner."""

    def __init__(
        self, policy: RetryPolicy, unconfirmed: Unconfirmed, *, chance: Random, windows: Windows
    ) -> None:
        self._policy = policy
        self._unconfirmed = unconfirmed
        self._chance = chance
        self._windows = windows
        self._all: dict[tuple[int, int], Doubt] = {}
        self.message_ids: set[MessageId] = set()
        self._due: list[tuple[Instant, int, int]] = []
        self._bodyless: dict[MessageId, Doubt] = {}
        self._bodies_asked = False
        self._bodies_not_before = Instant(0)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def next_due_at(self) -> Instant | None:
        """When the next one is asked about."""
        return self._due[0][0] if self._due else None

    def add(self, doubt: Doubt, *, now: Instant) -> None:
        """Ask about a message after a while; it may have been asked about before."""
        key = (doubt.window.seq, doubt.position)
        known = self._all.setdefault(key, doubt)
        self.message_ids.add(known.message_id)
        known.tries += 1
        wait_ms = int(self._policy.backoff_ms(known.tries) * self._chance.random())
        if known.window.bodies[known.position] is None:
            self._bodyless[known.message_id] = known
        heappush(self._due, (later(now, wait_ms), *key))

    def put_back(self, doubt: Doubt, *, now: Instant) -> None:
        """Take one back that was taken, and not asked about."""
        heappush(self._due, (now, doubt.window.seq, doubt.position))

    def get(self, window: Window, position: int) -> Doubt | None:
        """Return what is in doubt of a position of a window."""
        return self._all.get((window.seq, position))

    def find(self, id_: MessageId) -> Doubt | None:
        """Return what is in doubt of a message; looks through all of them."""
        return next((doubt for doubt in self._all.values() if doubt.message_id == id_), None)

    def settle(self, window: Window, position: int) -> None:
        """Let go of a message: what became of it is known, or will not be."""
        if self._all.pop((window.seq, position), None) is not None:
            self.message_ids.discard(window.message_ids[position])

    def bodies_to_read(self, now: Instant) -> list[tuple[PartitionKey, MessageId]]:
        """Return what a predecessor claimed, and nobody can hand over without its body."""
        if not self._bodyless or self._bodies_asked or now < self._bodies_not_before:
            return []
        keys = [
            (doubt.window.partition_keys[doubt.position], id_)
            for id_, doubt in self._bodyless.items()
            # It was claimed with words that its owner knew, and the store does not give yet.
            if id_ not in self._unconfirmed
        ]
        self._bodies_asked = bool(keys)
        return keys

    def on_bodies(self, bodies: Mapping[MessageId, Body], *, now: Instant) -> None:
        """Take the answer to the read of bodies; one that lacks is asked for again."""
        self._bodies_asked = False
        self._bodies_not_before = later(now, self._windows.idle_read_ms)
        for id_ in list(self._bodyless):
            body = bodies.get(id_)
            if body is not None:
                doubt = self._bodyless.pop(id_)
                filled = list(doubt.window.bodies)
                filled[doubt.position] = body
                doubt.window.bodies = filled

    def on_bodies_failed(self, *, now: Instant) -> None:
        """Note that bodies could not be read."""
        self._bodies_asked = False
        self._bodies_not_before = later(now, self._windows.checkpoint_ms)

    def take_due(self, now: Instant) -> Iterable[Doubt]:
        """Yield those whose time has come and whose body is here."""
        waiting: list[tuple[Instant, int, int]] = []
        while self._due and self._due[0][0] <= now:
            item = heappop(self._due)
            doubt = self._all.get(item[1:])
            if doubt is None:
                continue
            if doubt.message_id in self._bodyless:
                waiting.append((later(now, self._windows.checkpoint_ms), *item[1:]))
                continue
            yield doubt
        for item in waiting:
            heappush(self._due, item)
