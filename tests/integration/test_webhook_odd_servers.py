"""Webhooks to servers that no simulator of a provider would be: slow, rude, in disguise."""

import asyncio
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trustme

from cluster.runtime.clock import SystemClock
from pipeline.lifecycle import Event
from tests.support.webhook_office import submit, webhook_connector

CLOCK = SystemClock()
# For an answer that comes: whoever waits for one that does not says for how long.
PATIENCE_MS = 60_000
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server that does with each connection what it is told; it keeps what it read."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.requests: list[bytes] = []
        self.connection_count = 0
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Read one request to its end."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        self.requests.append(head + await reader.readexactly(length))


@asynccontextmanager
async def serving(
    talk: Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    server = Server(lambda reader, writer: talk(server, reader, writer))
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


async def loopback(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def sent(
    server: Server,
    count: int = 1,
    *,
    host: str = "127.0.0.1",
    scheme: str = "http",
    answer_timeout_ms: int = PATIENCE_MS,
    connect_timeout_ms: int = PATIENCE_MS,
    ssl_context: ssl.SSLContext | None = None,
) -> list[Event]:
    """Send some messages one after the other and return what was reported of them."""
    connector = webhook_connector(
        CLOCK,
        networks=["127.0.0.0/8"],
        ports=[server.port],
        concurrency=1,
        connect_timeout_ms=connect_timeout_ms,
        answer_timeout_ms=answer_timeout_ms,
        resolve=loopback,
        ssl_context=ssl_context,
    )
    urls = [f"{scheme}://{host}:{server.port}/{number}" for number in range(count)]
    events = (await submit(connector, CLOCK, urls)).events()
    await connector.close()
    return events


async def answer_all(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        await server.read(reader)
        writer.write(OK)


async def test_a_server_that_drips_its_answer_is_not_waited_for_without_end() -> None:
    async def drip(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read(reader)
        for byte in itertools.chain(b"HTTP/1.1 200 OK\r\n", itertools.cycle(b"x: y\r\n")):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(drip) as server:
        assert await sent(server, answer_timeout_ms=1_000) == [Event.LOSE_ANSWER]
        assert len(server.requests) == 1


async def test_a_server_that_closes_when_it_answered_is_connected_to_again() -> None:
    async def answer_once(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read(reader)
        writer.write(OK)
        await writer.drain()

    async with serving(answer_once) as server:
        events = await sent(server, 5)
        # It may close while the next request is on its way: then that one is lost, not repeated.
        assert set(events) <= {Event.TAKE, Event.LOSE_ANSWER}
        assert len({request.split(b" ")[1] for request in server.requests}) == len(server.requests)
        assert len(server.requests) >= events.count(Event.TAKE) > 0


async def test_a_connection_that_breaks_between_requests_is_never_the_reason_for_a_repeat() -> None:
    async def reset_second(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read(reader)
        writer.write(OK)
        await writer.drain()
        await server.read(reader)
        peer = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serving(reset_second) as server:
        assert await sent(server, 4) == [
            Event.TAKE,
            Event.LOSE_ANSWER,
            Event.TAKE,
            Event.LOSE_ANSWER,
        ]
        assert len(server.requests) == 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_brings_nobody_to_where_it_leads(status: int) -> None:
    async with serving(answer_all) as target:

        async def redirect(
            server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await server.read(reader)
            location = f"location: http://127.0.0.1:{target.port}/\r\n".encode()
            writer.write(b"HTTP/1.1 %d x\r\n%scontent-length: 0\r\n\r\n" % (status, location))

        async with serving(redirect) as server:
            (event,) = await sent(server)
        assert event in (Event.REFUSE, Event.LOSE_ANSWER)
        assert (len(server.requests), target.connection_count) == (1, 0)


async def test_what_one_answer_leaves_behind_goes_with_no_other_request() -> None:
    async def cookie(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            await server.read(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")

    async with serving(cookie) as server:
        assert await sent(server, 3) == [Event.TAKE] * 3
        assert server.connection_count == 1
        assert b"cookie" not in b"".join(server.requests).lower()


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answer_all) as proxy, serving(answer_all) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert await sent(server) == [Event.TAKE]
        assert proxy.connection_count == 0


async def test_a_body_that_would_expand_is_not_expanded() -> None:
    async def bomb(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.read(reader)
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10000000\r\n\r\n"
        writer.write(head + b"\x1f\x8b" * 5_000_000)
        await writer.drain()

    async with serving(bomb) as server:
        assert await sent(server) == [Event.TAKE]
        assert b"accept-encoding: identity\r\n" in server.requests[0]


async def test_the_certificate_is_that_of_the_host_and_not_of_the_address() -> None:
    authority = trustme.CA()
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example").configure_cert(of_server)
    named: list[str | None] = []
    of_server.sni_callback = lambda _socket, name, _context: named.append(name)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    async with serving(answer_all, tls=of_server) as server:
        right = await sent(server, host="hooks.example", scheme="https", ssl_context=ours)
        assert right == [Event.TAKE]
        assert f"host: hooks.example:{server.port}\r\n".encode() in server.requests[0]
        # Another name, an address and an unknown authority fail before anything leaves.
        for host, context in (
            ("other.example", ours),
            ("127.0.0.1", ours),
            ("hooks.example", ssl.create_default_context()),
        ):
            wrong = await sent(server, host=host, scheme="https", ssl_context=context)
            assert wrong == [Event.DEFER]
        assert len(server.requests) == 1
        assert named[:2] == ["hooks.example", "other.example"]


async def test_a_handshake_that_hangs_is_no_connection() -> None:
    async def silent(
        _server: Server, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()

    async with serving(silent) as server:
        told = await sent(server, host="hooks.example", scheme="https", connect_timeout_ms=300)
        assert told == [Event.DEFER]
