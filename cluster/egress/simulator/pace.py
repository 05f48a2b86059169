"""How fast requests come: a limit that throttles, and what the worst second was."""

from collections import deque

from cluster.egress.simulator.modes import RateLimit

_SECOND_US = 1_000_000


class Pace:
    """Counts over the last second that ends now, not over calendar seconds, which hide bursts."""

    def __init__(self) -> None:
        self._seen: deque[int] = deque()
        self._let_in: deque[int] = deque()
        self.seen_in_a_second_max = 0
        self.let_in_in_a_second_max = 0
        self.throttled_count = 0

    def lets_in(self, limit: RateLimit | None, *, now_us: int) -> bool:
        """Count a request, and say whether the limit has room for it."""
        self.seen_in_a_second_max = max(self.seen_in_a_second_max, _push(self._seen, now_us))
        _forget(self._let_in, now_us)
        if limit is not None and len(self._let_in) >= limit.per_second + limit.burst:
            self.throttled_count += 1
            return False
        self.let_in_in_a_second_max = max(self.let_in_in_a_second_max, _push(self._let_in, now_us))
        return True


def _push(times: deque[int], now_us: int) -> int:
    _forget(times, now_us)
    times.append(now_us)
    return len(times)


def _forget(times: deque[int], now_us: int) -> None:
    while times and times[0] <= now_us - _SECOND_US:
        times.popleft()
