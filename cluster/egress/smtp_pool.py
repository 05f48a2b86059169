"""A bounded number of connections to one mail server, kept for the next mail.

Each carries one mail at a time.  One that was left in the middle of a mail, or has waited a while,
is asked by RSET whether it still lives before a message is risked on it: servers close what idles,
and a message that meets such a connection would wait for its next attempt.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from cluster.egress.smtp_session import SmtpServer, SmtpSession
from pipeline.instant import DurationMs

_TRUSTED_S: Final = 1.0
_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How many connections, and how long each."""

    connections_max: int
    mails_per_connection_max: int
    idle_ms_max: DurationMs


@dataclass(slots=True, kw_only=True)
class _Waiting:
    session: SmtpSession
    since_s: float
    end: asyncio.TimerHandle


class SmtpPool:
    """Sessions of one event loop; the last that was used is the next that is."""

    def __init__(self, server: SmtpServer, limits: PoolLimits) -> None:
        self._server = server
        self._limits = limits
        self._places = asyncio.Semaphore(limits.connections_max)
        self._idle: deque[_Waiting] = deque()
        self._is_open = True

    @property
    def connections_max(self) -> int:
        """How many mails can be under way at once."""
        return self._limits.connections_max

    async def take(self) -> SmtpSession:
        """Return a session that nobody else uses; wait for one if all are in use.

        It must be given back.  Raises `CannotConnect`.
        """
        await self._places.acquire()
        session: SmtpSession | None = None
        try:
            while self._idle:
                session = self._wake(self._idle.pop())
                if session is not None and await self._is_alive(session):
                    return session
            session = SmtpSession(self._server)
            await session.open()
        except BaseException:
            if session is not None:
                session.abort()
            self._places.release()
            raise
        return session

    def give_back(self, session: SmtpSession) -> None:
        """Keep a session for the next mail, or let it go if it is done for."""
        self._places.release()
        if not session.is_usable:
            session.abort()
        elif not self._is_open or session.mails_count >= self._limits.mails_per_connection_max:
            session.quit()
        else:
            loop = asyncio.get_running_loop()
            waiting = _Waiting(
                session=session,
                since_s=loop.time(),
                end=loop.call_later(self._limits.idle_ms_max / _MS_PER_S, self._end_oldest),
            )
            self._idle.append(waiting)

    def close(self) -> None:
        """Close what waits; what is in use is closed when it is given back."""
        self._is_open = False
        while self._idle:
            waiting = self._idle.pop()
            waiting.end.cancel()
            waiting.session.quit()

    def _wake(self, waiting: _Waiting) -> SmtpSession | None:
        waiting.end.cancel()
        session = waiting.session
        if not session.is_usable:
            session.abort()
            return None
        if asyncio.get_running_loop().time() - waiting.since_s > _TRUSTED_S:
            session.distrust()
        return session

    async def _is_alive(self, session: SmtpSession) -> bool:
        if not session.needs_reset:
            return True
        if await session.reset():
            return True
        session.abort()
        return False

    def _end_oldest(self) -> None:
        # Timers end in the order in which they were set, which is that of the sessions here.
        if self._idle:
            self._idle.popleft().session.quit()
