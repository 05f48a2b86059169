"""Who owns which lane, and who says that it lives, as the data folder tells it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.local.queries import LocalQueries
from cluster.topology.generation import Core
from pipeline.lane_id import LaneId
from pipeline.ports import Ownership

_SEGMENT = 0


@dataclass(frozen=True, kw_only=True)
class Owners:
    """The static cells of every lane, and the newest heartbeat of every process."""

    lanes: Mapping[LaneId, Ownership]
    beats: Mapping[bytes, int]

    def of_core(self, core: Core) -> dict[str, Ownership]:
        """The lanes of one core."""
        return {
            str(lane): ownership
            for lane, ownership in self.lanes.items()
            if (lane.node, lane.shard) == core
        }


def read_owners(data: Path) -> Owners:
    """Read a folder, whether a platform runs on it or not."""

    async def read() -> Owners:
        queries = LocalQueries.open(data)
        try:
            lanes: dict[LaneId, Ownership] = {}
            for lane in await queries.list_lanes():
                if (ownership := await queries.read_ownership(lane, _SEGMENT)) is not None:
                    lanes[lane] = ownership
            beats: dict[bytes, int] = {}
            for generation in await queries.read_generations():
                for core in generation.cores:
                    beats |= {beat.owner: beat.value for beat in await queries.read_owners(core)}
            return Owners(lanes=lanes, beats=beats)
        finally:
            await queries.close()

    return asyncio.run(read())
