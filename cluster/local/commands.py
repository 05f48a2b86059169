"""Rows of `commands` and what became of them: `results`, and the orders that hold for groups."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from cluster.local.packed_ids import IDS, joined
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.later import (
    ORDER_FAMILIES,
    CommandEntry,
    CommandPage,
    CommandResult,
    CommandRow,
    GroupOrder,
)

_INSERT: Final = "INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PAGE: Final = """
SELECT at, id, kind, message_id, pk, group_key, asked_by, payload FROM commands
WHERE lane = ? AND at >= ? AND at <= ? ORDER BY at LIMIT ?
"""
_WRITE_RESULT: Final = """
INSERT INTO results (id, lane, at, verdict, detail, counts) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id, lane) DO UPDATE SET
    at = excluded.at, verdict = excluded.verdict, detail = excluded.detail, counts = excluded.counts
WHERE excluded.at > results.at
"""
_RESULTS: Final = f"""
{IDS}
SELECT id, lane, at, verdict, detail, counts FROM results WHERE id IN (SELECT id FROM ids)
ORDER BY id, lane
"""
_PUT_ORDER: Final = """
INSERT INTO group_orders (group_key, family, kind, at, id, asked_by) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (group_key, family) DO UPDATE SET
    kind = excluded.kind, at = excluded.at, id = excluded.id, asked_by = excluded.asked_by
WHERE excluded.at > group_orders.at
"""
_ORDERS: Final = """
SELECT group_key, kind, at, id, asked_by FROM group_orders ORDER BY group_key, family
"""

_RESUME_BYTES: Final = 8

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(dict[str, int]).decode


def write(transaction: Transaction, entries: Sequence[CommandEntry], *, lane: str) -> None:
    """Append entries; they get instants in a row."""
    first_at = transaction.give_at(len(entries))
    transaction.connection.executemany(
        _INSERT, [(lane, first_at + n, *entry) for n, entry in enumerate(entries)]
    )


def read_page(
    connection: sqlite3.Connection,
    *,
    lane: str,
    from_at: Instant,
    through_at: Instant,
    limit: int,
    resume: bytes | None,
) -> CommandPage:
    """Return up to `limit` rows with from_at <= at <= through_at, in order."""
    start_at = from_at if resume is None else Instant(int.from_bytes(resume))
    found = connection.execute(_PAGE, (lane, start_at, through_at, limit + 1)).fetchall()
    rows: list[CommandRow] = [(Instant(at), CommandEntry(*entry)) for at, *entry in found[:limit]]
    place = found[limit][0].to_bytes(_RESUME_BYTES) if len(found) > limit else None
    return CommandPage(rows, place)


def write_results(transaction: Transaction, rows: Sequence[CommandResult]) -> None:
    """Write rows; of two of one (command, lane) the later stays."""
    transaction.connection.executemany(
        _WRITE_RESULT, [(*row[:-1], _pack(dict(row.counts))) for row in rows]
    )


def read_results(
    connection: sqlite3.Connection, *, command_ids: Sequence[bytes]
) -> list[CommandResult]:
    """Return the results of these commands."""
    rows = connection.execute(_RESULTS, (joined(command_ids),))
    return [
        CommandResult(id_, lane, at, verdict, detail, _unpack(counts))
        for id_, lane, at, verdict, detail, counts in rows
    ]


def put_group_order(transaction: Transaction, order: GroupOrder) -> None:
    """Note an order, unless a later one of its family is there."""
    family = ORDER_FAMILIES[order.kind]
    transaction.connection.execute(_PUT_ORDER, (order.group, family, *order[1:]))


def read_group_orders(connection: sqlite3.Connection) -> list[GroupOrder]:
    """Return the orders that hold."""
    return [GroupOrder(*row) for row in connection.execute(_ORDERS)]
