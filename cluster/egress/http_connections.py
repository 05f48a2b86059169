"""Open connections, kept for the next request to the same origin.

Our own, as httpcore's pool looks at every connection at every request: with 64 of them it spends
ten milliseconds of CPU on one.  Here a request takes the connection that was used last, or a new
one; how many requests run at once is bounded by who sends them.
"""

import ssl
from contextlib import suppress
from typing import Final

import httpcore

# Shorter than most servers wait: one that closes while we write leaves us without an answer.
KEEP_ALIVE_S: Final = 2.0


class ConnectionPool:
    """Connections of one event loop; at most `idle_max` wait for a next request."""

    def __init__(
        self,
        *,
        network: httpcore.AsyncNetworkBackend,
        ssl_context: ssl.SSLContext,
        idle_max: int,
    ) -> None:
        self._network = network
        self._ssl_context = ssl_context
        self._idle_max = idle_max
        self._idle: dict[str, list[httpcore.AsyncHTTPConnection]] = {}
        self._idle_count = 0
        self._is_open = True

    async def take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """Return a connection that nobody else uses; a new one connects with its first request."""
        key = str(origin)
        while waiting := self._idle.get(key):
            connection = self._pop(key, waiting, -1)
            # Also where the other side closed it meanwhile.
            if not connection.has_expired():
                return connection
            await _close(connection)
        return httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=KEEP_ALIVE_S,
            http1=True,
            http2=False,
            retries=0,
            network_backend=self._network,
        )

    async def give_back(
        self, origin: httpcore.Origin, connection: httpcore.AsyncHTTPConnection
    ) -> None:
        """Keep a connection whose answer was read to its end; close any other."""
        if not self._is_open or not connection.is_available():
            await _close(connection)
            return
        self._idle.setdefault(str(origin), []).append(connection)
        self._idle_count += 1
        if self._idle_count > self._idle_max:
            oldest = next(iter(self._idle))
            await _close(self._pop(oldest, self._idle[oldest], 0))

    async def close(self) -> None:
        """Close what waits; what is in use is closed when it is given back."""
        self._is_open = False
        while self._idle:
            key = next(iter(self._idle))
            await _close(self._pop(key, self._idle[key], -1))

    def _pop(
        self, key: str, waiting: list[httpcore.AsyncHTTPConnection], index: int
    ) -> httpcore.AsyncHTTPConnection:
        connection = waiting.pop(index)
        self._idle_count -= 1
        if not waiting:
            del self._idle[key]
        return connection


async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
    # One that is broken already says so; what came of its request is known by then.
    with suppress(Exception):
        await connection.aclose()
