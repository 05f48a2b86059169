"""Where providers call back: `POST /receipts/<connector>`, over HTTP.

It knows HTTP and nothing else: what a callback says, and whether it may, is decided by whom it is
given to.  What is too long, too slow or too much is refused before that.  Encryption is left to
what stands before it; nothing secret is in an answer, and a callback proves by its signature where
it comes from.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

import structlog
from aiohttp import web

from pipeline.errors import SettingInvalid
from pipeline.limits import (
    CALLBACK_BYTES_MAX,
    CALLBACK_READ_MS_MAX,
    CALLBACKS_IN_FLIGHT_MAX,
)

log = structlog.get_logger(__name__)

_MS_PER_S: Final = 1_000
_RETRY_AFTER_S: Final = "1"
_SHUTDOWN_S: Final = 2.0
_TURNS_TO_CONNECT: Final = 4

# Whoever reaches the port can send what is no HTTP; the server would log a stack for each.
_SILENT: Final = logging.Logger("receipts", level=logging.CRITICAL + 1)


class CallbackReply(NamedTuple):
    """What a provider is answered; a reason is for who keeps the provider's side."""

    status: HTTPStatus
    reason: str = ""


TakeCallback = Callable[[str, Mapping[str, str], bytes], Awaitable[CallbackReply]]
"""Takes the connector's name, the headers (names in small letters) and the body."""


def refuse_taken(host: str, port: int) -> None:
    """Raise `SettingInvalid` if nobody could listen there; an endpoint may start afterwards."""
    try:
        socket.create_server((host, port), family=_family_of(host)).close()
    except OSError as error:
        raise cannot_listen(host, port, error) from error


def cannot_listen(host: str, port: int, error: OSError) -> SettingInvalid:
    """Return the refusal of a place where callbacks should come to."""
    if error.errno == errno.EADDRINUSE:
        what = f"receipts.port = {port}: another program listens there on {host}"
        return SettingInvalid(f"{what}: end it, or set another port")
    if error.errno == errno.EACCES:
        return SettingInvalid(f"receipts.port = {port}: is not permitted: set one from 1024 on")
    return SettingInvalid(
        f"receipts.host = {host!r}: cannot be listened at ({error.strerror or error}):"
        " set an address of this machine"
    )


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class ReceiptEndpoint:
    """One listening socket."""

    def __init__(self, *, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._in_flight = 0
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, take: TakeCallback) -> int:
        """Listen, and return the port.  Raises `SettingInvalid` if that cannot be."""

        async def answer(request: web.Request) -> web.Response:
            return await self._answer(request, take)

        app = web.Application(client_max_size=CALLBACK_BYTES_MAX)
        app.router.add_post("/receipts/{connector}", answer)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_SILENT,
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_S,
            auto_decompress=False,
        )
        await runner.setup()
        assert runner.server is not None
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                runner.server, self._host, self._port
            )
        except OSError as error:
            await runner.cleanup()
            raise cannot_listen(self._host, self._port, error) from error
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more; what is being answered has a moment."""
        runner, self._runner = self._runner, None
        listener, self._listener = self._listener, None
        if runner is None or listener is None:
            return
        loop = asyncio.get_running_loop()
        for listening in listener.sockets:
            loop.remove_reader(listening.fileno())
        # Whom the loop has just accepted becomes a connection some turns later; to a listener that
        # is closed by then it is lost, and hangs (CPython gh-109564).
        for _ in range(_TURNS_TO_CONNECT):
            await asyncio.sleep(0)
        listener.close()
        await runner.cleanup()

    async def _answer(self, request: web.Request, take: TakeCallback) -> web.Response:
        if self._in_flight >= CALLBACKS_IN_FLIGHT_MAX:
            return _response(CallbackReply(HTTPStatus.SERVICE_UNAVAILABLE, "too many at once"))
        if "content-encoding" in request.headers:
            # Nobody's bytes are unpacked before they are known to be a provider's.
            return _response(
                CallbackReply(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send it without content-encoding")
            )
        self._in_flight += 1
        try:
            async with asyncio.timeout(CALLBACK_READ_MS_MAX / _MS_PER_S):
                content = await request.read()
            headers = {name.lower(): value for name, value in request.headers.items()}
            return _response(await take(request.match_info["connector"], headers, content))
        except TimeoutError:
            return _response(CallbackReply(HTTPStatus.REQUEST_TIMEOUT, "the body took too long"))
        except web.RequestPayloadError:
            return _response(CallbackReply(HTTPStatus.BAD_REQUEST, "the body should be whole"))
        except web.HTTPException:
            raise
        except Exception:
            log.exception("callback_failed")
            return _response(CallbackReply(HTTPStatus.SERVICE_UNAVAILABLE, "send it again"))
        finally:
            self._in_flight -= 1


def _response(reply: CallbackReply) -> web.Response:
    headers = {}
    if reply.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = _RETRY_AFTER_S
    text = reply.reason or reply.status.phrase
    return web.json_response({"message": text}, status=reply.status, headers=headers)
