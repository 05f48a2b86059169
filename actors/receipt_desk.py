"""Notes what one side knows of references, and acts where the other side was there before.

The same for both sides, the lane's owner and a receiver: write the rows, read their partitions,
tell the lanes of the messages what their providers say.  A call that failed is made again, by the
owner's lane or by the provider: nothing of it does harm twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from cluster.topology.generation import Core, Generation
from pipeline.ingest.accept import core_of
from pipeline.ingest.recipient_mask import mask_recipient
from pipeline.lane_id import LaneId
from pipeline.later import CommandWriter, ReceiptRow, Receipts, SuppressionRow, Suppressions
from pipeline.message import Body, MessageId, PartitionKey, Submission, decode_body
from pipeline.route.receipts import Match, commands_by_lane, matches, suppression_reason
from pipeline.route.suppression import SuppressionReason, suppression_key


class ReceiptStore(Receipts, CommandWriter, Suppressions, Protocol):
    """What the desk needs of a store."""

    async def read_bodies(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, Body]:
        """Return the bodies that exist, by id."""
        ...


class ReceiptDesk:
    """One for a lane, or for a receiver."""

    def __init__(self, store: ReceiptStore, generation: Generation) -> None:
        self._store = store
        self._generation = generation

    async def note(self, rows: Sequence[ReceiptRow]) -> list[Match]:
        """Write the rows, read their references, and write the commands that follow, durably.

        Returns what was matched.  Raises `StoreUnavailable` or `WriteUnknown`; then all of it is to
        be done again.
        """
        met = [
            match
            for part in await asyncio.gather(
                *(self._note(core, part) for core, part in self._by_core(rows).items())
            )
            for match in part
        ]
        await self._suppress(met)
        await asyncio.gather(
            *(
                self._store.write_commands(LaneId.parse(lane), commands)
                for lane, commands in commands_by_lane(met).items()
            )
        )
        return met

    async def _suppress(self, met: Sequence[Match]) -> None:
        """Note whom nothing more should go to, as who got the message says."""
        found = [
            (match, reason) for match in met if (reason := suppression_reason(match)) is not None
        ]
        by_lane: dict[str, list[tuple[Match, SuppressionReason]]] = {}
        for item in found:
            by_lane.setdefault(item[0].owner.lane, []).append(item)
        for lane, items in by_lane.items():
            keys = [
                (PartitionKey(match.owner.pk), MessageId(match.owner.message_id))
                for match, _ in items
            ]
            bodies = await self._store.read_bodies(core_of(LaneId.parse(lane)), keys)
            for match, reason in items:
                # A body past its time to live names nobody any more.
                body = bodies.get(MessageId(match.owner.message_id))
                if body is not None:
                    row = _suppression(decode_body(body), match, reason)
                    await self._store.put_suppressions(self._generation.core_of(row.key), [row])

    def _by_core(self, rows: Sequence[ReceiptRow]) -> Mapping[Core, list[ReceiptRow]]:
        cores, by_core = self._generation.cores, dict[Core, list[ReceiptRow]]()
        indexes = self._generation.core_indexes_of([row.ref for row in rows]).tolist()
        for row, index in zip(rows, indexes, strict=True):
            by_core.setdefault(cores[index], []).append(row)
        return by_core

    async def _note(self, core: Core, rows: Sequence[ReceiptRow]) -> list[Match]:
        await self._store.write_receipts(core, rows)
        # Only now: whoever writes later than this reads what was written here.
        refs = list(dict.fromkeys(row.ref for row in rows))
        return matches(await self._store.read_receipts(core, refs), rows)


def _suppression(message: Submission, match: Match, reason: SuppressionReason) -> SuppressionRow:
    return SuppressionRow(
        key=suppression_key(message.tenant, message.channel, message.recipient),
        tenant=message.tenant,
        channel=message.channel,
        recipient=mask_recipient(message.channel, message.recipient),
        since=match.provider.at,
        reason=reason,
        by="provider",
    )
