"""Idle latency: one message at a time, from accepted to handed over.

    python -m benchmarks.latency [--messages N]

A platform that does nothing else gets a message every 50 ms.  Its line in the outbox is looked for
without pause; a line is there before it is durable, so the time on the timeline (when the outcome
was known, after the sync of the disk) is told beside it.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.result import print_result
from benchmarks.running_platform import joined, running_platform
from pipeline.ingest.chunk import Accepted, SubmitChunk, decode_reply, encode
from pipeline.message import Submission, encode_body

MESSAGES: Final = 300
_WARM_UP: Final = 30
_INTERVAL_S: Final = 0.05


def chunk(number: int) -> bytes:
    """Return a chunk of one message."""
    body = encode_body(
        Submission(
            tenant="default",
            channel="sms",
            recipient=f"+44770090{number % 1_000:04}",
            content=f"Your code is {number:06}",
            group="latency",
            priority="urgent",
        )
    )
    return encode(
        SubmitChunk(
            tenant="default",
            batch_key=None,
            first_index=0,
            positions=[0],
            keys=None,
            bodies=[body],
        )
    )


class Tail:
    """Waits for lines at the ends of files that grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, int] = {}

    async def wait_for(self, text: bytes) -> float:
        """Return when a line with this text was seen."""
        while True:
            for path in self._folder.rglob("*.jsonl"):
                file = self._files.get(path)
                if file is None:
                    file = self._files[path] = os.open(path, os.O_RDONLY)
                while data := os.read(file, 1 << 16):
                    if text in data:
                        return time.perf_counter()
            await asyncio.sleep(0.0002)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile in milliseconds."""
    ordered = sorted(values)
    return round(1e3 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 2)


async def measure(data: Path, messages: int) -> tuple[list[float], list[float]]:
    """Return the seconds from the call, and from the answer, to the line in the outbox."""
    from actors.handles import find_ingesters

    (door, *_) = await find_ingesters()
    tail = Tail(data / "outbox")
    from_call, from_answer = [], []
    for number in range(_WARM_UP + messages):
        begun = time.perf_counter()
        reply = decode_reply(await door.submit(chunk(number)))
        answered = time.perf_counter()
        assert isinstance(reply, Accepted), reply
        seen = await tail.wait_for(f"Your code is {number:06}".encode())
        if number >= _WARM_UP:
            from_call.append(seen - begun)
            from_answer.append(seen - answered)
        await asyncio.sleep(_INTERVAL_S)
    return from_call, from_answer


def main() -> None:
    """Measure and print one result."""
    parser = argparse.ArgumentParser(description="idle latency of single messages")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        data = Path(folder) / "data"
        with running_platform(data), joined(data):
            from_call, from_answer = asyncio.run(measure(data, arguments.messages))
    print_result(
        "idle_latency",
        {
            "messages": arguments.messages,
            "accepted_to_handed_over_p50_ms": percentile(from_answer, 50),
            "accepted_to_handed_over_p99_ms": percentile(from_answer, 99),
            "submitted_to_handed_over_p50_ms": percentile(from_call, 50),
            "submitted_to_handed_over_p99_ms": percentile(from_call, 99),
        },
    )


if __name__ == "__main__":
    main()
