"""A network for httpcore that reaches nothing: it tells where it was to go and answers from a
script."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
ADDRESS = "93.184.215.14"


class FakeNetwork(httpcore.AsyncNetworkBackend):
    """Each read of a connection takes the next of `answers`.

    An exception is raised, None waits for ever.  `connects` may hold exceptions, one a connection.
    """

    def __init__(
        self,
        *answers: bytes | Exception | None,
        connects: Sequence[Exception | None] = (),
        write_error: Exception | None = None,
        tls_hangs: bool = False,
    ) -> None:
        self.answers = list(answers)
        self.connects = list(connects)
        self.write_error = write_error
        self.tls_hangs = tls_hangs
        self.connected: list[tuple[str, int]] = []
        self.named: list[str | None] = []  # by TLS
        self.written = b""
        self.was_written = asyncio.Event()
        self.closed_count = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        error = self.connects.pop(0) if self.connects else None
        if error is not None:
            raise error
        return FakeStream(self)


class FakeStream(httpcore.AsyncNetworkStream):
    def __init__(self, network: FakeNetwork) -> None:
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        answer = self._network.answers.pop(0) if self._network.answers else b""
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer or b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if self._network.write_error is not None:
            raise self._network.write_error
        self._network.written += buffer
        self._network.was_written.set()

    async def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        self._network.named.append(server_hostname)
        if self._network.tls_hangs:
            await asyncio.Event().wait()
        return self

    async def aclose(self) -> None:
        self._network.closed_count += 1

    def get_extra_info(self, info: str) -> Any:
        return None
