"""One request over HTTP/1.1, and exactly how it ended.

httpcore, the connection layer of httpx, is used without httpx's client: what that adds would all
have to be switched off again (redirects, cookies that one receiver's answer leaves for another's,
proxies of the environment, expanding of bodies, a line in the log with the URL), and costs as much
CPU as the request itself.

Whether anything left is told by one moment: httpcore says when it begins to write the request's
head.  There the time to leave by is checked, after any wait for a name, a connection or a
handshake; and whatever goes wrong from there on, under whatever name, is a lost answer.
"""

import asyncio
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpcore

from cluster.egress.http_addresses import AddressRules
from cluster.egress.http_connections import ConnectionPool
from cluster.egress.http_network import CheckedNetwork, ForbiddenAddress, Resolve, SystemResolver
from pipeline.connectors.webhook.answer import (
    AddressForbidden,
    Answered,
    AnswerLost,
    Exchange,
    NotConnected,
    TooLate,
    Unsendable,
)
from pipeline.connectors.webhook.request import HookRequest
from pipeline.instant import DurationMs, Instant
from pipeline.ports import Clock

ANSWER_BYTES_MAX: Final = 64 * 1024

_LEAVING: Final = "http11.send_request_headers.started"
_URLS_REMEMBERED: Final = 4_096
_REASON_CHARS_MAX: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveBy:
    """The last moment at which a request may leave, on both clocks: one may be set back."""

    wall: Instant
    boot_us: int

    @classmethod
    def at(cls, wall: Instant, *, clock: Clock) -> "LeaveBy":
        """Return the moment of that wall clock's time, as seen now."""
        reading = clock.reading()
        return cls(wall=wall, boot_us=reading.boot_us + wall - reading.wall)

    def has_passed(self, clock: Clock) -> bool:
        """Whether nothing may leave any more."""
        reading = clock.reading()
        return reading.wall >= self.wall or reading.boot_us >= self.boot_us


class _Target(NamedTuple):
    url: httpcore.URL
    host: bytes  # as the header says it


@lru_cache(maxsize=_URLS_REMEMBERED)
def _target(text: str) -> _Target:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("no URL of http or https without a user")
    path = parts.path or "/"
    return _Target(
        httpcore.URL(
            scheme=parts.scheme.encode(),
            host=parts.hostname.encode("ascii"),
            port=parts.port or (443 if parts.scheme == "https" else 80),
            target=(f"{path}?{parts.query}" if parts.query else path).encode("ascii"),
        ),
        parts.netloc.encode("ascii"),
    )


class _Passed(Exception):
    """Raised inside httpcore when the time to leave by has passed."""


class _Leaving:
    """Told by httpcore where it stands; knows whether anything left."""

    def __init__(
        self, leave_by: LeaveBy, *, clock: Clock, limit: asyncio.Timeout, answer_s: float
    ) -> None:
        self._leave_by = leave_by
        self._clock = clock
        self._limit = limit
        self._answer_s = answer_s
        self.has_left = False

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        if name != _LEAVING:
            return
        if self._leave_by.has_passed(self._clock):
            raise _Passed
        self._limit.reschedule(asyncio.get_running_loop().time() + self._answer_s)
        self.has_left = True


class HttpSender:
    """Sends requests, each once: nothing here repeats, follows or waits in a line."""

    def __init__(
        self,
        *,
        clock: Clock,
        rules: AddressRules,
        resolve: Resolve | None = None,
        connect_timeout_ms: DurationMs,
        answer_timeout_ms: DurationMs,
        idle_max: int,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """Names are those of the operating system, and so are the authorities that it trusts."""
        self._clock = clock
        self._resolver = SystemResolver()
        self._connect_timeout_ms = connect_timeout_ms
        self._answer_timeout_ms = answer_timeout_ms
        self._network = CheckedNetwork(
            rules=rules,
            resolve=self._resolver if resolve is None else resolve,
            under=network,
        )
        self._pool = ConnectionPool(
            network=self._network,
            ssl_context=ssl.create_default_context() if ssl_context is None else ssl_context,
            idle_max=idle_max,
        )

    async def close(self) -> None:
        """Close the connections that wait."""
        await self._pool.close()
        self._resolver.close()

    async def send(self, request: HookRequest, *, leave_by: LeaveBy) -> Exchange:
        """Return how the request ended.  Raises only when it is cancelled."""
        try:
            target = _target(request.url)
        except ValueError as error:
            return Unsendable(f"not a URL to send to: {error}")
        if leave_by.has_passed(self._clock):
            return TooLate()
        answer: Answered | None = None
        limit = asyncio.timeout(self._connect_timeout_ms / 1_000)
        leaving = _Leaving(
            leave_by, clock=self._clock, limit=limit, answer_s=self._answer_timeout_ms / 1_000
        )
        try:
            async with limit:
                connection = await self._pool.take(target.url.origin)
                try:
                    response = await connection.handle_async_request(
                        self._as_httpcore(request, target, leaving)
                    )
                    answer = _head(response)
                    body = await _read(response)
                    answer = Answered(
                        status=answer.status, retry_after=answer.retry_after, body=body
                    )
                finally:
                    await self._pool.give_back(target.url.origin, connection)
        except Exception as error:
            # Any class, of httpcore, ssl, the resolver or the system: what an error means is
            # decided by how far the request had come, and one that nobody thought of must not
            # make the other requests of the batch uncertain.
            # Once the status is known it counts, whatever became of the rest.
            return answer or self._ended(error, has_left=leaving.has_left)
        return answer

    def _as_httpcore(
        self, request: HookRequest, target: _Target, leaving: _Leaving
    ) -> httpcore.Request:
        headers = [(name.encode("ascii"), value.encode()) for name, value in request.headers]
        return httpcore.Request(
            request.method,
            target.url,
            headers=[
                (b"host", target.host),
                # Some servers take the length of a body that a GET has not for one.
                *(
                    [(b"content-length", str(len(request.content)).encode())]
                    if request.content or request.method == "POST"
                    else []
                ),
                *headers,
            ],
            content=request.content,
            extensions={
                "trace": leaving,
                "timeout": {"connect": self._connect_timeout_ms / 1_000},
            },
        )

    def _ended(self, error: Exception, *, has_left: bool) -> Exchange:
        match error:
            case _Passed():
                return TooLate()
            case ForbiddenAddress():
                return AddressForbidden(str(error))
            case UnicodeError() if not has_left:
                return Unsendable("the host cannot be a name")
            case httpcore.LocalProtocolError():
                # Raised where the head is made, before a byte of it is written.
                return Unsendable(f"no HTTP request: {_short(error)}")
            case TimeoutError() if has_left:
                return AnswerLost(f"no answer within {self._answer_timeout_ms} ms")
            case TimeoutError() | httpcore.TimeoutException() if not has_left:
                return NotConnected(f"no connection within {self._connect_timeout_ms} ms")
            case _ if has_left:
                return AnswerLost(f"no answer: {_short(error)}")
            case _:
                return NotConnected(f"no connection: {_short(error)}")


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:_REASON_CHARS_MAX]


def _head(response: httpcore.Response) -> Answered:
    retry_after = next(
        (value for name, value in response.headers if name.lower() == b"retry-after"), b""
    )
    return Answered(status=response.status, retry_after=retry_after.decode("latin-1"))


async def _read(response: httpcore.Response) -> bytes:
    """Return as much of the body as is read, and let go of it."""
    parts: list[bytes] = []
    left = ANSWER_BYTES_MAX
    try:
        async for part in response.aiter_stream():
            parts.append(part[:left])
            left -= len(part)
            if left <= 0:
                break
    finally:
        await response.aclose()
    return b"".join(parts)
