"""The limiter: deals the permits of every half second to the schedulers that ask.

A thin shell around `PermitDealer`.  It knows nothing that it is not told again in half a second, so
that it may die at any moment: leases end, the next one begins a lease later, and what goes by
connectors without a limit does not notice.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog

from pipeline.ports import Clock
from pipeline.route.limiter import Demand, Grants, PermitDealer
from pipeline.route.permits import LimitBook

log = structlog.get_logger(__name__)

_US: Final = 1_000_000
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_demand: Final = msgspec.msgpack.Decoder(Demand).decode
_decode_grants: Final = msgspec.msgpack.Decoder(Grants).decode

encode_demand = _encode
"""Demand -> bytes."""

decode_grants = _decode_grants
"""bytes -> Grants."""


class Limiter:
    """One for a platform that has a connector with a limit."""

    def __init__(self, book: LimitBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._lifecycle = asyncio.Lock()
        self._dealer: PermitDealer | None = None
        self._loop: asyncio.Task[None] | None = None
        self._waiting: dict[str, list[asyncio.Future[bytes]]] = {}
        self._rounds = 0

    async def start(self) -> None:
        """Begin to deal.  A second start does nothing."""
        async with self._lifecycle:
            if self._loop is None:
                self._dealer = PermitDealer(self._book, now=self._clock.now())
                self._loop = asyncio.get_running_loop().create_task(self._run(self._dealer))

    async def stop(self) -> None:
        """Deal nothing more; who waits for an answer is told that there is none."""
        async with self._lifecycle:
            loop, self._loop, self._dealer = self._loop, None, None
            if loop is not None:
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
            self._cancel_waiting()

    async def check_health(self) -> Mapping[str, Any]:
        """Return how it goes; raises what ended the loop."""
        await self.start()
        assert self._loop is not None
        if self._loop.done():
            self._loop.result()
        return {"rounds": self._rounds, "asking": len(self._waiting)}

    async def ask(self, demand: bytes) -> bytes:
        """Return the grants of the next period to an encoded demand, once that is decided.

        May be repeated: the newest demand of a scheduler counts.
        """
        await self.start()
        dealer = self._dealer
        assert dealer is not None
        asked = _decode_demand(demand)
        dealer.ask(asked)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asked.scheduler, []).append(answer)
        return await answer

    async def _run(self, dealer: PermitDealer) -> None:
        while True:
            now = self._clock.now()
            dealer.on_clock(now)
            wait_us = dealer.next_decision_at - now
            if wait_us > 0:
                await asyncio.sleep(wait_us / _US)
                continue
            grants = dealer.decide()
            self._rounds += 1
            for scheduler, waiting in list(self._waiting.items()):
                # One that was gone for long is answered when it asks again.
                if scheduler in grants:
                    encoded = _encode(grants[scheduler])
                    del self._waiting[scheduler]
                    for answer in waiting:
                        if not answer.done():
                            answer.set_result(encoded)

    def _cancel_waiting(self) -> None:
        for waiting in self._waiting.values():
            for answer in waiting:
                answer.cancel()
        self._waiting.clear()
