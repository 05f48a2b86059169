"""The simulator's mail server in this process, and a connector that sends to it."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from cluster.egress.simulator.log import LogLine, ProviderLog, read_log
from cluster.egress.simulator.modes import Chooser, parse_behaviour
from cluster.egress.simulator.smtp_bounces import BounceWriter
from cluster.egress.simulator.smtp_provider import SmtpProvider
from cluster.egress.smtp_connector import SmtpConnector
from cluster.egress.smtp_pool import PoolLimits, SmtpPool
from cluster.egress.smtp_session import SmtpServer
from cluster.runtime.clock import SystemClock
from pipeline.connectors.smtp.codec import Sender
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.instant import DurationMs, Instant, later
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId, Submission, encode_body
from pipeline.outcome import HandOver, Outcomes
from pipeline.ports import Clock

# For an answer that comes: whoever waits for one that does not says for how long.
PATIENCE_MS = 60_000

LANE = LaneId(1, "n1", 0, "email", "normal-0")
SENDER = Sender(address="news@acme.example", domain="acme.example", default_subject="Hello")


def message_id(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def hand_over(
    recipients: Sequence[str], *, send_before: Instant | None = None, content: str = "hello"
) -> HandOver:
    bodies = [
        encode_body(
            Submission(tenant="acme", channel="email", recipient=recipient, content=content)
        )
        for recipient in recipients
    ]
    return HandOver(
        lane=LANE,
        message_ids=[message_id(number) for number in range(len(recipients))],
        attempts=[1] * len(recipients),
        bodies=[Body(body) for body in bodies],
        send_before=send_before or later(SystemClock().now(), 30_000),
    )


@dataclass(frozen=True)
class Reported:
    """What became of one message."""

    event: Event
    detail: str
    reference: str


@dataclass
class Reports:
    """Takes reports as a lane does; `parts` in the order in which they came."""

    by_position: dict[int, Reported] = field(default_factory=dict)
    parts: list[list[int]] = field(default_factory=list)

    def __call__(self, positions: Sequence[int], outcomes: Outcomes) -> None:
        assert len(positions) == len(outcomes.events)
        self.parts.append(list(positions))
        for index, position in enumerate(positions):
            assert position not in self.by_position, "reported twice"
            self.by_position[position] = Reported(
                Event(outcomes.events[index]),
                outcomes.details.get(index, ""),
                outcomes.references.get(index, ""),
            )

    @property
    def events(self) -> list[Event]:
        return [self.by_position[position].event for position in sorted(self.by_position)]


class Office:
    """A provider and the way to it."""

    def __init__(self, provider: SmtpProvider, log: Path, port: int) -> None:
        self.provider = provider
        self.port = port
        self._log = log

    @property
    def seen(self) -> list[LogLine]:
        return read_log(self._log)

    def connector(self, **options: Any) -> SmtpConnector:
        return connector_to(**{"port": self.port, **options})


def connector_to(
    port: int,
    *,
    connections_max: int = 4,
    mails_max: int = 100,
    idle_ms: int = 30_000,
    answer_timeout_ms: int = PATIENCE_MS,
    clock: Clock | None = None,
    wrap: Callable[[SmtpPool], SmtpPool] = lambda pool: pool,
    **server: Any,
) -> SmtpConnector:
    pool = SmtpPool(
        SmtpServer(
            **{
                "host": "127.0.0.1",
                "port": port,
                "tls": TlsMode.NONE,
                "hello": "acme.example",
                "connect_timeout_ms": DurationMs(PATIENCE_MS),
                "command_timeout_ms": DurationMs(PATIENCE_MS),
                "answer_timeout_ms": DurationMs(answer_timeout_ms),
                **server,
            }
        ),
        PoolLimits(
            connections_max=connections_max,
            mails_per_connection_max=mails_max,
            idle_ms_max=DurationMs(idle_ms),
        ),
    )
    return SmtpConnector(name="mail", pool=wrap(pool), sender=SENDER, clock=clock or SystemClock())


async def submitted(connector: SmtpConnector, handed: HandOver) -> Reports:
    """Hand over, and return what was reported; everything must have been."""
    reports = Reports()
    await connector.submit(handed, reports)
    assert sorted(reports.by_position) == list(range(len(handed.message_ids)))
    return reports


@asynccontextmanager
async def open_office(
    folder: Path,
    *,
    modes: str = "",
    tls: tuple[trustme.LeafCert, bool] | None = None,
    users: Mapping[str, str] | None = None,
    bounces: BounceWriter | None = None,
) -> AsyncIterator[Office]:
    """Run a provider; `tls` is its certificate, and whether it encrypts from the first byte."""
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls[0].configure_cert(context)
    path = folder / "provider.jsonl"
    log = ProviderLog(path)
    provider = SmtpProvider(
        chooser=Chooser(parse_behaviour(modes), 0),
        log=log,
        host="127.0.0.1",
        port=0,
        now_us=SystemClock().now,
        tls_context=context,
        is_tls_implicit=tls is not None and tls[1],
        users=users,
        bounces=bounces,
    )
    office = Office(provider, path, await provider.start())
    try:
        yield office
    finally:
        await provider.close()
        await log.close()
