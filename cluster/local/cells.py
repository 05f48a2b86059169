"""Small rows that are written over: lanes that exist, books, heartbeats."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from cluster.local.writer import Transaction
from pipeline.lane_id import LaneId
from pipeline.ports import Beat, BookCell

_ANNOUNCE: Final = "INSERT OR IGNORE INTO lanes (lane, generation) VALUES (?, ?)"
_LANES: Final = "SELECT lane FROM lanes WHERE generation = ? ORDER BY lane"
_ALL_LANES: Final = "SELECT lane FROM lanes ORDER BY lane"

_WRITE_BOOK: Final = """
INSERT INTO books (book, lane, as_of, counts) VALUES (?, ?, ?, ?)
ON CONFLICT (book, lane) DO UPDATE SET as_of = excluded.as_of, counts = excluded.counts
WHERE excluded.as_of > books.as_of
"""
_BOOK: Final = "SELECT as_of, counts FROM books WHERE book = ? AND lane = ?"
# No text sorts after the largest code point.
_BOOKS: Final = f"""
SELECT lane, book, as_of, counts FROM books WHERE book >= ?1 AND book < ?1 || '{chr(0x10FFFF)}'
ORDER BY book, lane
"""

_BEAT: Final = "INSERT OR REPLACE INTO owners (owner, actor_name, value, at) VALUES (?, ?, ?, ?)"
_OWNERS: Final = "SELECT owner, actor_name, value FROM owners ORDER BY owner"


def announce_lane(transaction: Transaction, lane: LaneId) -> None:
    """Note that the lane exists."""
    transaction.connection.execute(_ANNOUNCE, (str(lane), lane.generation))


def lanes_of(connection: sqlite3.Connection, generation: int) -> list[LaneId]:
    """Return the announced lanes of a generation."""
    return [LaneId.parse(name) for (name,) in connection.execute(_LANES, (generation,))]


def all_lanes(connection: sqlite3.Connection) -> list[LaneId]:
    """Return every announced lane."""
    return [LaneId.parse(name) for (name,) in connection.execute(_ALL_LANES)]


def write_books(transaction: Transaction, cells: Sequence[BookCell], *, lane: str) -> None:
    """Write cells; of two of one book the higher as_of stays."""
    transaction.connection.executemany(
        _WRITE_BOOK, [(cell.book, lane, cell.as_of, cell.counts) for cell in cells]
    )


def read_books(
    connection: sqlite3.Connection, books: Sequence[str], *, lane: str
) -> list[BookCell]:
    """Return the lane's cells that exist, in the order asked for."""
    found = [
        (book, connection.execute(_BOOK, (book, lane)).fetchone()) for book in dict.fromkeys(books)
    ]
    return [BookCell(book, *row) for book, row in found if row is not None]


def books_with(connection: sqlite3.Connection, prefix: str) -> list[tuple[LaneId, BookCell]]:
    """Return the cells of every lane whose book starts with the prefix."""
    return [
        (LaneId.parse(lane), BookCell(book, as_of, counts))
        for lane, book, as_of, counts in connection.execute(_BOOKS, (prefix,))
    ]


def beat(transaction: Transaction, row: Beat) -> None:
    """Write a heartbeat.

    It is given an `at` like a row of the buffer: so the horizon goes on with time on a file that
    nobody else writes to, and what its lanes have journaled can retire.
    """
    transaction.connection.execute(_BEAT, (*row, transaction.give_at(1)))


def owners(connection: sqlite3.Connection) -> list[Beat]:
    """Return the heartbeats that were not swept."""
    return [Beat(*row) for row in connection.execute(_OWNERS)]
