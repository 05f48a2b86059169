"""Partition keys: forged for what belongs to a lane or a core, so that it lies on that core."""

from collections.abc import Sequence
from enum import IntEnum
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

from cluster.topology.generation import Core, CoreUnknown, Generation
from pipeline.lane_id import LaneId

_LANES_MAX: Final = 4_096


class Kind(IntEnum):
    """What a partition of a lane holds; part of the key, so a number keeps its meaning."""

    BUFFER = 1
    COMMANDS = 2
    TIMERS = 3
    SEGMENT = 4
    HINT = 5
    SLICES = 6
    BOOKS = 7


class Keys:
    """The keys of the generations that a process knows."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._generations = {generation.number: generation for generation in generations}
        self._forge = lru_cache(_LANES_MAX)(self._forged)
        self._first_generation_of = cache(self._find_first_generation_of)

    def of_lane(self, lane: LaneId, kind: Kind, number: int = 0) -> UUID:
        """Return the key of a lane's partition.

        A lane has the keys of its own generation for as long as it exists.  Raises `CoreUnknown`
        for one of a generation that is not known: in another ring its rows would be looked for
        where they never were.
        """
        if lane.generation not in self._generations:
            raise CoreUnknown(f"lane {lane} is of a generation that is not known")
        core = Core(lane.node, lane.shard)
        return self._forge(lane.generation, core, f"{lane}/{int(kind)}/{number}")

    def of_core(self, core: Core, what: str, part: bytes = b"") -> UUID:
        """Return the key of a partition that belongs to a core; raises `CoreUnknown`.

        It is that of the first generation in which the core owns anything.  So it stays when others
        follow, and two processes of which one knows of a later one look in the same place; in the
        newest ring they would not, and what was written before would be gone from view.
        """
        return self._forge(self._first_generation_of(core), core, f"{what}/{part.hex()}")

    def of_id(self, core: Core, what: str, id_: bytes, *, parts: int) -> UUID:
        """Return the key of that of a core's partitions (at most 256) where what is of an id lies.

        The end of every id is as good as random, or counts messages that were sent together.
        """
        return self.of_core(core, what, bytes([id_[-1] % parts]))

    def _find_first_generation_of(self, core: Core) -> int:
        # In the order of their numbers: the caller may have them in any.
        for number, generation in sorted(self._generations.items()):
            if core in generation.cores and not generation.owns_nothing(core):
                return number
        raise CoreUnknown(f"{core} owns nothing in any generation that is known")

    def _forged(self, number: int, core: Core, name: str) -> UUID:
        nonce = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
        return UUID(bytes=self._generations[number].forged_key(core, nonce))
