"""Connections to addresses that were looked at: the host is resolved once, and what was judged is
what is connected to.

A guard that resolves and then lets the client resolve again can be told two things.  Here the
client asks this module for a connection to a host; it gets one to a judged address, and goes on
with the host's name, for the `Host` header and for the certificate.  Every new connection is
judged anew; one that is used again goes where it went.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import httpcore

from cluster.egress.http_addresses import AddressRules

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host's addresses in the order to try them; raises OSError where there are none."""

_ADDRESSES_TRIED_MAX: Final = 3
_RESOLVER_THREADS: Final = 8


class ForbiddenAddress(Exception):
    """Nothing was connected to: the text says what is not allowed."""


class SystemResolver:
    """What the operating system says.  In threads of its own, as a name server may hang."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return every address of the host."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, _getaddrinfo, host, port
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Let the threads end when they have their answers."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is closed when its handshake is given up, whoever gives it up.

    httpcore's own closes it after an error only, not when it is cancelled, and nobody else knows
    it yet.
    """

    def __init__(self, under: httpcore.AsyncNetworkStream) -> None:
        self._under = under

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return what has arrived."""
        return await self._under.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write all of it."""
        await self._under.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._under.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401, httpcore's
        """Return what is known of the connection."""
        return self._under.get_extra_info(info)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection with TLS around it."""
        try:
            return await self._under.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with suppress(Exception):
                await self._under.aclose()
            raise


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """TCP for httpcore, to allowed addresses only."""

    def __init__(
        self,
        *,
        rules: AddressRules,
        resolve: Resolve,
        under: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        self._under = httpcore.AnyIOBackend() if under is None else under

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109, httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to one of the host's addresses, if all of them are allowed.

        Raises `ForbiddenAddress`, OSError for a name that is not found, or httpcore's ConnectError.
        """
        if not self._rules.allows_port(port):
            raise ForbiddenAddress(f"port {port} is not allowed")
        addresses = await self._resolve(host, port)
        # One that is not allowed among others is no accident.
        if not all(self._rules.allows(address) for address in addresses):
            raise ForbiddenAddress("the host has an address that is not allowed")
        tried = addresses[:_ADDRESSES_TRIED_MAX]
        for address in tried[:-1]:
            try:
                # So that one that swallows everything leaves time for the next.
                share = None if timeout is None else timeout / len(tried)
                return await self._connect(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        if not tried:
            raise OSError("the host has no address")
        return await self._connect(tried[-1], port, timeout, local_address, socket_options)

    async def _connect(
        self,
        address: str,
        port: int,
        timeout: float | None,  # noqa: ASYNC109
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(
            await self._under.connect_tcp(
                address,
                port,
                timeout=timeout,
                local_address=local_address,
                socket_options=socket_options,
            )
        )

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a webhook has no business on a socket of this machine."""
        raise ForbiddenAddress("a socket of this machine is not allowed")

    async def sleep(self, seconds: float) -> None:
        """Refuse: httpcore sleeps only between retries, which are off."""
        raise AssertionError("a client that retries")
