"""Messages scheduled over a year: the memory of the process that owns their lane, part by part.

    python -m benchmarks.year [--messages N]

The real runner of a lane on the real embedded store; only time is made up, so that the year passes
as fast as the work in it is done.  One message in the middle is cancelled.  The process holds what
a scheduler holds, and the event loop's made-up clock beside it.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.result import print_result
from tests.support.virtual_time import VirtualTimeLoop
from tests.support.year_of_timers import Year, pass_a_year

MESSAGES: Final = 1_000_000


def resident_bytes() -> int:
    """Return what the process holds of the machine's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(messages: int, folder: Path) -> Year:
    """Let the year pass."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(
            pass_a_year(
                folder, count=messages, chance=Random(1), measure=lambda _lane: resident_bytes()
            )
        )


def main() -> None:
    """Measure and print one result."""
    parser = argparse.ArgumentParser(description="messages scheduled over a year")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        year = run(arguments.messages, Path(folder))
    assert year.is_every_other_sent, "one is missing, or one came twice"
    tenths = {
        f"resident_after_{n}_tenths_mb": round(size / 1e6, 1)
        for n, size in enumerate(year.sizes, start=1)
    }
    print_result(
        "year",
        {
            "messages": arguments.messages,
            "sent": year.sent_count,
            "cancelled": 1,
            "real_seconds": round(time.perf_counter() - began, 1),
            **tenths,
            "most_to_least_of_the_last_nine": round(max(year.sizes[1:]) / min(year.sizes[1:]), 3),
        },
    )


if __name__ == "__main__":
    main()
