"""What the command line asks for people alone, beside `QueryStore`."""

from typing import Any

from cluster.scylla.queries import ScyllaQueries
from cluster.topology.generation import Core
from pipeline.errors import InputInvalid
from pipeline.instant import Instant
from pipeline.lane.takeover import GONE
from pipeline.message import MessageId

_ID_DIGITS = 32


class ScyllaInspection(ScyllaQueries):
    """The queries, and a closer look."""

    async def heard(self, core: Core) -> dict[bytes, Instant]:
        """Return when each process that serves the core was last heard of; not who said goodbye.

        By the clocks of the servers.
        """
        rows = await self._session.read("select_heard", (self._keys.of_core(core, "owners"),))
        return {owner: Instant(at) for owner, value, at in rows if value != GONE}

    async def scan(self, name: str, *, first: int, last: int) -> list[tuple[Any, ...]]:
        """Return the rows of a statement `scan_` for partitions with these tokens."""
        return await self._session.read(name, (first, last))

    def core_of(self, key: bytes) -> Core:
        """Return the core where a partition lies now."""
        return self._generation.core_of(key)

    async def ids_beginning(self, hex_digits: str, *, limit: int) -> list[MessageId]:
        """Refuse: rows lie by the hashes of ids, so all of them would have to be read."""
        raise InputInvalid(
            f"{hex_digits}: on ScyllaDB a message is found by its whole id: give all"
            f" {_ID_DIGITS} digits"
        )
