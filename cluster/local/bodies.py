"""Rows of `messages`: blocks of bodies, and the tree that finds the block of an id."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cluster.local import editions
from cluster.local.blocks import BodyBlock, pack_bodies, split_bodies, unpack_bodies
from cluster.local.packed_ids import IDS, joined, split
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.message import Body, MessageId, MessageRow

_NEXT_BLOCK: Final = "SELECT coalesce(max(block), 0) + 1 FROM bodies"
_INSERT_IDS: Final = f"INSERT OR IGNORE INTO body_ids {IDS} SELECT id, ?2 FROM ids"
_IDS_OF_BLOCK: Final = f"""
{IDS}
SELECT CAST(group_concat(id, '') AS BLOB) FROM ids CROSS JOIN body_ids USING (id) WHERE block = ?2
"""
_INSERT_BLOCK: Final = "INSERT INTO bodies (block, born_max, packed) VALUES (?, ?, ?)"
_INSERT_GROUP: Final = "INSERT INTO by_group (group_key, block) VALUES (?, ?)"

_KEEP: Final = f"""
INSERT INTO kept_bodies (block, until)
{IDS} SELECT DISTINCT block, ?2 FROM ids CROSS JOIN body_ids USING (id) WHERE true
ON CONFLICT (block) DO UPDATE SET until = max(until, excluded.until)
"""

_BLOCK_OF: Final = "SELECT block FROM body_ids WHERE id = ?"
_PACKED: Final = "SELECT packed FROM bodies WHERE block = ?"
_IS_THERE: Final = "SELECT EXISTS (SELECT 1 FROM bodies WHERE block = ?)"


class StoredMessage(NamedTuple):
    """What `messages` holds of one id."""

    id: MessageId
    born: Instant
    group: str
    body: Body


def write(transaction: Transaction, rows: Sequence[MessageRow]) -> None:
    """Store the rows; an id that is there already keeps its first row."""
    for part in split_bodies(rows):
        _write_block(transaction.connection, part)


def _write_block(connection: sqlite3.Connection, rows: Sequence[MessageRow]) -> None:
    block = connection.execute(_NEXT_BLOCK).fetchone()[0]
    ids = joined([row[0] for row in rows])
    inserted_count = connection.execute(_INSERT_IDS, (ids, block)).rowcount
    if inserted_count < len(rows):
        # A block holds only rows that the tree leads to, so that whoever unpacks one may take
        # what is there.
        new_ids = set(split(connection.execute(_IDS_OF_BLOCK, (ids, block)).fetchone()[0]))
        rows = list({row[0]: row for row in reversed(rows) if row[0] in new_ids}.values())[::-1]
        if not rows:
            return
    born_max = max([row[2] for row in rows])
    connection.execute(_INSERT_BLOCK, (block, born_max, pack_bodies(rows)))
    connection.executemany(_INSERT_GROUP, [(group, block) for group in {row[3] for row in rows}])


def keep(transaction: Transaction, ids: Sequence[MessageId], *, until: Instant) -> None:
    """Let the bodies of these ids have their time to live from `until` on."""
    transaction.connection.execute(_KEEP, (joined(ids), until))


class MessageReader:
    """Reads for one connection, and remembers the block that it used last.

    Neighbours in a lane are mostly neighbours in a block, and the next call goes on in it.
    """

    def __init__(self) -> None:
        self._block_no: int | None = None
        self._block = BodyBlock((), (), (), (), ())
        self._positions: dict[MessageId, int] = {}

    def read_bodies(
        self, connection: sqlite3.Connection, ids: Iterable[MessageId]
    ) -> dict[MessageId, Body]:
        """Return the bodies that exist, by id."""
        found: dict[MessageId, Body] = {}
        wanted = dict.fromkeys(ids)
        # No number of a block is given twice: if it is there, nothing in it has changed.
        if connection.execute(_IS_THERE, (self._block_no,)).fetchone()[0]:
            self._take(wanted, found)
        while wanted:
            message_id = next(iter(wanted))
            if self._load(connection, message_id):
                self._take(wanted, found)
            # Not there, or swept since: nobody looks for it again.
            wanted.pop(message_id, None)
        found.update(editions.of(connection, list(found)))
        return found

    def find(self, connection: sqlite3.Connection, message_id: MessageId) -> StoredMessage | None:
        """Return the row of an id, None if it has none."""
        if message_id not in self._positions and not self._load(connection, message_id):
            return None
        return stored_at(self._block, self._positions[message_id])

    def _take(self, wanted: dict[MessageId, None], found: dict[MessageId, Body]) -> None:
        stored = self._block.bodies
        for message_id in wanted.keys() & self._positions.keys():
            found[message_id] = stored[self._positions[message_id]]
            del wanted[message_id]

    def _load(self, connection: sqlite3.Connection, message_id: MessageId) -> bool:
        """Unpack the block of an id; return whether there is one."""
        row = connection.execute(_BLOCK_OF, (message_id,)).fetchone()
        packed = None if row is None else connection.execute(_PACKED, row).fetchone()
        if packed is None:
            return False
        self._block_no = row[0]
        self._block = unpack_bodies(packed[0])
        self._positions = dict(zip(self._block.ids, range(len(self._block.ids)), strict=True))
        return True


def stored_at(block: BodyBlock, position: int) -> StoredMessage:
    """Return the row at a position of a block."""
    return StoredMessage(
        block.ids[position],
        block.borns[position],
        block.groups[position],
        block.bodies[position],
    )
