"""A webhook connector, what it is given, and what it reports."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.egress.http_addresses import AddressRules
from cluster.egress.http_sender import HttpSender
from cluster.egress.webhook_connector import WebhookConnector
from pipeline.connectors.webhook.query import QueryWriter
from pipeline.connectors.webhook.request import RequestWriter, Signer
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId, Submission, encode_body
from pipeline.outcome import HandOver, Outcomes, ProviderClass
from pipeline.ports import Clock

LANE = LaneId(1, "n1", 0, "webhook", "normal-0")


def webhook_connector(
    clock: Clock,
    *,
    url: str | None = None,
    concurrency: int = 16,
    networks: Sequence[str] = (),
    ports: Sequence[int] = (80, 443),
    connect_timeout_ms: int = 60_000,
    answer_timeout_ms: int = 60_000,
    query_writer: QueryWriter | None = None,
    **to_sender: Any,
) -> WebhookConnector:
    return WebhookConnector(
        name="hooks",
        provider_class=ProviderClass.KEYED,
        has_receipts=False,
        url=url,
        writer=RequestWriter(url=url, signer=Signer([])),
        sender=HttpSender(
            clock=clock,
            rules=AddressRules.allowing(networks, ports),
            connect_timeout_ms=DurationMs(connect_timeout_ms),
            answer_timeout_ms=DurationMs(answer_timeout_ms),
            idle_max=concurrency,
            **to_sender,
        ),
        clock=clock,
        concurrency=concurrency,
        query_writer=query_writer,
    )


def message_id(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def hand_over_to(
    recipients: Sequence[str], *, send_before: Instant, first: int = 0, attempt: int = 1
) -> HandOver:
    """Return messages, numbered from `first`, to these URLs."""
    bodies = [
        encode_body(
            Submission(tenant="acme", channel="webhook", recipient=recipient, content="hello")
        )
        for recipient in recipients
    ]
    return HandOver(
        lane=LANE,
        message_ids=[message_id(first + number) for number in range(len(recipients))],
        attempts=[attempt] * len(recipients),
        bodies=[Body(body) for body in bodies],
        send_before=send_before,
    )


@dataclass(frozen=True)
class Told:
    event: Event
    detail: str = ""
    reference: str = ""
    retry_after_ms: int = 0


@dataclass
class Reports:
    """Takes reports as a lane does."""

    by_position: dict[int, Told] = field(default_factory=dict)
    parts: list[list[int]] = field(default_factory=list)
    enough: int = 0  # of reports: then `came` is set
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, positions: Sequence[int], outcomes: Outcomes) -> None:
        assert len(positions) == len(outcomes.events) > 0
        self.parts.append(list(positions))
        for index, position in enumerate(positions):
            assert position not in self.by_position, "reported twice"
            self.by_position[position] = Told(
                Event(outcomes.events[index]),
                outcomes.details.get(index, ""),
                outcomes.references.get(index, ""),
                outcomes.retry_after_ms.get(index, 0),
            )

        if len(self.by_position) >= self.enough:
            self.came.set()

    def events(self) -> list[Event]:
        """Return the events in the order of the messages."""
        return [self.by_position[position].event for position in sorted(self.by_position)]


async def submit(
    connector: WebhookConnector,
    clock: Clock,
    recipients: Sequence[str],
    *,
    send_before: Instant | None = None,
    first: int = 0,
) -> Reports:
    """Hand messages over and return what was reported of them: every one, once."""
    reports = Reports()
    by = later(clock.now(), 30_000) if send_before is None else send_before
    await connector.submit(hand_over_to(recipients, send_before=by, first=first), reports)
    assert sorted(reports.by_position) == list(range(len(recipients)))
    return reports
