"""Whoever stands beside the provider and knows in which order messages were accepted."""

import random
from collections.abc import Callable

from pipeline.instant import Instant
from pipeline.lifecycle import EVENT_MASK, RESOLVED_FROM, Event
from pipeline.message import MessageId, PartitionKey, is_ordered

KEYS_MAX = 4


class OrderWatch:
    """Gives ordering keys to messages of the seeded world, and holds hand-overs to their order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._share = self.chance.choice([0.0, 0.2, 0.8])
        self._keys = [
            PartitionKey(self.chance.randbytes(16))
            for _ in range(self.chance.randrange(1, KEYS_MAX + 1))
        ]
        self._pks: dict[MessageId, PartitionKey] = {}
        self._first_at: dict[MessageId, Instant] = {}
        self._lines: dict[PartitionKey, list[MessageId]] = {}
        self.given_count = self.followed_count = 0

    def give(self, id_: MessageId) -> bool:
        """Perhaps let a message have a key; return whether it has."""
        if self.chance.random() >= self._share:
            return False
        self._pks[id_] = self.chance.choice(self._keys)
        self.given_count += 1
        return True

    def pk(self, id_: MessageId) -> PartitionKey:
        return self._pks.get(id_, PartitionKey(id_))

    def on_row(self, id_: MessageId, at: Instant) -> None:
        """A row of a message landed; the first one says where in the line it stands."""
        if is_ordered(self.pk(id_), id_) and id_ not in self._first_at:
            self._first_at[id_] = at
            self._lines.setdefault(self.pk(id_), []).append(id_)

    def check_hand_over(
        self,
        id_: MessageId,
        *,
        newest_step: Callable[[MessageId], int],
        copies: Callable[[MessageId], int],
        is_overruled: Callable[[MessageId], bool],
    ) -> None:
        """A copy leaves for the first time: those before it are final, none behind it left."""
        line = self._lines.get(self.pk(id_), [])
        if id_ not in line or is_overruled(id_):
            return
        place = line.index(id_)
        self.followed_count += place > 0
        for earlier in line[:place]:
            is_final = newest_step(earlier) & EVENT_MASK >= RESOLVED_FROM
            assert is_final or is_overruled(earlier), "handed over before its predecessor was final"
        for behind in line[place + 1 :]:
            assert not copies(behind), "handed over behind its successor"

    def check_claim(self, id_: MessageId, newest_step: Callable[[MessageId], int]) -> None:
        """Nobody else of the line is claimed."""
        for other in self._lines.get(self.pk(id_), []):
            assert other == id_ or newest_step(other) & EVENT_MASK != Event.CLAIM, (
                "two claims of one key"
            )
