"""For how long something has been so: what is done about a load waits for it to last."""

from pipeline.instant import DurationMs, Instant, later


class Since:
    """Remembers when it began."""

    def __init__(self) -> None:
        self._since: Instant | None = None

    def holds_for(self, is_so: bool, *, now: Instant, at_least_ms: DurationMs) -> bool:
        """Note whether it is so; return whether it has been, each time, for so long."""
        if not is_so:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now >= later(self._since, at_least_ms)
