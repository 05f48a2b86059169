"""The store of a process, opened where it runs: the embedded one, or ScyllaDB."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings
from cluster.runtime.store_kind import StoreKind
from cluster.topology.generation import Generation
from pipeline.ports import IngestStore, LaneStore, TopologySource


class ActorStore(IngestStore, LaneStore, TopologySource, Protocol):
    """A store as actors see it, each its own part."""


def _nothing_amiss() -> list[str]:
    return []


def _nothing_served() -> tuple[int, Mapping[str, int]]:
    return 0, {}


def _nothing_refused() -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedStore:
    """A store, and how it goes."""

    store: ActorStore
    generations: Sequence[Generation]
    clock: SystemClock
    close: Callable[[], Awaitable[None]]
    # What somebody should look at though work goes on, a line each.
    warnings: Callable[[], list[str]] = _nothing_amiss
    # Of the statements that were looked at: by the owning core, and elsewhere, by statement.
    served: Callable[[], tuple[int, Mapping[str, int]]] = _nothing_served
    # Why nothing may be accepted now, None if all is well.
    refusal: Callable[[], str | None] = _nothing_refused


async def open_store(settings: Settings, data_folder: Path) -> OpenedStore:
    """Open the store of the settings for this process and its event loop.

    Raises `DataFolderUnusable`, `SettingInvalid`, `SchemaUnusable` or `StoreUnavailable`.
    """
    clock = SystemClock()
    # Each brings libraries that a process of the other need not load.
    match settings.store:
        case StoreKind.LOCAL:
            from cluster.local.store import LocalStore

            local = LocalStore.open(data_folder, cores=None, clock=clock, windows=settings.windows)
            return OpenedStore(
                store=local,
                generations=await local.read_generations(),
                clock=clock,
                close=local.close,
            )
        case StoreKind.SCYLLA:
            from actors.scylla_store import open_scylla
            from cluster.scylla.store import ScyllaStore

            opened = await open_scylla(settings, clock=clock)
            scylla = await ScyllaStore.open(
                opened.session, opened.generations[-1], clock=clock, windows=settings.windows
            )
            return OpenedStore(
                store=scylla,
                generations=opened.generations,
                clock=clock,
                close=opened.close,
                warnings=opened.keeper.warnings,
                refusal=opened.keeper.refusal,
                served=opened.session.alignment.served,
            )
        case other:
            assert_never(other)
