"""Bodies that were edited: what a message holds since, in place of what it was accepted with.

`messages` is never changed.  An edition is a draft until it is confirmed, and nobody reads it.
Of two confirmed editions of a message the later stays.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from cluster.local.packed_ids import IDS, joined
from cluster.local.writer import Transaction
from pipeline.later import EditionKey, EditionRow
from pipeline.message import Body, MessageId

_WRITE: Final = "INSERT OR IGNORE INTO drafts (id, at, body) VALUES (?, ?, ?)"
_CONFIRM: Final = """
INSERT INTO editions (id, at, body) SELECT id, at, body FROM drafts WHERE id = ? AND at = ?
ON CONFLICT (id) DO UPDATE SET at = excluded.at, body = excluded.body
WHERE excluded.at > editions.at
"""
# Of what is confirmed nobody needs the draft; a late repeat may leave one, until it is swept.
_DROP_DRAFT: Final = "DELETE FROM drafts WHERE id = ? AND at = ?"
_ANY: Final = "SELECT EXISTS (SELECT 1 FROM editions)"
_OF: Final = f"{IDS} SELECT id, body FROM ids CROSS JOIN editions USING (id)"


def write(transaction: Transaction, rows: Sequence[EditionRow]) -> None:
    """Write drafts; one that is there stays as it is."""
    transaction.connection.executemany(_WRITE, [(row.id, row.at, row.body) for row in rows])


def confirm(transaction: Transaction, keys: Sequence[EditionKey]) -> None:
    """Let drafts count; of two of one id the later stays, and one that is not there is none."""
    drafts = [(key.id, key.at) for key in keys]
    transaction.connection.executemany(_CONFIRM, drafts)
    transaction.connection.executemany(_DROP_DRAFT, drafts)


def of(connection: sqlite3.Connection, ids: Sequence[MessageId]) -> dict[MessageId, Body]:
    """Return the bodies of those of the ids that were edited."""
    # Mostly nothing was: then a batch costs one look.
    if not connection.execute(_ANY).fetchone()[0]:
        return {}
    return dict(connection.execute(_OF, (joined(ids),)).fetchall())
