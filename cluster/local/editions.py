"""Bodies that were edited: what a message holds since, in place of what it was accepted with.

`messages` is never changed.  Of two editions of a message the later stays.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from cluster.local.packed_ids import IDS, joined
from cluster.local.writer import Transaction
from pipeline.later import EditionRow
from pipeline.message import Body, MessageId

_WRITE: Final = """
INSERT INTO editions (id, at, body) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET at = excluded.at, body = excluded.body
WHERE excluded.at > editions.at
"""
_ANY: Final = "SELECT EXISTS (SELECT 1 FROM editions)"
_OF: Final = f"{IDS} SELECT id, body FROM ids CROSS JOIN editions USING (id)"


def write(transaction: Transaction, rows: Sequence[EditionRow]) -> None:
    """Write rows; of two of one id the later stays."""
    transaction.connection.executemany(_WRITE, [(row.id, row.at, row.body) for row in rows])


def of(connection: sqlite3.Connection, ids: Sequence[MessageId]) -> dict[MessageId, Body]:
    """Return the bodies of those of the ids that were edited."""
    # Mostly nothing was: then a batch costs one look.
    if not connection.execute(_ANY).fetchone()[0]:
        return {}
    return dict(connection.execute(_OF, (joined(ids),)).fetchall())
