"""The connector: each message once, some at once, reported in parts."""

import asyncio
from collections.abc import Sequence

import httpcore
import pytest

from pipeline.connectors.webhook.query import QueryWriter
from pipeline.instant import later
from pipeline.lifecycle import Event
from pipeline.message import Body
from pipeline.outcome import HandOver
from pipeline.ports import QueryableConnector
from tests.support.fake_clock import NOW, FakeClock
from tests.support.fake_network import ADDRESS, OK, FakeNetwork
from tests.support.webhook_office import (
    Reports,
    hand_over_to,
    message_id,
    submit,
    webhook_connector,
)

URL = "https://hooks.example/in"
GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
TAKEN = b'HTTP/1.1 202 x\r\ncontent-length: 12\r\n\r\n{"id": "r1"}'


async def public(_host: str, _port: int) -> Sequence[str]:
    return [ADDRESS]


async def test_each_message_is_posted_once_under_its_id() -> None:
    clock, network = FakeClock(), FakeNetwork(*[TAKEN] * 3)
    connector = webhook_connector(clock, network=network, resolve=public, concurrency=1)
    reports = await submit(connector, clock, [URL] * 3)
    assert reports.events() == [Event.TAKE] * 3
    assert {told.reference for told in reports.by_position.values()} == {"r1"}
    for number in range(3):
        key = message_id(number).hex()
        assert network.written.count(f"webhook-id: {key}\r\n".encode()) == 1
    assert network.written.count(b"POST") == 3


async def test_what_waits_too_long_for_its_turn_does_not_leave() -> None:
    clock = FakeClock()

    class Slow(FakeNetwork):
        async def connect_tcp(self, *where: object, **how: object) -> httpcore.AsyncNetworkStream:
            clock.advance(1_000)
            return await super().connect_tcp(*where, **how)  # type: ignore[arg-type]

    network = Slow(OK, OK, OK)
    connector = webhook_connector(clock, network=network, resolve=public, concurrency=1)
    hosts = [f"https://h{n}.example/" for n in range(3)]
    reports = await submit(connector, clock, hosts, send_before=later(NOW, 1_500))
    assert reports.events() == [Event.TAKE, Event.NOT_SENT, Event.NOT_SENT]
    assert network.written.count(b"POST") == 1


async def test_answers_are_reported_as_they_come_and_a_slow_one_keeps_nobody_waiting() -> None:
    clock, network = FakeClock(), FakeNetwork(None, OK, OK)
    connector = webhook_connector(
        clock, network=network, resolve=public, concurrency=2, answer_timeout_ms=100
    )
    reports = await submit(connector, clock, [URL] * 3)
    assert sorted(reports.events()) == [Event.LOSE_ANSWER, Event.TAKE, Event.TAKE]
    first, *_ = reports.parts
    lost = [n for n, told in reports.by_position.items() if told.event is Event.LOSE_ANSWER]
    assert not set(first) & set(lost)


async def test_a_message_that_cannot_be_read_stops_no_other() -> None:
    clock, network = FakeClock(), FakeNetwork(OK)
    connector = webhook_connector(clock, network=network, resolve=public)
    good = hand_over_to([URL], send_before=later(NOW, 1_000))
    reports = Reports()
    await connector.submit(
        HandOver(
            lane=good.lane,
            message_ids=[message_id(7), *good.message_ids],
            attempts=[1, 1],
            bodies=[Body(b"\xc1"), *good.bodies],
            send_before=good.send_before,
        ),
        reports,
    )
    assert reports.events() == [Event.REFUSE, Event.TAKE]


async def test_when_it_is_cancelled_only_what_had_begun_is_left_open() -> None:
    clock, network = FakeClock(), FakeNetwork(None)
    connector = webhook_connector(clock, network=network, resolve=public, concurrency=1)
    reports = Reports()
    handed = hand_over_to([URL] * 3, send_before=later(NOW, 1_000))
    submitting = asyncio.create_task(connector.submit(handed, reports))
    await network.was_written.wait()
    of_another_lane = Reports()
    waiting = asyncio.create_task(connector.submit(handed, of_another_lane))
    await asyncio.sleep(0)
    for task in (waiting, submitting):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert of_another_lane.events() == [Event.NOT_SENT] * 3
    assert {n: told.event for n, told in reports.by_position.items()} == {
        1: Event.NOT_SENT,
        2: Event.NOT_SENT,
    }


async def test_a_recipient_that_is_gone_is_left_alone_for_a_while() -> None:
    clock, network = FakeClock(), FakeNetwork(GONE, OK, OK)
    connector = webhook_connector(clock, network=network, resolve=public, concurrency=1)
    assert (await submit(connector, clock, [URL, URL])).events() == [Event.REFUSE] * 2
    assert network.written.count(b"POST") == 1
    other = "https://hooks.example/other"
    assert (await submit(connector, clock, [other])).events() == [Event.TAKE]
    clock.advance(3_600_000)
    assert (await submit(connector, clock, [URL])).events() == [Event.TAKE]


async def test_a_provider_that_says_gone_says_it_of_one_message() -> None:
    clock, network = FakeClock(), FakeNetwork(GONE, OK)
    connector = webhook_connector(clock, url=URL, network=network, resolve=public, concurrency=1)
    assert (await submit(connector, clock, ["a", "b"])).events() == [Event.REFUSE, Event.TAKE]


async def test_once_it_is_closed_nothing_leaves() -> None:
    clock, network = FakeClock(), FakeNetwork(OK)
    connector = webhook_connector(clock, network=network, resolve=public)
    await connector.close()
    assert (await submit(connector, clock, [URL])).events() == [Event.NOT_SENT]
    assert not network.connected


# --- asking ---------------------------------------------------------------------------------------

MISSING = b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"
ASKED = QueryWriter(url="https://hooks.example/messages/{id}")


async def test_what_a_provider_answers_for_is_told_and_nothing_else() -> None:
    clock = FakeClock()
    network = FakeNetwork(OK, MISSING, BROKEN, httpcore.ReadError("reset"), OK)
    connector = webhook_connector(
        clock, url=URL, network=network, resolve=public, concurrency=1, query_writer=ASKED
    )
    ids = [message_id(n) for n in range(5)]
    assert await connector.find(ids) == {ids[0]: True, ids[1]: False, ids[4]: True}
    for id_ in ids:
        asked = f"GET /messages/{id_.hex()} HTTP/1.1\r\n".encode()
        assert network.written.count(asked) == 1
    assert b"content-length" not in network.written
    assert isinstance(connector, QueryableConnector)


async def test_one_that_cannot_be_asked_or_is_closed_says_nothing() -> None:
    clock, network = FakeClock(), FakeNetwork(OK)
    connector = webhook_connector(clock, url=URL, network=network, resolve=public)
    assert await connector.find([message_id(1)]) == {}
    asked = webhook_connector(clock, url=URL, network=network, resolve=public, query_writer=ASKED)
    await asked.close()
    assert await asked.find([message_id(1)]) == {}
    assert network.written == b""
