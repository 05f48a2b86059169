"""The smtp connector: each message a mail of its own, by as many connections as are allowed.

Class 0: nothing that a mail server knows of keeps a repeat from being a second mail.  So whatever
may have been taken is never sent again from here, and whatever certainly was not is said at once:
what still waits for a connection when its time to leave is over, or when the server cannot be
reached, is reported as not sent while other mails of the same hand-over are still under way.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec
import structlog

from cluster.egress.smtp_pool import SmtpPool
from cluster.egress.smtp_session import CannotConnect, SmtpSession
from pipeline.connectors.smtp.codec import MailInvalid, Sender, render
from pipeline.connectors.smtp.replies import Phase, judge_silence, readable
from pipeline.lifecycle import Event
from pipeline.message import decode_body
from pipeline.outcome import HandOver, Outcomes, ProviderClass, Report
from pipeline.ports import Clock

log = structlog.get_logger(__name__)

_US_PER_S: Final = 1_000_000
_TOO_LATE: Final = "its time to be handed over was over before a connection was free"


class SmtpConnector:
    """Class 0, or rather: what a server says is true, and what it does not say is unknown."""

    def __init__(
        self, *, name: str, pool: SmtpPool, sender: Sender, clock: Clock, has_receipts: bool = False
    ) -> None:
        self._name = name
        self._pool = pool
        self._sender = sender
        self._clock = clock
        self._has_receipts = has_receipts

    @property
    def name(self) -> str:
        """Return the configured name."""
        return self._name

    @property
    def provider_class(self) -> ProviderClass:
        """Return `NONE`: a mail server takes every repeat for another mail."""
        return ProviderClass.NONE

    @property
    def has_receipts(self) -> bool:
        """Whether somebody reads what comes to the bounce addresses."""
        return self._has_receipts

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        """Hand each message over at most once; report each as soon as it is answered."""
        run = _Run(hand_over, report, pool=self._pool, sender=self._sender, clock=self._clock)
        await run.work()
        if run.why_unreachable:
            log.warning("smtp_cannot_connect", connector=self._name, why=run.why_unreachable)

    async def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Run:
    """One hand-over: its messages wait in one queue for several connections."""

    def __init__(
        self,
        hand_over: HandOver,
        report: Report,
        *,
        pool: SmtpPool,
        sender: Sender,
        clock: Clock,
    ) -> None:
        self._hand_over = hand_over
        self._report = report
        self._pool = pool
        self._sender = sender
        self._clock = clock
        self._left = deque(range(len(hand_over.message_ids)))
        self._is_connected = False
        self.why_unreachable = ""

    async def work(self) -> None:
        """Return when every message is reported."""
        timer = asyncio.get_running_loop().call_later(self._left_s(), self._give_up, _TOO_LATE)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._pool.connections_max, len(self._left))):
                    workers.create_task(self._serve())
        finally:
            timer.cancel()
        if self.why_unreachable and not self._is_connected:
            # The server is down, or wants nothing of us: who judges its health is to know.
            self._give_up(self.why_unreachable, Event.DEFER)
        self._give_up(self.why_unreachable or _TOO_LATE)

    async def _serve(self) -> None:
        """Hand messages over, one by one, as long as there are any and a connection for them."""
        while self._left:
            try:
                async with asyncio.timeout(self._left_s()):
                    session = await self._pool.take()
            except TimeoutError:
                return
            except CannotConnect as error:
                # Others may have connections: a server that takes no more of them is not down.
                self.why_unreachable = readable(str(error))
                return
            self._is_connected = True
            try:
                if self._left:
                    await self._hand_over_next(session)
            except BaseException:
                session.abort()
                raise
            finally:
                self._pool.give_back(session)

    async def _hand_over_next(self, session: SmtpSession) -> None:
        position = self._left.popleft()
        message_id = self._hand_over.message_ids[position]
        try:
            mail = render(
                decode_body(self._hand_over.bodies[position]),
                message_id=message_id,
                sender=self._sender,
                now=self._clock.now(),
            )
        except (MailInvalid, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._tell([position], Event.REFUSE, f"cannot be written as a mail: {error}")
            return
        try:
            verdict = await session.transact(mail, key=message_id.hex(), may_leave=self._may_leave)
        except Exception as error:
            # What nobody thought of: nobody knows how far the mail had come, either.
            log.exception("smtp_transaction_broke", message_id=message_id.hex())
            session.abort()
            verdict = judge_silence(Phase.END, type(error).__name__)
        if verdict is None:
            self._tell([position], Event.NOT_SENT, _TOO_LATE)
        else:
            self._tell(
                [position],
                verdict.event,
                verdict.detail,
                verdict.reference,
                unwanted=verdict.unwanted,
            )

    def _may_leave(self) -> bool:
        return self._clock.now() < self._hand_over.send_before

    def _left_s(self) -> float:
        return max(0, self._hand_over.send_before - self._clock.now()) / _US_PER_S

    def _give_up(self, why: str, event: Event = Event.NOT_SENT) -> None:
        """Report what no connection took up."""
        left = list(self._left)
        self._left.clear()
        self._tell(left, event, why)

    def _tell(
        self,
        positions: list[int],
        event: Event,
        detail: str,
        reference: str = "",
        *,
        unwanted: str = "",
    ) -> None:
        if not positions:
            return
        outcomes = Outcomes(
            events=bytes([event]) * len(positions),
            details=dict.fromkeys(range(len(positions)), readable(detail)) if detail else {},
            references=dict.fromkeys(range(len(positions)), reference) if reference else {},
            unwanted=dict.fromkeys(range(len(positions)), unwanted) if unwanted else {},
        )
        self._report(positions, outcomes)
