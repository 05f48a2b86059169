"""Rows of `receipts`: what two sides know of a provider's reference."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from cluster.scylla.verbs import Verbs, all_of
from cluster.topology.generation import Core
from pipeline.later import ReceiptRow
from pipeline.message import MessageId
from pipeline.route.receipts import OWNER

_REFS_PARTS: Final = 256

_pack: Final = msgspec.msgpack.Encoder().encode
# The row behind its key.
_Cell = tuple[bytes, bytes, str, int, int, str, int, str]
_unpack: Final = msgspec.msgpack.Decoder(_Cell).decode


class ReceiptVerbs(Verbs):
    """Of `IngestStore` and `LaneStore`."""

    async def write_receipts(self, core: Core, rows: Sequence[ReceiptRow]) -> None:
        """Write rows; one whose (ref, side, key) is there stays as it is."""
        self._known(core)
        await all_of(
            [
                self._write_rows(
                    "insert_receipt",
                    [
                        (UUID(bytes=ref), side, key, _pack(tuple(cell)))
                        for ref, side, key, *cell in rows
                    ],
                ),
                self._write_rows(
                    "insert_message_ref",
                    [
                        (self._place_of_refs(core, row.message_id), row.message_id, row.ref)
                        for row in rows
                        if row.side == OWNER
                    ],
                ),
            ]
        )

    async def read_receipts(self, core: Core, refs: Sequence[bytes]) -> list[ReceiptRow]:
        """Return the rows of these references, in order of (ref, side, key), at QUORUM."""
        self._known(core)
        rows = await self._session.read_in("select_receipts", sorted(set(refs)))
        first: dict[tuple[bytes, str, str], ReceiptRow] = {}
        for ref, side, key, cell in rows:
            place = (ref.bytes, side, key)
            if place not in first:  # of two the older stands before the other
                first[place] = ReceiptRow(*place, *_unpack(cell))
        return [first[place] for place in sorted(first)]

    async def receipts_of(self, message_id: MessageId) -> list[ReceiptRow]:
        """Return the rows of every reference that an owner knows as this message's."""

        async def at(core: Core) -> list[ReceiptRow]:
            place = self._place_of_refs(core, message_id)
            rows = await self._session.read("select_message_refs", (place, message_id))
            return await self.read_receipts(core, [ref for (ref,) in rows])

        found = await all_of(at(core) for core in self._generation.cores)
        return [row for rows in found for row in rows]

    def _place_of_refs(self, core: Core, message_id: bytes) -> UUID:
        return self._keys.of_id(core, "refs", message_id, parts=_REFS_PARTS)
