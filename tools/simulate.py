"""Runs many seeds of the simulation, and says what happened in them.

    python -m tools.simulate [--seeds 0:+100000] [--jobs N] [--minutes N]

Prints JSON lines: each seed that broke a promise, with the line that tells it again with less in
it, and at the end the seeds, the simulated hours, the faults that happened by kind, and the seeds a
second of each process.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Final, NamedTuple

from tests.support.lane_run import LaneRun, is_broken, simulated_ms
from tests.support.seed import asked_seeds

_SEEDS_AT_ONCE: Final = 50


class Told(NamedTuple):
    """What some seeds told."""

    seeds: int
    broken: list[dict[str, str]]
    simulated_ms: int
    fired: Counter[str]
    seconds: float


def tell(seeds: Sequence[int]) -> Told:
    """Run these seeds one after the other."""
    broken: list[dict[str, str]] = []
    fired: Counter[str] = Counter()
    simulated = 0
    began = time.monotonic()
    for seed in seeds:
        run = LaneRun(seed=seed)
        try:
            world = run.tell()
            # What the checks let happen at the end is not counted.
            simulated += simulated_ms(world)
            fired += world.fired
            world.check_end()
        except Exception as error:
            broken.append({"broken": repr(error), "run": str(run.shrunk(is_broken))})
    return Told(len(seeds), broken, simulated, fired, time.monotonic() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds; return 0 if none broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=__doc__)
    parser.add_argument("--seeds", default="0:+10000", help="7, or 0:+3000 (default 0:+10000)")
    parser.add_argument("--jobs", type=int, default=2, help="how many side by side (default 2)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    seeds_count = broken_count = simulated = 0
    seconds = 0.0
    fired: Counter[str] = Counter()
    waiting = _parts(asked_seeds(options.seeds))
    with ProcessPoolExecutor(options.jobs) as pool:
        while (part := list(islice(waiting, 4 * options.jobs))) and time.monotonic() < until:
            for told in pool.map(tell, part):
                seeds_count += told.seeds
                simulated += told.simulated_ms
                seconds += told.seconds
                broken_count += len(told.broken)
                fired += told.fired
                for one in told.broken:
                    print(json.dumps(one), flush=True)
    told_at_the_end = {
        "seeds": seeds_count,
        "broken": broken_count,
        "simulated_hours": round(simulated / 3_600_000, 1),
        "seeds_per_second_and_process": round(seeds_count / seconds, 1) if seconds else 0.0,
        "faults": fired.total(),
        "faults_by_kind": dict(sorted(fired.items())),
    }
    print(json.dumps(told_at_the_end))
    return 1 if broken_count else 0


def _parts(seeds: range) -> Iterator[list[int]]:
    remaining = iter(seeds)
    while part := list(islice(remaining, _SEEDS_AT_ONCE)):
        yield part


if __name__ == "__main__":
    sys.exit(main())
