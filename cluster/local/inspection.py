"""What only an embedded store can tell the command line, beside `QueryStore`."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from cluster.local.core_snapshot import CoreSnapshot, open_snapshot
from cluster.local.queries import LocalQueries
from cluster.local.read_only import connect_read_only
from cluster.local.schema import schema_version
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.message import MessageId

_HEARD: Final = "SELECT owner, at FROM owners WHERE value != 0"
_IDS_BETWEEN: Final = "SELECT id FROM body_ids WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
_ID_DIGITS: Final = 32


class LocalInspection(LocalQueries):
    """The queries, and a closer look."""

    async def heard(self, core: Core) -> dict[bytes, Instant]:
        """Return when each process that serves the core was last heard of; not who said goodbye.

        To be shown to people.  Nothing may be decided by it: clocks differ.
        """
        return await self._read(core, _heard, {})

    async def ids_beginning(self, hex_digits: str, *, limit: int) -> list[MessageId]:
        """Return up to `limit` ids of stored messages that begin with these digits."""
        first = bytes.fromhex(hex_digits.ljust(_ID_DIGITS, "0"))
        last = bytes.fromhex(hex_digits.ljust(_ID_DIGITS, "f"))
        found: list[MessageId] = []
        for core in self._generation.cores:
            read = partial(_ids_between, first=first, last=last, limit=limit - len(found))
            found += await self._read(core, read, [])
        return found

    @contextmanager
    def snapshot(self, core: Core) -> Iterator[CoreSnapshot | None]:
        """Give the core's file as it stands now; None if nothing was ever written to it.

        Raises `StoreUnavailable`.
        """
        path = self._paths[core]
        if self._is_untouched(core) or not _has_tables(path):
            yield None
            return
        with open_snapshot(path) as view:
            yield view


def _has_tables(path: Path) -> bool:
    # One that cannot be read is opened all the same, and then told of.
    with suppress(sqlite3.Error), closing(connect_read_only(path)) as connection:
        return schema_version(connection) > 0
    return True


def _heard(connection: sqlite3.Connection) -> dict[bytes, Instant]:
    return {owner: Instant(at) for owner, at in connection.execute(_HEARD)}


def _ids_between(
    connection: sqlite3.Connection, *, first: bytes, last: bytes, limit: int
) -> list[MessageId]:
    return [MessageId(id_) for (id_,) in connection.execute(_IDS_BETWEEN, (first, last, limit))]
