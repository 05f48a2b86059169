"""As many actors as the load needs: what the registry wants, by what the actors tell it.

It remembers nothing that it could not do without: a registry that was restarted begins with the
places that it finds taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.names import ActorKey, IngesterKey, SchedulerKey
from actors.reconcile import Incarnation
from cluster.topology.generation import Core
from pipeline.ingest.pool import IngesterLoad, IngesterPool
from pipeline.instant import Instant
from pipeline.lane.split import LaneSplit, SchedulerLoad

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What an operator allows."""

    ingesters_min: int
    ingesters_max: int
    schedulers_per_core_max: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """One scheduler gives these lanes to another one; both are names of actors."""

    source: str
    lanes: Sequence[str]
    heir: str


@dataclass(slots=True)
class Elastic:
    """How many of each there should be."""

    bounds: Bounds
    _splits: dict[Core, LaneSplit] = field(default_factory=dict)
    _pool: IngesterPool | None = None

    def wanted(
        self, cores: Iterable[Core], actual: Iterable[Incarnation]
    ) -> set[SchedulerKey | IngesterKey]:
        """Return the places that should be served."""
        keys: list[ActorKey] = [actor.key for actor in actual if not actor.is_ending]
        cores = set(cores)
        for core in self._splits.keys() - cores:
            del self._splits[core]
        for core in cores - self._splits.keys():
            parts = [key.part for key in keys if isinstance(key, SchedulerKey) and key.core == core]
            self._splits[core] = LaneSplit(
                parts_max=self.bounds.schedulers_per_core_max, parts=1 + max(parts, default=0)
            )
        if self._pool is None:
            numbers = [key.number for key in keys if isinstance(key, IngesterKey)]
            self._pool = IngesterPool(
                size_min=self.bounds.ingesters_min,
                size_max=self.bounds.ingesters_max,
                found=1 + max(numbers, default=-1),
            )
        return {
            *(
                SchedulerKey(core, part)
                for core, split in self._splits.items()
                for part in range(split.parts)
            ),
            *(IngesterKey(number) for number in range(self._pool.size)),
        }

    def decide(
        self, actual: Iterable[Incarnation], reports: Mapping[str, Report], *, now: Instant
    ) -> list[HandOver]:
        """Take what the actors told; return which lanes move.  The next `wanted` may be another."""
        told = {
            actor.key: (actor.name, reports[actor.name])
            for actor in actual
            if actor.is_running and not actor.is_ending and actor.name in reports
        }
        self._resize_pool({key: told[key][1] for key in told}, now)
        moves = []
        for core, split in self._splits.items():
            parts = {
                key.part: told[key]
                for key in told
                if isinstance(key, SchedulerKey) and key.core == core
            }
            for move in split.decide(
                [_scheduler_load(part, report) for part, (_, report) in parts.items()],
                # They stand on one machine.
                idle=min((report["idle"] for _, report in parts.values()), default=0),
                now=now,
            ):
                moves.append(HandOver(parts[move.source][0], move.lanes, parts[move.target][0]))
        return moves

    def _resize_pool(self, told: Mapping[ActorKey, Report], now: Instant) -> None:
        ingesters = [report for key, report in told.items() if isinstance(key, IngesterKey)]
        if self._pool is not None:
            self._pool.decide(
                [
                    IngesterLoad(
                        busy=report["busy"],
                        messages_in_flight=report["messages_in_flight"],
                        overloaded_lately=bool(report["overloaded_lately"]),
                    )
                    for report in ingesters
                ],
                idle=min((report["idle"] for report in ingesters), default=0),
                now=now,
            )


def _scheduler_load(part: int, report: Report) -> SchedulerLoad:
    return SchedulerLoad(
        part=part,
        busy=report["busy"],
        lanes={
            lane["lane"]: lane["handed_over_lately"] for lane in report["lanes"] if lane["is_owned"]
        },
    )
