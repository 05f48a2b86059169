"""The provider's HTTP side: what it takes by POST, at any path.

A path that begins with `/as/MODE/` asks for a mode, for those who give each recipient its own URL.
`GET /messages/KEY` tells whether a key was taken,
`GET /control/counts` tells what was seen, `PUT /control/modes` changes the behaviour.
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Final

import msgspec
from aiohttp import web

from cluster.egress.simulator.log import LogLine, ProviderLog
from cluster.egress.simulator.modes import PROCESSED, Chooser, Mode, parse_behaviour
from cluster.egress.simulator.pace import Pace
from cluster.egress.simulator.receipts import ReceiptSender
from pipeline.connectors.webhook.request import HookMessage, decode_payload

_RATE_LIMITED: Final = "rate_limited"
_INVALID: Final = "invalid"
_ASKED: Final = "/as/"
_NOBODY: Final = HookMessage("", "", "", "", "", "", {})


class HttpProvider:
    """One server; `now_us` is the wall clock."""

    name = "http"

    def __init__(
        self,
        *,
        chooser: Chooser,
        seed: int,
        log: ProviderLog,
        host: str,
        port: int,
        now_us: Callable[[], int],
    ) -> None:
        self._chooser = chooser
        self._seed = seed
        self._log = log
        self._host = host
        self._port = port
        self._now_us = now_us
        self._pace = Pace()
        self._receipts = ReceiptSender(now_us=now_us)
        self._counts: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and return the port."""
        app = web.Application()
        app.router.add_get("/control/counts", self._tell_counts)
        app.router.add_put("/control/modes", self._change_modes)
        app.router.add_get("/messages/{key}", self._tell)
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, shutdown_timeout=0.2)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Break off what is on its way."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self._receipts.close()

    async def _tell_counts(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "modes": dict(self._counts),
                "taken": len(self._log.taken),
                "throttled": self._pace.throttled_count,
                "seen_in_a_second_max": self._pace.seen_in_a_second_max,
                "let_in_in_a_second_max": self._pace.let_in_in_a_second_max,
                "receipts_answered": self._receipts.answered_count,
            }
        )

    async def _tell(self, request: web.Request) -> web.Response:
        """Answer whether a message was taken, as a provider of class Q."""
        key = request.match_info["key"]
        if key not in self._log.taken:
            return web.json_response({"error": "no such message"}, status=404)
        return web.json_response({"id": _reference_of(key), "status": "accepted"})

    async def _change_modes(self, request: web.Request) -> web.Response:
        try:
            behaviour = parse_behaviour(await request.text())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=422)
        self._chooser = Chooser(behaviour, self._seed)
        return web.Response(status=204)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        chooser = self._chooser
        try:
            body = await request.read()
        except ConnectionError:
            return web.Response(status=400)  # to nobody: who called hung up in the middle
        key = request.headers.get("webhook-id", "")
        try:
            message = decode_payload(body).data
        except msgspec.MsgspecError:
            message = _NOBODY
        seen_before = self._log.requests[key]
        self._log.requests[key] += 1
        mode, told = self._mode_of(request, key, message, seen_before)
        took = mode in PROCESSED
        was_new = took and not (chooser.behaviour.keyed and key in self._log.taken)
        if took:
            self._log.taken.add(key)
        self._counts[told] += 1
        await self._log.append(
            LogLine(
                at_us=self._now_us(),
                protocol=self.name,
                key=key,
                message_id=message.id,
                recipient=message.recipient,
                digest=blake2b(message.content.encode(), digest_size=16).hexdigest(),
                mode=told,
                took=took,
                was_new=was_new,
                seen_before=seen_before,
            )
        )
        reference = _reference_of(key)
        if was_new:
            await self._receipts.after_taking(chooser, key=key, reference=reference)
        return await self._answer(request, mode, reference)

    def _mode_of(
        self, request: web.Request, key: str, message: HookMessage, seen_before: int
    ) -> tuple[Mode, str]:
        """Return the mode and what the log calls it."""
        if not key or message is _NOBODY:
            return Mode.REFUSE, _INVALID
        if not self._pace.lets_in(self._chooser.behaviour.rate, now_us=self._now_us()):
            return Mode.THROTTLE, _RATE_LIMITED
        if request.path.startswith(_ASKED):
            with suppress(ValueError):
                mode = Mode(request.path.removeprefix(_ASKED).split("/")[0])
                return mode, mode.value
        mode = self._chooser.mode(
            key=key,
            seen_before=seen_before,
            recipient=message.recipient,
            channel=message.channel,
        )
        return mode, mode.value

    async def _answer(self, request: web.Request, mode: Mode, reference: str) -> web.StreamResponse:
        behaviour = self._chooser.behaviour
        match mode:
            case Mode.ACCEPT:
                return web.json_response({"id": reference}, status=202)
            case Mode.LATE:
                await asyncio.sleep(behaviour.late_s)
                return web.json_response({"id": reference}, status=202)
            case Mode.REFUSE:
                return web.json_response({"error": "the provider refuses it"}, status=422)
            case Mode.GONE:
                return web.json_response({"error": "nobody is here any more"}, status=410)
            case Mode.THROTTLE:
                return web.json_response(
                    {"error": "too many"},
                    status=429,
                    headers={"retry-after": str(behaviour.retry_after_s)},
                )
            case Mode.REDIRECT:
                # Where it would be taken, if anybody followed.
                return web.Response(status=307, headers={"location": "/as/accept/"})
            case Mode.ERROR_BEFORE | Mode.ERROR_AFTER:
                return web.json_response({"error": "something broke"}, status=503)
            case Mode.HANG_BEFORE | Mode.HANG_AFTER:
                await asyncio.sleep(behaviour.hang_s)
            case Mode.RESET_BEFORE | Mode.RESET_AFTER:
                pass
        _break_off(request)
        return web.Response()


def _reference_of(key: str) -> str:
    return "sim-" + blake2b(key.encode(), digest_size=8).hexdigest()


def _break_off(request: web.Request) -> None:
    """End the connection with a reset, not politely."""
    transport = request.transport
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
