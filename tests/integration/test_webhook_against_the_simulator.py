"""Webhooks over real sockets: what the connector reports, beside what the provider wrote down."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cluster.egress.simulator.log import read_log
from cluster.egress.webhook_connector import WebhookConnector
from cluster.runtime.clock import SystemClock
from pipeline.connectors.webhook.query import QueryWriter
from pipeline.instant import later
from pipeline.lifecycle import Event
from pipeline.ports import Clock
from tests.support.fake_clock import FakeClock
from tests.support.provider_process import ProviderProcess, running_provider
from tests.support.until import until
from tests.support.webhook_office import (
    Reports,
    hand_over_to,
    message_id,
    submit,
    webhook_connector,
)

CLOCK = SystemClock()
# For an answer that comes, and for one that does not.
PATIENCE_MS, IMPATIENCE_MS = 60_000, 2_000


def connector_to(
    provider: ProviderProcess, *, clock: Clock = CLOCK, **changed: Any
) -> WebhookConnector:
    return webhook_connector(
        clock,
        networks=["127.0.0.0/8"],
        ports=[provider.ports["http"]],
        **{"answer_timeout_ms": PATIENCE_MS, **changed},
    )


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[ProviderProcess]:
    async with running_provider(
        tmp_path / "provider.jsonl", modes=json.dumps({"late_s": 0.1, "hang_s": 30})
    ) as running:
        yield running


TOLD = {
    "accept": Event.TAKE,
    "late": Event.TAKE,
    "refuse": Event.REFUSE,
    "gone": Event.REFUSE,
    "throttle": Event.DEFER,
    "redirect": Event.REFUSE,
    "hang_before": Event.LOSE_ANSWER,
    "hang_after": Event.LOSE_ANSWER,
    "reset_before": Event.LOSE_ANSWER,
    "reset_after": Event.LOSE_ANSWER,
    "error_before": Event.LOSE_ANSWER,
    "error_after": Event.LOSE_ANSWER,
}


def is_silent(mode: str) -> bool:
    return mode.startswith("hang")


PROCESSED = {"accept", "late", "hang_after", "reset_after", "error_after"}


async def test_every_mode_is_told_as_what_it_is_and_asked_for_once(
    provider: ProviderProcess,
) -> None:
    modes = [mode for mode in sorted(TOLD, key=is_silent) for _ in range(5)]
    urls = [provider.as_(mode, number) for number, mode in enumerate(modes)]
    answered = sum(not is_silent(mode) for mode in modes)
    patient = connector_to(provider, concurrency=60)
    impatient = connector_to(provider, concurrency=60, answer_timeout_ms=IMPATIENCE_MS)
    reports, silences = await asyncio.gather(
        submit(patient, CLOCK, urls[:answered]),
        submit(impatient, CLOCK, urls[answered:], first=answered),
    )
    assert reports.events() + silences.events() == [TOLD[mode] for mode in modes]
    await until(lambda: len(provider.lines()) >= len(modes))
    # No request was repeated by any layer, and none followed to another place.
    lines = provider.lines()
    assert Counter(line.key for line in lines) == {
        message_id(n).hex(): 1 for n in range(len(modes))
    }
    assert {line.mode for line in lines if line.took} == PROCESSED
    throttled = [t for t in reports.by_position.values() if t.event is Event.DEFER]
    assert {told.retry_after_ms for told in throttled} == {1_000}
    taken = [t for t in reports.by_position.values() if t.event is Event.TAKE]
    assert all(told.reference.startswith("sim-") for told in taken)
    await patient.close()
    await impatient.close()


async def test_connections_that_broke_or_timed_out_leave_no_slot_taken(
    provider: ProviderProcess,
) -> None:
    connector = connector_to(provider, concurrency=4, answer_timeout_ms=50)
    bad = [provider.as_(mode, n) for n in range(8) for mode in ("hang_before", "reset_after")]
    await submit(connector, CLOCK, bad)
    connector = connector_to(provider, concurrency=4)
    good = await submit(connector, CLOCK, [provider.as_("accept")] * 40, first=100)
    assert good.events() == [Event.TAKE] * 40
    await connector.close()


async def test_what_is_asked_again_under_its_key_is_taken_once(provider: ProviderProcess) -> None:
    rules = [{"modes": {"reset_after": 1, "hang_after": 1, "error_after": 1}, "first": 2}]
    await provider.behave(json.dumps({"rules": rules}))
    patient = connector_to(provider, url=provider.url, concurrency=50)
    impatient = connector_to(
        provider, url=provider.url, concurrency=50, answer_timeout_ms=IMPATIENCE_MS
    )
    for round_no, (connector, expected) in enumerate(
        ((impatient, Event.LOSE_ANSWER), (impatient, Event.LOSE_ANSWER), (patient, Event.TAKE))
    ):
        reports = await submit(connector, CLOCK, ["+447700900000"] * 50)
        assert reports.events() == [expected] * 50
        await until(lambda asked=50 * (round_no + 1): len(provider.lines()) >= asked)  # type: ignore[misc]
    lines = provider.lines()
    assert len(lines) == 150
    assert sum(line.was_new for line in lines) == 50
    await patient.close()
    await impatient.close()


async def test_what_waits_behind_a_provider_that_hangs_does_not_leave_late(
    provider: ProviderProcess,
) -> None:
    # The clock stands still until two have left, so that they leave in time and no other does.
    clock = FakeClock()
    connector = connector_to(provider, clock=clock, concurrency=2, answer_timeout_ms=5_000)
    urls = [provider.as_("hang_after", n) for n in range(10)]
    submitting = asyncio.create_task(
        submit(connector, clock, urls, send_before=later(clock.now(), 200))
    )
    await until(lambda: len(provider.lines()) == 2)
    clock.advance(201)
    reports = await submitting
    assert Counter(reports.events()) == {Event.LOSE_ANSWER: 2, Event.NOT_SENT: 8}
    sent = {n for n, told in reports.by_position.items() if told.event is Event.LOSE_ANSWER}
    assert {line.key for line in provider.lines()} == {message_id(n).hex() for n in sent}
    await connector.close()


async def test_a_hard_limit_defers_what_is_over_it(provider: ProviderProcess) -> None:
    # So few that as many come within a second wherever this runs.
    await provider.behave(json.dumps({"rate": {"per_second": 5}}))
    connector = connector_to(provider, url=provider.url, concurrency=50)
    events = (await submit(connector, CLOCK, ["+447700900000"] * 50)).events()
    counts = await provider.counts()
    assert counts["let_in_in_a_second_max"] == 5
    assert counts["throttled"] == events.count(Event.DEFER) > 0
    assert counts["taken"] == events.count(Event.TAKE)
    await connector.close()


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "0x7f.1", "2130706433", "127.1", "0177.0.0.1", "localhost", "0.0.0.0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
    ],
)
async def test_a_recipient_on_this_machine_is_refused_however_it_is_written(
    provider: ProviderProcess, host: str
) -> None:
    connector = webhook_connector(CLOCK, ports=[provider.ports["http"]])
    url = f"http://{host}:{provider.ports['http']}/as/accept/"
    reports = await submit(connector, CLOCK, [url])
    assert reports.events() == [Event.REFUSE]
    assert not provider.lines()
    await connector.close()


async def test_a_port_that_is_not_allowed_is_not_reached(provider: ProviderProcess) -> None:
    connector = webhook_connector(CLOCK, networks=["127.0.0.0/8"])
    reports = await submit(connector, CLOCK, [provider.as_("accept")])
    assert reports.events() == [Event.REFUSE]
    assert not provider.lines()
    await connector.close()


async def test_nobody_listening_is_no_delivery_and_may_be_tried_again(
    provider: ProviderProcess,
) -> None:
    connector = connector_to(provider)
    await provider.kill()
    reports = await submit(connector, CLOCK, [provider.as_("accept")] * 3)
    assert reports.events() == [Event.DEFER] * 3
    unknown = webhook_connector(CLOCK)
    reports = await submit(unknown, CLOCK, ["http://no-such-host.invalid/"])
    assert reports.events() == [Event.DEFER]
    await connector.close()
    await unknown.close()


async def test_a_provider_that_dies_has_on_disk_what_it_said_it_took(tmp_path: Path) -> None:
    log = tmp_path / "provider.jsonl"
    count = 2_000
    taken_before: set[str] = set()
    async with running_provider(log) as provider:
        connector = connector_to(provider, url=provider.url, concurrency=32)
        reports = Reports(enough=count // 4)
        handed = hand_over_to(["r"] * count, send_before=later(CLOCK.now(), 300_000))
        submitting = asyncio.create_task(connector.submit(handed, reports))
        await reports.came.wait()
        await provider.kill()
        await submitting
        await connector.close()
        for position, told in reports.by_position.items():
            if told.event is Event.TAKE:
                taken_before.add(message_id(position).hex())
    assert set(reports.events()) <= {Event.TAKE, Event.LOSE_ANSWER, Event.DEFER}
    assert Event.DEFER in reports.events()
    in_log = {line.key for line in read_log(log) if line.took}
    assert taken_before <= in_log
    # It starts again, knows what it took, and is asked for all of it once more.
    async with running_provider(log) as provider:
        connector = connector_to(provider, url=provider.url, concurrency=32)
        again = await submit(connector, CLOCK, ["r"] * count)
        assert again.events() == [Event.TAKE] * count
        await connector.close()
        lines = provider.lines()
    assert max(Counter(line.key for line in lines if line.was_new).values()) == 1
    assert len({line.key for line in lines if line.was_new}) == count


async def test_receipts_come_early_once_twice_and_never(tmp_path: Path) -> None:
    called: list[dict[str, str]] = []
    many = asyncio.Event()

    async def receive(request: web.Request) -> web.Response:
        called.append(await request.json())
        if len(called) == 55:
            many.set()
        # The first of all is refused, and comes again.
        return web.Response(status=503 if len(called) == 1 else 200)

    app = web.Application()
    app.router.add_post("/receipts", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receipts = {
        "url": f"http://127.0.0.1:{runner.addresses[0][1]}/receipts",
        "modes": {"once": 1, "twice": 1, "never": 1},
        "delay_s": 0.02,
        "failed": 0.2,
    }
    modes = json.dumps({"receipts": receipts})
    async with running_provider(tmp_path / "log.jsonl", modes=modes, seed=1) as provider:
        connector = connector_to(provider, url=provider.url)
        reports = await submit(connector, CLOCK, ["r"] * 60)
        async with asyncio.timeout(60):
            await many.wait()
        times = Counter(receipt["message_id"] for receipt in called[1:])
        assert set(times.values()) == {1, 2}
        assert len(times) < 60
        assert {receipt["status"] for receipt in called} == {"delivered", "failed"}
        references = {told.reference for told in reports.by_position.values()}
        assert {receipt["reference"] for receipt in called} < references
        await provider.behave(json.dumps({"receipts": {**receipts, "modes": {"early": 1}}}))
        await submit(connector, CLOCK, ["r"], first=100)
        # It came before the answer did.
        assert [receipt["message_id"] for receipt in called].count(message_id(100).hex()) == 1
        await connector.close()
    await runner.cleanup()


async def test_what_was_taken_without_an_answer_is_found_by_asking(
    provider: ProviderProcess,
) -> None:
    asked = QueryWriter(url=f"{provider.url}/messages/{{id}}")
    connector = connector_to(provider, query_writer=asked)
    modes = ["reset_after", "reset_before", "error_after", "error_before", "accept"]
    reports = await submit(connector, CLOCK, [provider.as_(mode) for mode in modes])
    assert reports.events() == [Event.LOSE_ANSWER] * 4 + [Event.TAKE]
    ids = [message_id(n) for n in range(len(modes))]
    assert await connector.find(ids) == dict(
        zip(ids, [True, False, True, False, True], strict=True)
    )
    await connector.close()
