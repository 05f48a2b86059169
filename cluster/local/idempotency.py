"""Rows of `idem`: which keys of clients were used before, and for what."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from cluster.local.packed_ids import IDS, joined, split
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.ports import IdempotencyRow

_INSERT: Final = "INSERT OR IGNORE INTO idem (id, body_hash, born) VALUES (?, ?, ?)"
_STANDING: Final = f"""
{IDS}
SELECT CAST(group_concat(body_hash, '') AS BLOB), group_concat(born)
FROM ids CROSS JOIN idem USING (id)
"""


def put(transaction: Transaction, rows: Sequence[IdempotencyRow]) -> list[IdempotencyRow]:
    """Insert each row whose id is absent; return, in order, the rows that now stand."""
    transaction.connection.executemany(_INSERT, rows)
    return _standing(transaction.connection, [row.id for row in rows])


def _standing(connection: sqlite3.Connection, ids: Sequence[bytes]) -> list[IdempotencyRow]:
    hashes, borns = connection.execute(_STANDING, (joined(ids),)).fetchone()
    return [
        IdempotencyRow(key, body_hash, Instant(int(born)))
        for key, body_hash, born in zip(ids, split(hashes), borns.split(","), strict=True)
    ]
