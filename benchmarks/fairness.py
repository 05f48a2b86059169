"""How long a hundred messages take behind a connector that has two hundred thousand before them.

    python -m benchmarks.fairness [--backlog N] [--rate N] [--rounds N]

A connector that takes `--rate` messages a second to the simulator of a provider.  First one side
sends a hundred messages at once, some rounds of it, on an idle platform; then another side submits
the backlog, and the rounds are repeated behind it.  Once the sides are two tenants whose messages
are in different bands, once the urgent and the bulk messages of one tenant.  What counts is the
time from before the call that submits to the moment that the provider's log gives.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.latency import percentile
from benchmarks.result import Figure, print_result
from benchmarks.running_platform import joined, running_platform
from cluster.egress.simulator.log import LogLine, read_log
from pipeline.ingest.chunk import Accepted, Overloaded, SubmitChunk, decode_reply, encode
from pipeline.lane_id import band_of
from pipeline.limits import CHUNK_MESSAGES_MAX
from pipeline.message import Submission, encode_body

BACKLOG: Final = 200_000
HUNDRED: Final = 100
RATE: Final = 400  # two processors and the simulator manage about twice that
ROUNDS: Final = 5
_PAUSE_S: Final = 1.0
_HEAD_START_S: Final = 3.0  # of the backlog, so that the connector is busy with it
_WAIT_S: Final = 60.0
_PYTHON: Final = [sys.executable, "-m"]


class Side(NamedTuple):
    """Whose messages, and how urgent."""

    tenant: str
    priority: str


class Case(NamedTuple):
    """Who has much to send, and who should not notice."""

    name: str
    many: Side
    few: Side


CASES: Final = (
    Case("tenants", Side("acme", "normal"), Side("bolt", "normal")),
    Case("priorities", Side("acme", "bulk"), Side("acme", "urgent")),
)


def chunk(side: Side, first: int, count: int) -> bytes:
    """Return a chunk of messages whose recipients are numbered."""
    bodies = [
        encode_body(
            Submission(
                tenant=side.tenant,
                channel="sms",
                recipient=f"+49151{number + 10_000_000}",
                content="Your appointment is on Monday at ten.  Reply STOP to opt out.",
                group="fairness",
                priority=side.priority,
            )
        )
        for number in range(first, first + count)
    ]
    return encode(
        SubmitChunk(
            tenant=side.tenant,
            batch_key=None,
            first_index=0,
            positions=list(range(count)),
            keys=None,
            bodies=bodies,
        )
    )


class Submitter:
    """Submits to one ingester, and numbers what it submits."""

    def __init__(self) -> None:
        self._next = 0

    async def submit(self, side: Side, count: int) -> range:
        """Submit messages in as many chunks as they need; return their numbers."""
        from actors.handles import find_ingesters

        (door, *_) = await find_ingesters()
        numbers = range(self._next, self._next + count)
        self._next += count
        for first in range(numbers.start, numbers.stop, CHUNK_MESSAGES_MAX):
            data = chunk(side, first, min(CHUNK_MESSAGES_MAX, numbers.stop - first))
            reply = decode_reply(await door.submit(data))
            while isinstance(reply, Overloaded):
                await asyncio.sleep(reply.retry_after_ms / 1_000)
                reply = decode_reply(await door.submit(data))
            assert isinstance(reply, Accepted), reply
        return numbers


async def rounds(submitter: Submitter, side: Side, count: int, log: Path) -> list[float]:
    """Send a hundred at once, some times; return the seconds that each message took."""
    begun: dict[str, int] = {}
    for _ in range(count):
        now_us = time.time_ns() // 1_000
        for number in await submitter.submit(side, HUNDRED):
            begun[f"+49151{number + 10_000_000}"] = now_us
        await asyncio.sleep(_PAUSE_S)
    deadline = time.monotonic() + _WAIT_S
    while True:
        seen: dict[str, int] = {}
        for line in read_log(log):
            if line.recipient in begun:
                seen.setdefault(line.recipient, line.at_us)
        if len(seen) == len(begun):
            return [(at_us - begun[recipient]) / 1e6 for recipient, at_us in seen.items()]
        assert time.monotonic() < deadline, f"{len(begun) - len(seen)} have not arrived"
        await asyncio.sleep(_PAUSE_S)


async def measure(case: Case, log: Path, *, backlog: int, count: int) -> dict[str, Figure]:
    """Return the figures of one case."""
    submitter = Submitter()
    await rounds(submitter, case.few, 1, log)  # opens the lanes
    alone = await rounds(submitter, case.few, count, log)
    submitting = asyncio.create_task(submitter.submit(case.many, backlog))
    await submitting
    await asyncio.sleep(_HEAD_START_S)
    behind = await rounds(submitter, case.few, count, log)
    lines = read_log(log)
    left = backlog - (len(lines) - (2 * count + 1) * HUNDRED)
    assert left > 0, "the backlog was gone before the end: take a larger one"
    return {
        f"{case.name}_alone_p50_ms": percentile(alone, 50),
        f"{case.name}_alone_p99_ms": percentile(alone, 99),
        f"{case.name}_behind_p50_ms": percentile(behind, 50),
        f"{case.name}_behind_p99_ms": percentile(behind, 99),
        f"{case.name}_behind_to_alone_p99": round(
            percentile(behind, 99) / percentile(alone, 99), 2
        ),
        f"{case.name}_backlog_left": left,
        f"{case.name}_sent_in_a_second_max": most_in_a_second(lines),
    }


def most_in_a_second(lines: Sequence[LogLine]) -> int:
    """Return how many requests the worst second had, wherever it begins."""
    times = sorted(line.at_us for line in lines)
    most, first = 0, 0
    for n, at_us in enumerate(times):
        while times[first] <= at_us - 1_000_000:
            first += 1
        most = max(most, n - first + 1)
    return most


def run_case(name: str, folder: Path, *, backlog: int, rate: int, count: int) -> dict[str, Figure]:
    """Start a provider and a platform, measure one case, and stop them."""
    case = next(one for one in CASES if one.name == name)
    data, log = folder / "data", folder / "provider.jsonl"
    provider = subprocess.Popen(
        [*_PYTHON, "cluster.egress.simulator", "--http", "0", "--log", str(log)],
        stdout=subprocess.PIPE,
    )
    assert provider.stdout is not None
    port = json.loads(provider.stdout.readline())["http"]
    connector = "SHARDPOST_CONNECTORS__TEXTS__"
    env = os.environ | {
        "SHARDPOST_DASHBOARD": "false",
        f"{connector}KIND": "webhook",
        f"{connector}CHANNELS": "sms",
        f"{connector}URL": f"http://127.0.0.1:{port}/messages",
        f"{connector}ALLOW_NETWORKS": "127.0.0.0/8",
        f"{connector}RATE": str(rate),
    }
    try:
        with running_platform(data, env=env), joined(data):
            return asyncio.run(measure(case, log, backlog=backlog, count=count))
    finally:
        provider.terminate()
        provider.communicate(timeout=60)


def main() -> None:
    """Measure both cases and print one result."""
    parser = argparse.ArgumentParser(description="a hundred messages behind a large backlog")
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    parser.add_argument("--case", choices=[case.name for case in CASES], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case is not None:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            figures = run_case(
                asked.case,
                Path(folder),
                backlog=asked.backlog,
                rate=asked.rate,
                count=asked.rounds,
            )
        print(json.dumps(figures), flush=True)
        return
    assert all(
        band_of(tenant=case.many.tenant, priority=case.many.priority)
        != band_of(tenant=case.few.tenant, priority=case.few.priority)
        for case in CASES
    )
    all_figures: dict[str, Figure] = {
        "backlog": asked.backlog,
        "rate_per_second": asked.rate,
        "rounds_of_a_hundred": asked.rounds,
    }
    for case in CASES:
        # A process each: Ray reads its environment once.
        done = subprocess.run(
            [*_PYTHON, "benchmarks.fairness", *sys.argv[1:], "--case", case.name],
            stdout=subprocess.PIPE,
            check=True,
        )
        all_figures |= json.loads(done.stdout.splitlines()[-1])
    print_result("fairness", all_figures)


if __name__ == "__main__":
    main()
