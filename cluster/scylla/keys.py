"""Partition keys: forged for what belongs to a lane or a core, so that it lies on that core."""

from enum import IntEnum
from functools import lru_cache
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
    """The keys of one generation."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._forge = lru_cache(_LANES_MAX)(self._forged)

    def of_lane(self, lane: LaneId, kind: Kind, number: int = 0) -> UUID:
        """Return the key of a lane's partition.

        Raises `CoreUnknown` for a lane of another generation: in this one's ring its rows would be
        looked for where they never were.
        """
        if lane.generation != self._generation.number:
            raise CoreUnknown(f"lane {lane} is not of generation {self._generation.number}")
        core = Core(lane.node, lane.shard)
        return self._forge(core, f"{lane}/{int(kind)}/{number}")

    def of_core(self, core: Core, what: str, part: bytes = b"") -> UUID:
        """Return the key of a partition that belongs to a core."""
        return self._forge(core, f"{what}/{part.hex()}")

    def of_id(self, core: Core, what: str, id_: bytes, *, parts: int) -> UUID:
        """Return the key of that of a core's partitions (at most 256) where what is of an id lies.

        The end of every id is as good as random, or counts messages that were sent together.
        """
        return self.of_core(core, what, bytes([id_[-1] % parts]))

    def _forged(self, core: Core, name: str) -> UUID:
        nonce = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
        return UUID(bytes=self._generation.forged_key(core, nonce))
