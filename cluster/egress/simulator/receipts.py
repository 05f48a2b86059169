"""Receipts as providers send them: later, twice, before the answer, or never; repeated until a
callback is answered with 2xx, as providers do."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp

from cluster.egress.simulator.modes import Chooser, ReceiptMode, Receipts
from pipeline.connectors.webhook.request import Signer
from pipeline.instant import Instant

_TRIES_MAX: Final = 20
_CALLBACK_TIMEOUT_S: Final = 10.0
_BACKOFF_S: Final = 0.1
_US_PER_S: Final = 1_000_000
_BACKOFF_S_MAX: Final = 5.0


class ReceiptSender:
    """Calls back about messages that were taken; `now_us` is the wall clock."""

    def __init__(self, *, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._called = 0
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.answered_count = 0

    async def after_taking(self, chooser: Chooser, *, key: str, reference: str) -> None:
        """Send the message's receipt now if it is to be early, else see to it later."""
        receipts = chooser.behaviour.receipts
        mode, is_delivered = chooser.receipt(key=key)
        if receipts is None or mode is ReceiptMode.NEVER:
            return
        body = {
            "reference": reference,
            "message_id": key,
            "status": "delivered" if is_delivered else "failed",
        }
        if mode is ReceiptMode.EARLY and await self._call(receipts, body):
            return
        for _ in range(2 if mode is ReceiptMode.TWICE else 1):
            task = asyncio.create_task(self._call_later(receipts, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop what is still to be sent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _call_later(self, receipts: Receipts, body: dict[str, str]) -> None:
        await asyncio.sleep(receipts.delay_s)
        backoff_s = _BACKOFF_S
        for _ in range(_TRIES_MAX):
            if await self._call(receipts, body):
                return
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_S_MAX)

    async def _call(self, receipts: Receipts, body: dict[str, str]) -> bool:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_CALLBACK_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        with suppress(aiohttp.ClientError, TimeoutError):
            self._called += 1
            content = json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            if receipts.secret:
                key, at = f"callback_{self._called}", Instant(self._now_us())
                headers |= {
                    "webhook-id": key,
                    "webhook-timestamp": str(at // _US_PER_S),
                    "webhook-signature": Signer([receipts.secret]).signature(
                        key=key, at=at, content=content
                    ),
                }
            post = self._session.post(receipts.url, data=content, headers=headers)
            async with post as answer:
                if 200 <= answer.status <= 299:
                    self.answered_count += 1
                    return True
        return False
