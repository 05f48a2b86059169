"""The receiver: hears what providers say later of messages, and notes it for their lanes.

Callbacks come by HTTP, bounces by a maildir.  It keeps nothing: a callback is answered, and a
bounce put aside, once what it says is durable and the message's lane is told if its owner was there
before.  If it dies in between, the provider says it again, or the file is read again, and nothing
of that does harm twice.  What comes at the same time is noted together.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import structlog

from actors.receipt_desk import ReceiptDesk
from cluster.egress.receipt_endpoint import CallbackReply, TakeCallback
from cluster.egress.smtp_bounce_folder import ReportFile
from pipeline.connectors.smtp.delivery_report import (
    DeliveryReceipt,
    Feedback,
    NotOurs,
    SuppressionHint,
)
from pipeline.connectors.webhook.receipt import ReceiptUnreadable, SignatureCheck, read_receipts
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.later import ReceiptRow
from pipeline.lifecycle import Event
from pipeline.limits import (
    BOUNCES_LOOK_INTERVAL_MS,
    BOUNCES_PER_READ_MAX,
    RECEIPTS_PER_NOTE_MAX,
    RECEIPTS_WAITING_MAX,
)
from pipeline.ports import Clock
from pipeline.route.receipts import ReceiptTerms, Word, provider_row

log = structlog.get_logger(__name__)

_MS_PER_S: Final = 1_000
_TROUBLE: Final = (StoreUnavailable, WriteUnknown)


class Endpoint(Protocol):
    """Where callbacks come to."""

    async def start(self, take: TakeCallback) -> int:
        """Listen, and return the port.  Raises `SettingInvalid` if that cannot be."""
        ...

    async def close(self) -> None:
        """Listen no more."""
        ...


class Folder(Protocol):
    """Where bounces are."""

    async def read(self, limit: int) -> list[ReportFile]:
        """Return up to `limit` reports that were not put aside."""
        ...

    async def put_aside(self, reports: Sequence[ReportFile]) -> None:
        """Move reports whose content is recorded durably."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackDoor:
    """Who may call back for a connector, and how messages are named there."""

    terms: ReceiptTerms
    check: SignatureCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverPorts:
    """What a receiver holds of the world."""

    desk: ReceiptDesk
    endpoint: Endpoint | None  # None: no connector has callbacks
    doors: Mapping[str, CallbackDoor]  # by connector
    folders: Mapping[str, Folder]  # by connector
    clock: Clock
    close: Callable[[], Awaitable[None]]


class Receiver:
    """One for a platform whose providers send receipts."""

    def __init__(self, open_ports: Callable[[], Awaitable[ReceiverPorts]]) -> None:
        self._open_ports = open_ports
        self._lifecycle = asyncio.Lock()
        self._ports: ReceiverPorts | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._noting: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[Sequence[ReceiptRow], asyncio.Future[None]]] = deque()
        self._waiting_count = 0
        self._is_over = False
        self.heard_count = self.matched_count = self.refused_count = self.unknown_count = 0

    async def start(self) -> None:
        """Listen and look.  A second start does nothing; one that failed may be repeated."""
        async with self._lifecycle:
            if self._ports is not None or self._is_over:
                return
            ports = await self._open_ports()
            try:
                if ports.endpoint is not None:
                    port = await ports.endpoint.start(self.take)
                    log.info("receipts_awaited", port=port, connectors=sorted(ports.doors))
            except BaseException:
                await ports.close()
                raise
            self._ports = ports
            create = asyncio.get_running_loop().create_task
            self._loops = [
                create(self._look_for_ever(ports, name, folder))
                for name, folder in ports.folders.items()
            ]

    async def stop(self) -> None:
        """Hear nothing more; who waits for an answer gets it, or says it again."""
        async with self._lifecycle:
            self._is_over = True
            ports, self._ports = self._ports, None
            if ports is None:
                return
            if ports.endpoint is not None:
                await ports.endpoint.close()
            for loop in self._loops:
                loop.cancel()
            await asyncio.gather(*self._loops, return_exceptions=True)
            if self._noting is not None:
                await asyncio.gather(self._noting, return_exceptions=True)
            await ports.close()

    async def check_health(self) -> Mapping[str, int]:
        """Return how it goes; raises what ended a loop."""
        await self.start()
        for loop in self._loops:
            if loop.done() and not loop.cancelled():
                loop.result()
        return {
            "heard": self.heard_count,
            "matched": self.matched_count,
            "refused": self.refused_count,
            "unknown": self.unknown_count,
            "waiting": self._waiting_count,
        }

    # --- callbacks ----------------------------------------------------------------------------

    async def take(
        self, connector: str, headers: Mapping[str, str], content: bytes
    ) -> CallbackReply:
        """Answer a callback: yes only once all that it says is noted."""
        ports = self._ports
        if ports is None:
            return CallbackReply(HTTPStatus.SERVICE_UNAVAILABLE)
        door, now = ports.doors.get(connector), ports.clock.now()
        if door is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "no connector of this name has receipts")
        if not door.check.is_signed(headers, content, now=now):
            return self._refuse(
                HTTPStatus.UNAUTHORIZED, "not signed, or too long ago, or with another secret"
            )
        try:
            receipts = read_receipts(content, door.terms)
        except ReceiptUnreadable as unreadable:
            return self._refuse(HTTPStatus.BAD_REQUEST, str(unreadable))
        rows = [
            provider_row(connector, one.reference, one.word, at=now, detail=one.detail)
            for one in receipts
            if one.word is not None
        ]
        self.unknown_count += len(receipts) - len(rows)
        if self._waiting_count + len(rows) > RECEIPTS_WAITING_MAX:
            return CallbackReply(HTTPStatus.SERVICE_UNAVAILABLE, "too many wait")
        try:
            await self._note(ports.desk, rows)
        except _TROUBLE as error:
            log.warning("receipts_not_noted", error=str(error))
            return CallbackReply(HTTPStatus.SERVICE_UNAVAILABLE, "not noted: send it again")
        return CallbackReply(HTTPStatus.OK)

    def _refuse(self, status: HTTPStatus, reason: str) -> CallbackReply:
        self.refused_count += 1
        return CallbackReply(status, reason)

    # --- bounces ------------------------------------------------------------------------------

    async def _look_for_ever(self, ports: ReceiverPorts, name: str, folder: Folder) -> None:
        while True:
            found = 0
            try:
                found = await self.look(ports, name, folder)
            except (*_TROUBLE, OSError) as error:
                # Every file that was not put aside is read again.
                log.warning("bounces_not_noted", connector=name, error=str(error))
            if found < BOUNCES_PER_READ_MAX:
                await asyncio.sleep(BOUNCES_LOOK_INTERVAL_MS / _MS_PER_S)

    async def look(self, ports: ReceiverPorts, name: str, folder: Folder) -> int:
        """Note what lies in a folder, then put it aside; return how much it was."""
        reports = await folder.read(BOUNCES_PER_READ_MAX)
        if reports:
            now = ports.clock.now()
            rows = [
                provider_row(name, said.message_id.hex(), _word(said), at=now, detail=said.detail)
                for report in reports
                if not isinstance(said := report.said, NotOurs)
            ]
            await self._note(ports.desk, rows)
            await folder.put_aside(reports)
        return len(reports)

    # --- both ---------------------------------------------------------------------------------

    async def _note(self, desk: ReceiptDesk, rows: Sequence[ReceiptRow]) -> None:
        """Return when the rows are noted; raises what the desk raises."""
        if not rows:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        done.add_done_callback(lambda told: told.cancelled() or told.exception())
        self._waiting.append((rows, done))
        self._waiting_count += len(rows)
        if self._noting is None or self._noting.done():
            self._noting = loop.create_task(self._note_all(desk))
        # Who called may be gone; what it said is noted all the same.
        await asyncio.shield(done)

    async def _note_all(self, desk: ReceiptDesk) -> None:
        while self._waiting:
            rows: list[ReceiptRow] = []
            answered: list[asyncio.Future[None]] = []
            while self._waiting and (
                not rows or len(rows) + len(self._waiting[0][0]) <= RECEIPTS_PER_NOTE_MAX
            ):
                part, done = self._waiting.popleft()
                rows += part
                answered.append(done)
            error: BaseException | None = None
            try:
                self.matched_count += len(await desk.note(rows))
                self.heard_count += len(rows)
            except Exception as trouble:
                error = trouble
            self._waiting_count -= len(rows)
            for done in answered:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)


def _word(said: DeliveryReceipt | SuppressionHint) -> Word:
    if isinstance(said, SuppressionHint):
        return Word.COMPLAINT if said.feedback is Feedback.COMPLAINT else Word.OPT_OUT
    if said.event == Event.DELIVER:
        return Word.DELIVER
    return Word.GONE if said.is_address_gone else Word.REFUSE
