"""The webhook connector: the codec's requests through the sender, as a `Connector`."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from cluster.egress.http_sender import HttpSender, LeaveBy
from pipeline.connectors.webhook.answer import Exchange, Unsendable, Verdict, is_gone, judge
from pipeline.connectors.webhook.query import QueryWriter, has_message
from pipeline.connectors.webhook.request import RequestWriter
from pipeline.instant import Instant, later
from pipeline.lifecycle import Event
from pipeline.message import MessageId
from pipeline.outcome import HandOver, Outcomes, ProviderClass, Report
from pipeline.ports import Clock

# Answers that come close together are reported together, as a lane appends them together.
_REPORT_DELAY_S: Final = 0.005
# A receiver that said "gone" is not asked again for a while; it may come back.
_GONE_MS: Final = 3_600_000
_GONE_REMEMBERED: Final = 10_000
# A question that has not left by then is asked another time.
_ASK_MS: Final = 10_000


class WebhookConnector:
    """Posts messages, some at once, and reports each when its answer came.

    `url` None: each message goes to its recipient.
    """

    def __init__(
        self,
        *,
        name: str,
        provider_class: ProviderClass,
        has_receipts: bool,
        url: str | None,
        writer: RequestWriter,
        sender: HttpSender,
        clock: Clock,
        concurrency: int,
        query_writer: QueryWriter | None = None,
    ) -> None:
        self._name = name
        self._provider_class = provider_class
        self._has_receipts = has_receipts
        self._is_own_url = url is not None
        self._writer = writer
        self._query_writer = query_writer
        self._sender = sender
        self._clock = clock
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._gone: OrderedDict[str, Instant] = OrderedDict()
        self._is_open = True

    @property
    def name(self) -> str:
        """Return the configured name."""
        return self._name

    @property
    def provider_class(self) -> ProviderClass:
        """Return what the operator declared: nothing else can know it."""
        return self._provider_class

    @property
    def has_receipts(self) -> bool:
        """Return what the operator declared."""
        return self._has_receipts

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        """Post each message once; what waits for its turn too long is reported as not sent.

        When it is cancelled, what had not begun is reported as not sent, and what had begun is not
        reported.
        """
        leave_by = LeaveBy.at(hand_over.send_before, clock=self._clock)
        parts = _Parts(report)
        positions = iter(range(len(hand_over.message_ids)))
        try:
            async with asyncio.TaskGroup() as posting:
                # Lanes take turns at the slots: each waits with as many posts as another.
                for _ in range(min(self._concurrency, len(hand_over.message_ids))):
                    posting.create_task(self._post(hand_over, positions, leave_by, parts))
        finally:
            for position in positions:
                parts.add(position, Verdict(Event.NOT_SENT, "the connector was stopped"))
            parts.flush()

    async def find(self, message_ids: Sequence[MessageId]) -> Mapping[MessageId, bool]:
        """Ask for each message once; what got no answer is left out."""
        found: dict[MessageId, bool] = {}
        if self._query_writer is None:
            return found
        ids = iter(message_ids)
        async with asyncio.TaskGroup() as asking:
            for _ in range(min(self._concurrency, len(message_ids))):
                asking.create_task(self._ask(self._query_writer, ids, found))
        return found

    async def close(self) -> None:
        """Send nothing more and close the connections."""
        self._is_open = False
        await self._sender.close()

    async def _post(
        self, hand_over: HandOver, positions: Iterator[int], leave_by: LeaveBy, parts: "_Parts"
    ) -> None:
        while True:
            async with self._slots:
                # Taken only now: who waits for a slot holds no message that has begun.
                position = next(positions, None)
                if position is None:
                    return
                verdict = await self._verdict(hand_over, position, leave_by)
            parts.add(position, verdict)

    async def _verdict(self, hand_over: HandOver, position: int, leave_by: LeaveBy) -> Verdict:
        if not self._is_open:
            return Verdict(Event.NOT_SENT, "the connector is closed")
        now = self._clock.now()
        exchange: Exchange
        try:
            request = self._writer.write(
                hand_over.message_ids[position], hand_over.bodies[position], now=now
            )
        except (msgspec.MsgspecError, ValueError) as error:
            exchange = Unsendable(f"no request can be made of it: {type(error).__name__}")
        else:
            if self._is_gone(request.url, now):
                return Verdict(Event.REFUSE, "HTTP 410 Gone, a short while ago")
            exchange = await self._sender.send(request, leave_by=leave_by)
            if is_gone(exchange) and not self._is_own_url:
                self._remember_gone(request.url)
        return judge(exchange, now=self._clock.now(), is_own_url=self._is_own_url)

    async def _ask(
        self, writer: QueryWriter, ids: Iterator[MessageId], found: dict[MessageId, bool]
    ) -> None:
        for id_ in ids:
            async with self._slots:
                if not self._is_open:
                    return
                leave_by = LeaveBy.at(later(self._clock.now(), _ASK_MS), clock=self._clock)
                exchange = await self._sender.send(writer.write(id_), leave_by=leave_by)
            has = has_message(exchange)
            if has is not None:
                found[id_] = has

    def _is_gone(self, url: str, now: Instant) -> bool:
        until = self._gone.get(url)
        if until is None:
            return False
        if now >= until:
            del self._gone[url]
            return False
        return True

    def _remember_gone(self, url: str) -> None:
        self._gone[url] = later(self._clock.now(), _GONE_MS)
        if len(self._gone) > _GONE_REMEMBERED:
            self._gone.popitem(last=False)


class _Parts:
    """Collects verdicts for a moment and reports them together."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._verdicts: list[tuple[int, Verdict]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, position: int, verdict: Verdict) -> None:
        """Take what became of one message."""
        self._verdicts.append((position, verdict))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_REPORT_DELAY_S, self.flush)

    def flush(self) -> None:
        """Report what was not reported yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        verdicts, self._verdicts = self._verdicts, []
        if not verdicts:
            return
        told = [verdict for _, verdict in verdicts]
        self._report(
            [position for position, _ in verdicts],
            Outcomes(
                events=bytes(verdict.event for verdict in told),
                details={n: verdict.detail for n, verdict in enumerate(told) if verdict.detail},
                references={
                    n: verdict.reference for n, verdict in enumerate(told) if verdict.reference
                },
                retry_after_ms={
                    n: verdict.retry_after_ms
                    for n, verdict in enumerate(told)
                    if verdict.retry_after_ms
                },
                unwanted={
                    n: verdict.unwanted for n, verdict in enumerate(told) if verdict.unwanted
                },
            ),
        )
