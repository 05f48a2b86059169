"""How long events live of messages that wait longer than events do.

Whether a timer still counts only the events of its message say: one that was cancelled, or sent
early, must have them until its timer is gone, or it would be taken for new and sent.  Most messages
are due long before their events end, so they have no row here; a core that has none is found out
with one small read for a batch.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cluster.scylla.verbs import Verbs, all_of
from cluster.topology.generation import Core
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import MessageId, PartitionKey, TimelineRow, TimerRow

_US_PER_S: Final = 1_000_000
_US_PER_MS: Final = 1_000


class FarTimerVerbs(Verbs):
    """Notes what is due far ahead, and looks it up."""

    async def _note_far(self, core: Core, rows: Sequence[TimerRow], *, now: Instant) -> None:
        """Note which of these timers come so late that events would end before; then write them.

        Raises `StoreUnavailable` if it may not be noted; a repeat is harmless.
        """
        windows = self._windows
        # The near horizon is more than clocks may differ, and than a row is late.
        ahead_ms = windows.timeline_ttl_ms - windows.buffer_ttl_ms - windows.near_horizon_ms
        far = [row for row in rows if row[0] - now > ahead_ms * _US_PER_MS]
        if not far:
            return
        last = max(row[0] for row in far)
        try:
            await all_of(
                [
                    self._session.write(
                        "insert_far_core", (self._far(core), last, _life_s(last, now), _rank(last))
                    ),
                    self._write_rows(
                        "insert_far_timer",
                        [
                            (pk, id_, due_at, _life_s(due_at, now), _rank(due_at))
                            for due_at, id_, pk, *_ in far
                        ],
                    ),
                ]
            )
        except WriteUnknown as error:
            # Whether it is noted is unknown; but of the timers certainly none was written.
            raise StoreUnavailable(str(error)) from error

    async def _far_lives_s(
        self, core: Core, rows: Sequence[TimelineRow], *, now: Instant
    ) -> dict[MessageId, int]:
        """Return how long events must live, of those messages for which it is longer."""
        if not await self._session.read("select_far_core", (self._far(core),)):
            return {}
        keys: dict[MessageId, PartitionKey] = {row[0]: row[1] for row in rows}
        found = await self._read_by_message(
            [(pk, id_) for id_, pk in keys.items()],
            many="select_far_timers",
            one="select_far_timer",
        )
        life_s = self._windows.timeline_ttl_ms // 1_000
        return {MessageId(id_): life_s + _life_s(due_at, now) for id_, due_at in found}

    def _far(self, core: Core) -> UUID:
        return self._keys.of_core(core, "far")


def _life_s(due_at: int, now: Instant) -> int:
    # What is due later than anybody may ask for lives as if it were asked for.
    return min(max(1, (due_at - now) // _US_PER_S), SCHEDULE_MS_MAX // 1_000)


def _rank(due_at: int) -> int:
    """Return the write timestamp of a row: of two the later due stays.

    In milliseconds, where the server counts microseconds: it refuses what it takes for the future.
    """
    return due_at // _US_PER_MS
