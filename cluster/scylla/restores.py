"""When a keyspace was brought back from a backup: nothing in its rows says so, its operator does.

What waits in a restored keyspace may have been handed over since the backup was taken; the lanes
hand over nothing of that by themselves (`pipeline/lane/restored.py`).  They ask when they are taken
over, so the mark is written while nobody owns any.
"""

import asyncio
from typing import Final
from uuid import UUID

from cluster.scylla import generations
from cluster.scylla.keys import Keys
from cluster.scylla.session import ScyllaSession
from pipeline.errors import PlatformHeld
from pipeline.instant import Instant, later
from pipeline.lane.takeover import GONE
from pipeline.limits import Windows
from pipeline.ports import Clock

_ONLY: Final = UUID(int=0)
_BEATS_MISSED: Final = 5  # by whoever is silent

# Of each process at each core, the number of its last heartbeat.
_Beats = dict[tuple[UUID, bytes], int]


async def mark(session: ScyllaSession, *, clock: Clock, windows: Windows) -> Instant:
    """Note that the keyspace was restored, and return since when its rows may be trusted.

    After every `at` that is in it, and before every `at` to come: clocks differ by the skew at
    most, in both directions.  A repeat moves the mark on.  Raises `PlatformHeld` if a platform runs
    on the keyspace, `StoreUnavailable` or `WriteUnknown`.
    """
    before = await _beats(session)
    await asyncio.sleep(_BEATS_MISSED * windows.heartbeat_ms / 1_000)
    if any(value not in (GONE, before.get(who)) for who, value in (await _beats(session)).items()):
        raise PlatformHeld(
            "a platform runs on the keyspace: stop it first; it would go on as if nothing had been"
            " restored"
        )
    restored_at = later(clock.now(), windows.clock_skew_ms_max)
    await session.write("insert_restore", (_ONLY, restored_at))
    await asyncio.sleep(2 * windows.clock_skew_ms_max / 1_000)
    return restored_at


async def newest(session: ScyllaSession) -> Instant | None:
    """Return when the keyspace was last restored, None if nobody ever said so."""
    rows = await session.read("select_restored", (_ONLY,))
    return Instant(rows[0][0]) if rows else None


async def _beats(session: ScyllaSession) -> _Beats:
    found = await generations.read_all(session)
    keys = Keys(found)
    beats: _Beats = {}
    for core in dict.fromkeys(core for generation in found for core in generation.cores):
        place = keys.of_core(core, "owners")
        for owner, _, value in await session.read("select_owners", (place,)):
            beats[place, owner] = value
    return beats
