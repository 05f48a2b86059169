"""Many ids in little memory: 16 bytes each in one column, not 90 in a set.

Compared as strings of 16 bytes, which is the order that the store has them in.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.message import MessageId

ID_BYTES: Final = 16
IdColumn = npt.NDArray[np.bytes_]

_TYPE: Final = np.dtype(f"S{ID_BYTES}")


def id_column(ids: Iterable[bytes] | bytes | bytearray) -> IdColumn:
    """Return the column of ids, given one by one or joined."""
    joined = ids if isinstance(ids, bytes | bytearray) else b"".join(ids)
    return np.frombuffer(joined, dtype=_TYPE)


def id_at(column: IdColumn, position: int) -> MessageId:
    """Return one id of a column."""
    # NumPy drops zeros at the end of a string when it gives it away.
    return MessageId(bytes(column[position]).ljust(ID_BYTES, b"\0"))
