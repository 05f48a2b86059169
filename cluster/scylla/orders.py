"""What became of commands, and what holds for groups: one cell each, of which the latest stays."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from cluster.scylla.verbs import Verbs, all_of
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.later import ORDER_FAMILIES, CommandResult, GroupOrder
from pipeline.limits import SCHEDULE_MS_MAX


class _Result(NamedTuple):
    at: int
    verdict: str
    detail: str
    counts: dict[str, int]


class _Order(NamedTuple):
    kind: str
    at: int
    command_id: bytes
    by: str


_pack: Final = msgspec.msgpack.Encoder().encode
_result: Final = msgspec.msgpack.Decoder(_Result).decode
_order: Final = msgspec.msgpack.Decoder(_Order).decode


class OrderVerbs(Verbs):
    """Of `IngestStore` and `LaneStore`."""

    async def write_results(self, core: Core, rows: Sequence[CommandResult]) -> None:
        """Write what became of commands; of two of one (command, lane) the later stays."""
        await self._write_rows(
            "insert_result",
            [
                (
                    self._keys.of_core(core, "results", row.command_id),
                    *(row.command_id, row.lane),
                    _pack(_Result(row.at, row.verdict, row.detail, dict(row.counts))),
                    row.at,
                )
                for row in rows
            ],
        )

    async def read_results(self, core: Core, command_ids: Sequence[bytes]) -> list[CommandResult]:
        """Return the results that lanes of the core wrote, in order of (command, lane)."""
        asked = sorted(set(command_ids))
        found = await all_of(
            self._session.read(
                "select_results", (self._keys.of_core(core, "results", command_id), command_id)
            )
            for command_id in asked
        )
        results = []
        for command_id, rows in zip(asked, found, strict=True):
            for lane, cell in rows:
                at, verdict, detail, counts = _result(cell)
                results.append(
                    CommandResult(command_id, lane, Instant(at), verdict, detail, counts)
                )
        return results

    async def put_group_order(self, core: Core, order: GroupOrder) -> None:
        """Note what holds for a group, for lanes of this core."""
        family = ORDER_FAMILIES[order.kind]
        cell = _pack(_Order(order.kind, order.at, order.command_id, order.by))
        place = self._keys.of_core(core, "orders")
        life_s = (SCHEDULE_MS_MAX + self._windows.messages_ttl_ms) // 1_000
        await self._session.write(
            "insert_order", (place, order.group, family, cell, life_s, order.at)
        )

    async def read_group_orders(self, core: Core) -> list[GroupOrder]:
        """Return the orders that hold, in order of (group, family)."""
        rows = await self._session.read("select_orders", (self._keys.of_core(core, "orders"),))
        orders = []
        for group, cell in rows:
            kind, at, command_id, by = _order(cell)
            orders.append(GroupOrder(group, kind, Instant(at), command_id, by))
        return orders
