"""A port for callbacks that somebody else has is told in one line, before and at the start."""

import asyncio
import gzip
import logging
import socket

import pytest

from cluster.egress.receipt_endpoint import CallbackReply, ReceiptEndpoint, refuse_taken
from pipeline.errors import SettingInvalid

LOOPBACK = "127.0.0.1"


async def take(*_: object) -> CallbackReply:
    raise AssertionError("nobody calls")


async def test_a_port_that_is_taken_is_refused_and_one_that_is_free_is_left_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        endpoint = ReceiptEndpoint(host=LOOPBACK, port=port)
        told = f"receipts.port = {port}: another program listens there"
        with pytest.raises(SettingInvalid, match=told):
            refuse_taken(LOOPBACK, port)
        with pytest.raises(SettingInvalid, match=told):
            await endpoint.start(take)
    refuse_taken(LOOPBACK, port)
    assert await endpoint.start(take) == port
    await endpoint.close()


HEAD = b"POST /receipts/x HTTP/1.1\r\nHost: here\r\n"


async def answer_to(port: int, request: bytes) -> bytes:
    """Return the status line that a request is answered with."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(request)
    line = await reader.readline()
    writer.close()
    return line


def sized(body: bytes, *, encoding: bytes = b"") -> bytes:
    named = b"Content-Encoding: %s\r\n" % encoding if encoding else b""
    return HEAD + named + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(sized(b"hello", encoding=b"gzip"), b"415", id="is not what it says"),
        pytest.param(sized(gzip.compress(b"{}"), encoding=b"gzip"), b"415", id="compressed"),
        pytest.param(sized(b"hello", encoding=b"br"), b"415", id="compressed otherwise"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400", id="no chunk"),
        pytest.param(HEAD + b"Content-Length: -5\r\n\r\n", b"400", id="no length"),
        pytest.param(HEAD + b"A: " + b"a" * 10_000 + b"\r\n\r\n", b"400", id="a long header"),
        pytest.param(b"\x16\x03\x01" + b"a" * 60, b"400", id="no HTTP"),
        pytest.param(sized(b"a" * 300_000), b"413", id="too long"),
    ],
)
async def test_what_strangers_send_is_refused_and_fills_no_log(
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    request_: bytes,
    status: bytes,
) -> None:
    endpoint = ReceiptEndpoint(host=LOOPBACK, port=0)
    port = await endpoint.start(take)
    with caplog.at_level(logging.INFO):
        assert (await answer_to(port, request_)).split()[1] == status
        await endpoint.close()
    assert not caplog.records
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err


async def test_an_error_of_our_own_is_logged_and_the_provider_says_it_again() -> None:
    endpoint = ReceiptEndpoint(host=LOOPBACK, port=0)
    port = await endpoint.start(take)
    assert (await answer_to(port, sized(b"{}"))).split()[1] == b"503"
    await endpoint.close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingInvalid, match=r"receipts.host = '192.0.2.77'"):
        refuse_taken("192.0.2.77", 8090)
