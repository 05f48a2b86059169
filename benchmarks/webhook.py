"""What a webhook costs: messages through the connector to the simulator, a process of its own.

The simulator syncs its log before each answer, as a provider that loses nothing would.  Beside it,
in the same run, what a bare aiohttp client does with the same requests: the floor of what Python
can do here, without checks, outcomes or a definite moment of leaving.

    python -m benchmarks.webhook [--messages N] [--concurrency N]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.result import print_result
from cluster.egress.http_addresses import AddressRules
from cluster.egress.http_sender import HttpSender
from cluster.egress.simulator.log import read_log
from cluster.egress.webhook_connector import WebhookConnector
from cluster.runtime.clock import SystemClock
from pipeline.connectors.webhook.request import RequestWriter, Signer
from pipeline.instant import DurationMs, later
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.message import Body, MessageId, Submission, encode_body
from pipeline.outcome import HandOver, Outcomes, ProviderClass

WINDOW: Final = 512
LANE: Final = LaneId(1, "n1", 0, "sms", "bulk-1")
SECRET: Final = "whsec_" + "c2VjcmV0" * 4
CONTENT: Final = "Your appointment is on Monday at ten.  Reply STOP to opt out."


def _hand_over(first: int, count: int, clock: SystemClock) -> HandOver:
    bodies = [
        encode_body(
            Submission(
                tenant="acme", channel="sms", recipient=f"+4477009{number:05}", content=CONTENT
            )
        )
        for number in range(first, first + count)
    ]
    return HandOver(
        lane=LANE,
        message_ids=[MessageId(n.to_bytes(16, "big")) for n in range(first, first + count)],
        attempts=[1] * count,
        bodies=[Body(body) for body in bodies],
        send_before=later(clock.now(), 3_600_000),
    )


def _connector(url: str, concurrency: int) -> WebhookConnector:
    clock = SystemClock()
    return WebhookConnector(
        name="hooks",
        provider_class=ProviderClass.KEYED,
        has_receipts=False,
        url=url,
        writer=RequestWriter(url=url, signer=Signer([SECRET])),
        sender=HttpSender(
            clock=clock,
            rules=AddressRules.allowing(["127.0.0.0/8"], [int(url.rpartition(":")[2])]),
            connect_timeout_ms=DurationMs(5_000),
            answer_timeout_ms=DurationMs(20_000),
            idle_max=concurrency,
        ),
        clock=clock,
        concurrency=concurrency,
    )


async def _through_the_connector(url: str, messages: int, concurrency: int) -> None:
    connector, clock = _connector(url, concurrency), SystemClock()
    events: list[int] = []

    def report(_positions: Sequence[int], outcomes: Outcomes) -> None:
        events.extend(outcomes.events)

    windows = iter(range(0, messages, WINDOW))

    async def lane() -> None:
        for first in windows:
            await connector.submit(_hand_over(first, min(WINDOW, messages - first), clock), report)

    # Two lanes, so that the end of one window does not wait for its slowest message.
    await asyncio.gather(lane(), lane())
    await connector.close()
    assert events == [Event.TAKE] * messages


async def _through_a_bare_client(url: str, messages: int, concurrency: int) -> None:
    writer, clock = RequestWriter(url=url, signer=Signer([SECRET])), SystemClock()
    handed = _hand_over(messages, messages, clock)
    columns = iter(zip(handed.message_ids, handed.bodies, strict=True))

    async def post(session: aiohttp.ClientSession) -> None:
        for message_id, body in columns:
            request = writer.write(message_id, body, now=clock.now())
            async with session.post(url, data=request.content, headers=request.headers) as answer:
                assert answer.status == 202
                await answer.read()

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(post(session) for _ in range(concurrency)))


async def _measured(
    run: Callable[[str, int, int], Awaitable[None]], url: str, messages: int, concurrency: int
) -> tuple[float, float]:
    """Return messages a second and microseconds of this process's CPU a message."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    await run(url, messages, concurrency)
    took_s = time.perf_counter() - began_s
    return messages / took_s, (time.process_time() - cpu_s) / messages * 1e6


async def _run(messages: int, concurrency: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "provider.jsonl"
        simulator = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cluster.egress.simulator", "--http", "0", "--log", str(log)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert simulator.stdout is not None
            url = f"http://127.0.0.1:{json.loads(await simulator.stdout.readline())['http']}"
            rate, cpu_us = await _measured(_through_the_connector, url, messages, concurrency)
            bare, bare_us = await _measured(_through_a_bare_client, url, messages, concurrency)
        finally:
            simulator.terminate()
            await simulator.wait()
        lines = read_log(log)
    keys = {line.key for line in lines}
    assert len(lines) == len(keys) == 2 * messages
    print_result(
        "webhook",
        {
            "messages": messages,
            "concurrency": concurrency,
            "messages_per_second": round(rate),
            "cpu_us_per_message": round(cpu_us),
            "bare_messages_per_second": round(bare),
            "bare_cpu_us_per_message": round(bare_us),
        },
    )


def main() -> None:
    """Run it and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    asked = parser.parse_args()
    asyncio.run(_run(asked.messages, asked.concurrency))


if __name__ == "__main__":
    main()
