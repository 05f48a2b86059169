"""The names of actors: what they are, whom they serve, and which incarnation they are.

A name is unique to an incarnation, so that a new process is never taken for the one it replaces.
"""

from dataclasses import dataclass
from typing import Final

from cluster.topology.generation import Core

REGISTRY: Final = "registry"
_SCHEDULER: Final = "scheduler"
_INGESTER: Final = "ingester"
_LIMITER: Final = "limiter"
_RECEIVER: Final = "receiver"
_PART: Final = "+"
OWNER_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class SchedulerKey:
    """The place of a scheduler of one core; part 0 always, others while its lanes are split."""

    core: Core
    part: int = 0

    def __str__(self) -> str:
        part = f"{_PART}{self.part}" if self.part else ""
        return f"{_SCHEDULER}|{self.core.node}:{self.core.shard}{part}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        part = f", part {self.part}" if self.part else ""
        return f"the scheduler of {self.core.node}/{self.core.shard}{part}"


@dataclass(frozen=True, slots=True)
class IngesterKey:
    """The place of one ingester of the pool."""

    number: int

    def __str__(self) -> str:
        return f"{_INGESTER}|{self.number}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"ingester {self.number}"


@dataclass(frozen=True, slots=True)
class LimiterKey:
    """The place of the limiter: one for a platform that has a limit."""

    def __str__(self) -> str:
        return f"{_LIMITER}|{_LIMITER}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        return "the limiter"


@dataclass(frozen=True, slots=True)
class ReceiverKey:
    """The place of the receiver: one for a platform whose providers send receipts."""

    def __str__(self) -> str:
        return f"{_RECEIVER}|{_RECEIVER}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        return "the receiver of receipts"


ActorKey = SchedulerKey | IngesterKey | LimiterKey | ReceiverKey


def actor_name(key: ActorKey, owner: bytes) -> str:
    """Return the name of an incarnation."""
    return f"{key}|{owner.hex()}"


def parse_name(name: str) -> tuple[ActorKey, bytes] | None:
    """Return the place and the owner id of a name, None for a name that is not such a one."""
    kind, _, rest = name.partition("|")
    place, _, owner_hex = rest.partition("|")
    try:
        owner = bytes.fromhex(owner_hex)
        if len(owner) != OWNER_BYTES:
            return None
        if kind == _SCHEDULER:
            node, _, rest = place.rpartition(":")
            shard, _, part = rest.partition(_PART)
            return SchedulerKey(Core(node, int(shard)), int(part or 0)), owner
        if kind == _INGESTER:
            return IngesterKey(int(place)), owner
        if kind == place == _LIMITER:
            return LimiterKey(), owner
        if kind == place == _RECEIVER:
            return ReceiverKey(), owner
    except ValueError:
        return None
    return None
