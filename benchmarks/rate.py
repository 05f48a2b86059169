"""How exactly a rate is kept, and how much of it is used by one core of four that has the work.

    python -m benchmarks.rate [--messages N] [--rate N] [--burst N]

`shardpost up` with a limited webhook connector to the simulator of a provider.  A lane on each of
four cores is opened; then one of them gets all messages.  What counts is the provider's log: the
most that any second saw, wherever it begins, and the mean of the seconds between the first and the
last.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.result import print_result
from tests.support.one_busy_core import send_by_one_core

MESSAGES: Final = 3_000
RATE: Final = 100
BURST: Final = 10


def main() -> None:
    """Measure and print one result."""
    parser = argparse.ArgumentParser(description="a rate, and one core that uses it")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--burst", type=int, default=BURST)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        seen = send_by_one_core(
            Path(folder),
            count=asked.messages,
            rate=asked.rate,
            burst=asked.burst,
            timeout_s=60 + 4 * asked.messages / asked.rate,
        )
    print_result(
        "rate",
        {
            "messages": seen.messages,
            "rate_per_second": asked.rate,
            "burst": asked.burst,
            "lanes": seen.lanes_count,
            "taken_twice": seen.twice_count,
            "in_a_second_max": seen.in_a_second_max,
            "in_a_second_mean": seen.in_a_second_mean,
        },
    )


if __name__ == "__main__":
    main()
