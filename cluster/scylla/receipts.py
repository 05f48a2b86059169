"""Rows of `receipts`: what two sides know of a provider's reference."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from cluster.scylla.verbs import Verbs, all_of
from cluster.topology.generation import Core
from pipeline.later import ReceiptRow

_pack: Final = msgspec.msgpack.Encoder().encode
# The row behind its key.
_Cell = tuple[bytes, bytes, str, int, int, str, int, str]
_unpack: Final = msgspec.msgpack.Decoder(_Cell).decode


class ReceiptVerbs(Verbs):
    """Of `IngestStore` and `LaneStore`."""

    async def write_receipts(self, core: Core, rows: Sequence[ReceiptRow]) -> None:
        """Write rows; one whose (ref, side, key) is there stays as it is."""
        self._known(core)
        await self._write_rows(
            "insert_receipt",
            [(UUID(bytes=ref), side, key, _pack(tuple(cell))) for ref, side, key, *cell in rows],
        )

    async def read_receipts(self, core: Core, refs: Sequence[bytes]) -> list[ReceiptRow]:
        """Return the rows of these references, in order of (ref, side, key), at QUORUM."""
        self._known(core)
        asked = sorted(set(refs))
        found = await all_of(
            self._session.read("select_receipts", (UUID(bytes=ref),)) for ref in asked
        )
        first: dict[tuple[bytes, str, str], ReceiptRow] = {}
        for ref, rows in zip(asked, found, strict=True):
            for side, key, cell in rows:
                first.setdefault((ref, side, key), ReceiptRow(ref, side, key, *_unpack(cell)))
        return list(first.values())
