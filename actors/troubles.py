"""What the operator should know of a running platform: places that nobody serves, lanes set aside.

One line each, that says what to change.  What heals by itself within a moment is no trouble for
long: a place is served again, and its line is gone.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from actors.names import ActorKey


class Troubles:
    """Why places fail, until they are served again."""

    def __init__(self) -> None:
        self._reasons: dict[ActorKey, str] = {}

    def on_failed(self, key: ActorKey, reason: str) -> None:
        """Note why the actor of a place ended, or had to be."""
        self._reasons[key] = " ".join(reason.split())

    def on_gone(self, key: ActorKey) -> None:
        """Note that the process of a place ended; why, if that was told before."""
        self._reasons.setdefault(key, "its process ended")

    def on_running(self, key: ActorKey) -> None:
        """Note that the place is served."""
        self._reasons.pop(key, None)

    def tell(
        self, wanted: Collection[ActorKey], reports: Iterable[Mapping[str, Any] | None]
    ) -> list[str]:
        """Return a line for each place that is wanted and fails, and for each lane set aside."""
        lines = [f"{key.title}: {reason}" for key, reason in self._reasons.items() if key in wanted]
        for report in reports:
            for lane, reason in (report or {}).get("lanes_set_aside", {}).items():
                lines.append(f"lane {lane} is set aside: {' '.join(reason.split())}")
        return sorted(lines)
