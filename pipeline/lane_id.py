"""The name of a lane, and the bands that keep apart what must not wait for each other."""

import re
from hashlib import blake2b
from typing import Final, NamedTuple

from pipeline.message import PRIORITIES

BANDS_PER_PRIORITY: Final = 8
_NAME = re.compile(
    r"(?P<generation>[0-9]+)\.(?P<node>[A-Za-z0-9-]+)\.(?P<shard>[0-9]+)"
    r"\.(?P<channel>[a-z0-9]+)\.(?P<band>urgent|(?:normal|bulk)-[0-9]+)"
)


def band_of(*, tenant: str, priority: str) -> str:
    """Return `urgent`, `normal-k` or `bulk-k`, k a hash of the tenant modulo 8.

    The mapping is part of the generation: it changes only with one.
    """
    assert priority in PRIORITIES, priority
    if priority == "urgent":
        return priority
    digest = blake2b(tenant.encode(), digest_size=8).digest()
    return f"{priority}-{int.from_bytes(digest) % BANDS_PER_PRIORITY}"


class LaneId(NamedTuple):
    """(generation, node, shard, channel, band): the unit of exclusive consumption."""

    generation: int
    node: str
    shard: int
    channel: str
    band: str

    def __str__(self) -> str:
        """Return the name, which is safe as a file name; `parse` reads it back."""
        return f"{self.generation}.{self.node}.{self.shard}.{self.channel}.{self.band}"

    @classmethod
    def for_messages(
        cls, generation: int, place: tuple[str, int], *, tenant: str, channel: str, priority: str
    ) -> "LaneId":
        """Return where a tenant's messages go that lie at this (node, shard)."""
        return cls(generation, *place, channel, band_of(tenant=tenant, priority=priority))

    @classmethod
    def parse(cls, name: str) -> "LaneId":
        """Return the lane of a name; raises ValueError if it is not one."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"not a lane's name: {name!r}")
        return cls(
            int(match["generation"]),
            match["node"],
            int(match["shard"]),
            match["channel"],
            match["band"],
        )
