"""Whether a lane may be taken, and what the answer to the attempt means (docs/protocol.md, 5.2).

Ownership is the epoch of the lane's newest segment; one conditional write steals and fences at
once.  Where an owner stopped in the middle of a roll the newest segment is closed, and whoever
opens the next one has the lane.

Whether to try it is only a matter of good manners: a living owner should be left alone.  So
heartbeats are compared with themselves, on the watcher's own clock, and with nothing else.
"""

from dataclasses import dataclass
from typing import Final

from pipeline.instant import DurationMs
from pipeline.ports import Segment

GONE: Final = 0  # the heartbeat of a process that released all its lanes
_US_PER_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Open:
    """Open the segment under this epoch, if nobody did."""

    segment: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Steal:
    """Take the segment over: the next epoch, if it is still this one."""

    segment: int
    expected_epoch: int


@dataclass(frozen=True, slots=True)
class Mine:
    """The segment is ours already, under this epoch: an earlier attempt had applied."""

    segment: int
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
    newest: Segment | None, *, me: bytes, platform: bytes, watch: OwnerWatch, boot_us: int
) -> TakeoverDecision:
    """Decide from the lane's newest segment as it was read.

    Owner ids begin with the id of the platform that started them.  Who holds the data folder's
    lock is the only platform there is, so an owner of another one is taken over without waiting;
    the epoch fences it if it still lives.  On a shared store `platform` is empty and all wait.
    """
    if newest is None:
        return Open(segment=0, epoch=1)
    epoch, owner = newest.ownership
    is_closed = epoch < 0
    if owner == me and not is_closed:
        return Mine(newest.number, epoch)
    is_anothers = owner != me and not (platform and not owner.startswith(platform))
    if is_anothers and not watch.is_silent(owner, boot_us=boot_us):
        return Wait()
    if is_closed:
        # A later epoch than that under which it was closed: who closed it cannot go on.
        return Open(newest.number + 1, -epoch + 1)
    return Steal(newest.number, epoch)
