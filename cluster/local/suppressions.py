"""Rows of `suppressions`: who gets nothing from a tenant on a channel."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from cluster.local.packed_ids import IDS, joined
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.later import SuppressionRow

_COLUMNS: Final = "key, tenant, channel, recipient, since, reason, asked_by"
_PUT: Final = f"""
INSERT INTO suppressions ({_COLUMNS}, is_removed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    tenant = excluded.tenant, channel = excluded.channel, recipient = excluded.recipient,
    since = excluded.since, reason = excluded.reason, asked_by = excluded.asked_by,
    is_removed = excluded.is_removed
WHERE excluded.since > suppressions.since
"""
_AMONG: Final = f"""
{IDS}
SELECT {_COLUMNS} FROM ids CROSS JOIN suppressions ON key = id WHERE NOT is_removed
"""
_OF_TENANT: Final = f"""
SELECT {_COLUMNS} FROM suppressions
WHERE tenant = ? AND key > ? AND NOT is_removed ORDER BY key LIMIT ?
"""
# From tenant to tenant, not through what each of them lists.
_TENANTS: Final = """
WITH RECURSIVE listing (tenant) AS (
    SELECT min(tenant) FROM suppressions WHERE NOT is_removed
    UNION ALL
    SELECT (SELECT min(tenant) FROM suppressions WHERE NOT is_removed AND tenant > listing.tenant)
    FROM listing WHERE listing.tenant IS NOT NULL
)
SELECT tenant FROM listing WHERE tenant IS NOT NULL LIMIT ?
"""


def put(transaction: Transaction, rows: Sequence[SuppressionRow]) -> None:
    """Note suppressions; of what is told of one key the latest stays."""
    transaction.connection.executemany(_PUT, [(*row, False) for row in rows])


def remove(transaction: Transaction, keys: Sequence[bytes], *, at: Instant) -> None:
    """Let these keys be suppressed no longer, unless they are since a later instant."""
    transaction.connection.executemany(_PUT, [(key, "", "", "", at, "", "", True) for key in keys])


def read(connection: sqlite3.Connection, *, keys: Sequence[bytes]) -> dict[bytes, SuppressionRow]:
    """Return those of the keys that are suppressed."""
    return {row[0]: SuppressionRow(*row) for row in connection.execute(_AMONG, (joined(keys),))}


def of_tenant(
    connection: sqlite3.Connection, *, tenant: str, after: bytes, limit: int
) -> list[SuppressionRow]:
    """Return up to `limit` rows of a tenant behind a key, in order of key."""
    return [SuppressionRow(*row) for row in connection.execute(_OF_TENANT, (tenant, after, limit))]


def listing_tenants(connection: sqlite3.Connection, *, limit: int) -> list[str]:
    """Return up to `limit` tenants that list somebody, in order."""
    return [tenant for (tenant,) in connection.execute(_TENANTS, (limit,))]
