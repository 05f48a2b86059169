"""Who must not be written to, as a scheduler learns it: the lists are spread over all cores."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from cluster.topology.generation import Core, Generation
from pipeline.errors import StoreUnavailable
from pipeline.lane.suppressions import ListingTenants
from pipeline.later import SuppressionLists
from pipeline.limits import LISTING_TENANTS_MAX, LISTING_TENANTS_READ_MS
from pipeline.ports import Clock
from pipeline.route.suppression import SuppressionKey

log = structlog.get_logger(__name__)

_MS_PER_S: Final = 1_000


class ListingWatch:
    """Keeps `ListingTenants` up to date for the lanes of a process."""

    def __init__(
        self,
        store: SuppressionLists,
        generations: Sequence[Generation],
        lists: ListingTenants,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._cores = sorted({core for one in generations for core in one.cores})
        self._lists = lists
        self._clock = clock

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LISTING_TENANTS_READ_MS / _MS_PER_S)
            await self.look()

    async def look(self) -> None:
        """Read which tenants have a list.

        If a core does not answer nothing is known after a while, and lanes ask about everybody.
        """
        began_at = self._clock.now()
        limit = LISTING_TENANTS_MAX + 1
        try:
            found = await asyncio.gather(
                *(self._store.read_listing_tenants(core, limit=limit) for core in self._cores)
            )
        except StoreUnavailable as error:
            log.warning("lists_not_read", error=str(error))
            return
        tenants = {tenant for one in found for tenant in one}
        is_told = len(tenants) <= LISTING_TENANTS_MAX
        self._lists.on_read(tenants if is_told else None, as_of=began_at)


async def read_suppressions(
    store: SuppressionLists, generation: Generation, keys: Sequence[SuppressionKey]
) -> Mapping[SuppressionKey, str | None]:
    """Return why each key is on a list, None: is on none; keys that could not be read are missing.

    A key belongs to the core of its own token.
    """
    by_core: dict[Core, list[SuppressionKey]] = {}
    for key in keys:
        by_core.setdefault(generation.core_of(key), []).append(key)
    answers = await asyncio.gather(
        *(store.read_suppressions(core, mine) for core, mine in by_core.items()),
        return_exceptions=True,
    )
    found: dict[SuppressionKey, str | None] = {}
    for mine, answer in zip(by_core.values(), answers, strict=True):
        match answer:
            case StoreUnavailable():
                log.warning("suppressions_not_read", error=str(answer))
            case BaseException():
                raise answer
            case _:
                for key in mine:
                    row = answer.get(key)
                    found[key] = None if row is None else row.reason
    return found
