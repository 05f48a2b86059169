"""Rows of `receipts`: what the two sides of a provider's reference know of it."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from cluster.local.packed_ids import IDS, joined
from cluster.local.writer import Transaction
from pipeline.later import ReceiptRow
from pipeline.message import MessageId

_COLUMNS: Final = "ref, side, key, message_id, pk, lane, event, at, detail, born, group_key"
_INSERT: Final = f"""
INSERT OR IGNORE INTO receipts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_OF_REFS: Final = f"""
{IDS}
SELECT {_COLUMNS} FROM receipts WHERE ref IN (SELECT id FROM ids) ORDER BY ref, side, key
"""
_OF_MESSAGE: Final = f"""
SELECT {_COLUMNS} FROM receipts
WHERE ref IN (SELECT ref FROM receipts WHERE side = 'owner' AND message_id = ?)
ORDER BY ref, side, key
"""


def write(transaction: Transaction, rows: Sequence[ReceiptRow]) -> None:
    """Write rows; one that is there stays as it is."""
    transaction.connection.executemany(_INSERT, rows)


def read(connection: sqlite3.Connection, *, refs: Sequence[bytes]) -> list[ReceiptRow]:
    """Return the rows of these references."""
    return [ReceiptRow(*row) for row in connection.execute(_OF_REFS, (joined(refs),))]


def of_message(connection: sqlite3.Connection, *, message_id: MessageId) -> list[ReceiptRow]:
    """Return the rows of every reference that an owner knows as this message's."""
    return [ReceiptRow(*row) for row in connection.execute(_OF_MESSAGE, (message_id,))]
