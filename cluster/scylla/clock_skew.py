"""How far the servers' clocks are from this process's (docs/protocol.md, I10).

A row's place in its lane is the database's time, whether it is prompt is judged by the time of the
process that accepted it; both hold only as long as no two clocks differ by more than epsilon.  All
cores of a node read one clock, so a node is asked once.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from cluster.scylla.driver import Host
from cluster.scylla.instants import instant_of
from cluster.scylla.session import ScyllaSession
from pipeline.errors import StoreUnavailable
from pipeline.ports import Clock

# Of several answers that counts which was on its way for the shortest time.
_TRIES: Final = 3
_US_PER_MS: Final = 1_000


class Skew(NamedTuple):
    """What is known of a node's clock: how far it is ahead of ours, between two bounds."""

    node: str
    least_us: int
    most_us: int

    @property
    def certain_ms(self) -> int:
        """By how much it differs at least, in either direction."""
        return max(self.least_us, -self.most_us, 0) // _US_PER_MS


async def measure_skews(session: ScyllaSession, *, clock: Clock) -> list[Skew]:
    """Return the skew of every node that answers."""
    skews = []
    for host in session.hosts_up():
        try:
            skews.append(await _skew_of(session, host, clock=clock))
        except StoreUnavailable:
            continue  # it went away: that is told elsewhere
    return skews


async def _skew_of(session: ScyllaSession, host: Host, *, clock: Clock) -> Skew:
    best: Skew | None = None
    for _ in range(_TRIES):
        begun = clock.reading()
        [(told,)] = await session.read("select_now", (), host=host)
        took_us = clock.reading().boot_us - begun.boot_us
        server = instant_of(told)
        # It was read between the request and the answer, and is cut to a microsecond.
        skew = Skew(str(host.address), server - begun.wall - took_us, server + 1 - begun.wall)
        if best is None or skew.most_us - skew.least_us < best.most_us - best.least_us:
            best = skew
    assert best is not None
    return best


def clock_fault(skews: Sequence[Skew], *, skew_ms_max: int) -> str | None:
    """Return a line about the worst clock that is certainly too far off, None if none is."""
    worst = max(skews, key=lambda one: one.certain_ms, default=None)
    if worst is None or worst.certain_ms <= skew_ms_max:
        return None
    where = "ahead of" if worst.least_us > 0 else "behind"
    return (
        f"the clock of node {worst.node} is at least {worst.certain_ms:,} ms {where} this"
        f" machine's, clock_skew_ms_max is {skew_ms_max}: set the clocks right, with NTP or"
        " chrony on every machine"
    )
