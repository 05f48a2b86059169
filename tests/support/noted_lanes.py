"""Operations of a writer that leave a row each, and what they left."""

from collections.abc import Callable
from pathlib import Path

from cluster.local.schema import connect
from cluster.local.writer import Transaction


def noting(lane: str) -> Callable[[Transaction], str]:
    """Return an operation that leaves a row."""

    def note(transaction: Transaction) -> str:
        transaction.connection.execute("INSERT INTO lanes VALUES (?, 1)", (lane,))
        return lane

    return note


def noted(path: Path) -> set[str]:
    connection = connect(path)
    try:
        return {lane for (lane,) in connection.execute("SELECT lane FROM lanes")}
    finally:
        connection.close()
