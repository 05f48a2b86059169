"""Rows of `suppressions`: who gets nothing, and of which tenants there are such.

`suppressions` is what counts.  `listed` says of a core which tenants have keys there; it may name
one too many, where a removal and an older row that came late passed each other, and none too few.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from cluster.scylla.verbs import Verbs
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.later import SuppressionRow

_KEYS_AT_ONCE: Final = 256


class _Cell(NamedTuple):
    """What stands of a key; nothing but the instant, if it was removed."""

    since: int
    tenant: str | None
    channel: str
    recipient: str
    reason: str
    by: str


_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(_Cell).decode


class SuppressionVerbs(Verbs):
    """Of `IngestStore` and `LaneStore`."""

    async def put_suppressions(self, core: Core, rows: Sequence[SuppressionRow]) -> None:
        """Note suppressions; of what is told of one key the latest stays."""
        place = self._keys.of_core(self._known(core), "suppressions")
        # Listed first: what is suppressed is always found by its tenant.
        await self._write_rows(
            "insert_listed", [(place, row.tenant, row.key, False, row.since) for row in rows]
        )
        await self._write_rows(
            "insert_suppression",
            [
                (
                    UUID(bytes=row.key),
                    _pack(
                        _Cell(
                            *(row.since, row.tenant, row.channel),
                            *(row.recipient, row.reason, row.by),
                        )
                    ),
                    row.since,
                )
                for row in rows
            ],
        )

    async def remove_suppressions(self, core: Core, keys: Sequence[bytes], *, at: Instant) -> None:
        """Let these keys be suppressed no longer, unless they are since a later instant."""
        stand = await self.read_suppressions(core, keys)
        gone = _pack(_Cell(at, None, "", "", "", ""))
        await self._write_rows("insert_suppression", [(UUID(bytes=key), gone, at) for key in keys])
        place = self._keys.of_core(core, "suppressions")
        await self._write_rows(
            "insert_listed", [(place, row.tenant, key, True, at) for key, row in stand.items()]
        )

    async def read_suppressions(
        self, core: Core, keys: Sequence[bytes]
    ) -> dict[bytes, SuppressionRow]:
        """Return those of the keys that are suppressed."""
        self._known(core)
        stand = {}
        for found, packed in await self._session.read_in("select_suppressions", keys):
            cell = _unpack(packed)
            if cell.tenant is not None:
                key = found.bytes
                stand[key] = SuppressionRow(
                    *(key, cell.tenant, cell.channel, cell.recipient),
                    *(Instant(cell.since), cell.reason, cell.by),
                )
        return stand

    async def read_listing_tenants(self, core: Core, *, limit: int) -> list[str]:
        """Return up to `limit` tenants that have a suppression at this core, in order."""
        place = self._keys.of_core(self._known(core), "suppressions")
        tenants: list[str] = []
        tenant = ""
        while len(tenants) < limit:
            rows = await self._session.read("select_next_listed", (place, tenant))
            if not rows:
                break
            tenant = rows[0][0]
            if await self._has_any(place, tenant):
                tenants.append(tenant)
        return tenants

    async def _has_any(self, place: UUID, tenant: str) -> bool:
        key = b""
        while True:
            rows = await self._session.read("select_listed", (place, tenant, key, _KEYS_AT_ONCE))
            if any(not is_removed for _key, is_removed in rows):
                return True
            if len(rows) < _KEYS_AT_ONCE:
                return False
            key = rows[-1][0]
