"""Whether a lane may be taken, and what the answer to the attempt means (docs/protocol.md, 5.2).

Ownership is the epoch of the lane's current segment; one conditional write steals and fences at
once.  Whether to try it is only a matter of good manners: a living owner should be left alone.  So
heartbeats are compared with themselves, on the watcher's own clock, and with nothing else.
"""

from dataclasses import dataclass
from typing import Final

from pipeline.instant import DurationMs
from pipeline.ports import Ownership

GONE: Final = 0  # the heartbeat of a process that released all its lanes
_US_PER_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Open:
    """Open the lane's first segment, with epoch 1."""


@dataclass(frozen=True, slots=True)
class Steal:
    """Take over: the next epoch, if it is still this one."""

    expected_epoch: int


@dataclass(frozen=True, slots=True)
class Mine:
    """It is ours already, under this epoch: an earlier attempt had applied."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Its owner may be alive; look again later."""


TakeoverDecision = Open | Steal | Mine | Wait


class OwnerWatch:
    """Tells the silent owners from the living, by two reads of one row at least D apart."""

    def __init__(self, *, steal_after_ms: DurationMs) -> None:
        self._steal_after_us = steal_after_ms * _US_PER_MS
        self._seen: dict[bytes, tuple[int | None, int]] = {}

    def observe(self, owner: bytes, value: int | None, *, boot_us: int) -> None:
        """Note what an owner's heartbeat row said (None: no row) when read at `boot_us`."""
        known = self._seen.get(owner)
        if known is None or known[0] != value:
            self._seen[owner] = (value, boot_us)

    def is_silent(self, owner: bytes, *, boot_us: int) -> bool:
        """Return whether the owner released its lanes, or showed no new beat for D."""
        known = self._seen.get(owner)
        if known is None:
            return False
        value, since_us = known
        return value == GONE or boot_us - since_us >= self._steal_after_us


def decide_takeover(
    ownership: Ownership | None, *, me: bytes, platform: bytes, watch: OwnerWatch, boot_us: int
) -> TakeoverDecision:
    """Decide from the static cells as they were read.

    Owner ids begin with the id of the platform that started them.  Who holds the data folder's
    lock is the only platform there is, so an owner of another one is taken over without waiting;
    the epoch fences it if it still lives.  On a shared store `platform` is empty and all wait.
    """
    if ownership is None:
        return Open()
    if ownership.owner == me:
        return Mine(ownership.epoch)
    if platform and not ownership.owner.startswith(platform):
        return Steal(ownership.epoch)
    if watch.is_silent(ownership.owner, boot_us=boot_us):
        return Steal(ownership.epoch)
    return Wait()
