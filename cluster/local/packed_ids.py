"""Ids for one statement: joined, because a statement costs more than a row does.

`IDS` makes a table `ids(id)` of the parameter ?1, which holds any number of 16-byte ids one after
another, in their order.  One statement then does what else takes one each: Python gives its lock
away once and not for every row, and the event loop runs meanwhile.
"""

from collections.abc import Iterable
from typing import Final

ID_BYTES: Final = 16

# Walks ?1 from its first byte, 16 by 16; nothing comes of an empty one.
IDS: Final = f"""
WITH RECURSIVE
    offsets(start) AS (
        SELECT 1 WHERE length(?1) > 0
        UNION ALL
        SELECT start + {ID_BYTES} FROM offsets WHERE start + {ID_BYTES} <= length(?1)
    ),
    ids(id) AS (SELECT substr(?1, start, {ID_BYTES}) FROM offsets)
"""


def joined(ids: Iterable[bytes]) -> bytes:
    """Return the parameter ?1 for ids."""
    return b"".join(ids)


def split(packed: bytes | None) -> list[bytes]:
    """Return the ids of a joined form; None has none."""
    if not packed:
        return []
    return [packed[start : start + ID_BYTES] for start in range(0, len(packed), ID_BYTES)]
