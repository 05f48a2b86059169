"""What holds for whole groups: nothing of one that is paused or cancelled is handed over."""

from collections.abc import Sequence

from pipeline.command import CommandKind
from pipeline.later import GroupOrder


class GroupOrders:
    """The orders that a lane knows of."""

    def __init__(self) -> None:
        self._paused: frozenset[str] = frozenset()
        self._cancelled: frozenset[str] = frozenset()
        self._stopped: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Return whether any group is stopped."""
        return bool(self._stopped)

    def on_orders(self, orders: Sequence[GroupOrder]) -> None:
        """Take all orders that hold, in place of those known before."""
        self._paused = frozenset(o.group for o in orders if o.kind == CommandKind.PAUSE)
        self._cancelled = frozenset(o.group for o in orders if o.kind == CommandKind.CANCEL)
        self._stopped = self._paused | self._cancelled

    def is_stopped(self, group: str) -> bool:
        """Return whether nothing of the group may be claimed now."""
        return group in self._stopped

    def is_cancelled(self, group: str) -> bool:
        """Return whether what waits of the group is over."""
        return group in self._cancelled
