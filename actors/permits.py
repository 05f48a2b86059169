"""A scheduler's way to its permits: asks the limiter every half second, and holds what it deals.

    permits = PermitClient(PermitDesk(me, keys), find_limiter=..., clock=..., on_grants=wake)
    await permits.start()
    permits.desk.want(lane, band, {key: waiting}); permits.desk.admit(lane, keys, now)

Without an answer the desk's leases end, and nothing that needs a permit leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from actors.limiter import decode_grants, encode_demand
from pipeline.instant import Instant
from pipeline.limits import LIMITER_ASK_AHEAD_MS, LIMITER_PERIOD_MS
from pipeline.ports import Clock
from pipeline.route.lease import PermitDesk
from pipeline.route.limiter import LEAD_US, PERIOD_US

log = structlog.get_logger(__name__)

_US: Final = 1_000_000
_ASK_AHEAD_US: Final = LIMITER_ASK_AHEAD_MS * 1_000
_TIMEOUT_S: Final = 4 * LIMITER_PERIOD_MS / 1_000
_LOOK_AGAIN_S: Final = 0.2


class LimiterDoor(Protocol):
    """The limiter, as a scheduler reaches it."""

    async def ask(self, demand: bytes) -> bytes:
        """Return encoded grants to an encoded demand; raises if the limiter is gone."""
        ...


class PermitClient:
    """Keeps one scheduler's desk supplied."""

    def __init__(
        self,
        desk: PermitDesk,
        *,
        find_limiter: Callable[[], Awaitable[LimiterDoor | None]],
        clock: Clock,
        on_grants: Callable[[], None],
    ) -> None:
        self.desk = desk
        self._find_limiter = find_limiter
        self._clock = clock
        self._on_grants = on_grants
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to ask.  A second start does nothing."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    async def _run(self) -> None:
        limiter: LimiterDoor | None = None
        while True:
            try:
                if limiter is None:
                    limiter = await self._find_limiter()
                if limiter is None:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                    continue
                # Told once: if the answer is lost, so is what it says of outcomes, no more.
                demand = encode_demand(self.desk.demand())
                answer = await asyncio.wait_for(limiter.ask(demand), _TIMEOUT_S)
            except Exception as error:
                # Any class, as the limiter's own errors come over Ray: whatever it was, the
                # leases end, and the limiter is looked for again.
                log.warning("limiter_unanswered", error=f"{type(error).__name__}: {error}")
                limiter = None
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            grants = decode_grants(answer)
            self.desk.on_grants(grants)
            self._on_grants()
            # As late as it can be, so that it tells what waits then.
            ask_at = Instant(grants.starts_at + PERIOD_US - LEAD_US - _ASK_AHEAD_US)
            wait_us = min(ask_at - self._clock.now(), PERIOD_US)
            if wait_us > 0:
                await asyncio.sleep(wait_us / _US)
