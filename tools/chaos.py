"""Kills and pauses a platform for as long as one likes, in rounds, and sums up what came of it.

    python -m tools.chaos [--minutes N] [--messages N] [--faults N]

Each round is `tests/chaos/test_providers.py` with another seed: so many messages to each of two
failing providers, so many faults.  It ends at the first round that fails; with the seed
that it printed (`SHARDPOST_SEED`) it can be looked at again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
TEST: Final = "tests/chaos/test_providers.py"
_CHANNELS: Final = ("sms", "email")
_SECONDS_A_MINUTE: Final = 60


def total_of(rounds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of what the rounds told."""
    told = list(rounds)
    kinds: Counter[str] = Counter()
    channels: dict[str, Counter[str]] = {channel: Counter() for channel in _CHANNELS}
    for one in told:
        kinds.update(one["faults"])
        for channel in _CHANNELS:
            channels[channel].update(one[channel])
    ends = ("sent", "failed", "uncertain")
    return {
        "rounds": len(told),
        "minutes": round(sum(one["seconds"] for one in told) / _SECONDS_A_MINUTE, 1),
        "faults": sum(kinds.values()),
        "faults by kind": dict(sorted(kinds.items())),
        "messages": sum(figures[end] for figures in channels.values() for end in ends),
        "uncertain": sum(figures["uncertain"] for figures in channels.values()),
        "twice": sum(one["twice"] for one in told),
        "lost": sum(one["lost"] for one in told),
        **{channel: dict(figures) for channel, figures in channels.items()},
    }


def run(arguments: argparse.Namespace) -> int:
    """Go on until the time is over; return 0 if every round held."""
    ends_at = time.monotonic() + _SECONDS_A_MINUTE * arguments.minutes
    count, status = 0, 0
    with tempfile.TemporaryDirectory(prefix="shardpost-chaos-") as folder:
        figures = Path(folder) / "figures.jsonl"
        figures.touch()
        while not status and time.monotonic() < ends_at:
            count += 1
            print(f"round {count}", flush=True)
            status = _round(figures, Path(folder) / "round", arguments)
            lines = figures.read_text().splitlines()
            print(json.dumps(total_of(json.loads(line) for line in lines)), flush=True)
    print(f"round {count} failed" if status else f"{count} rounds held", flush=True)
    return status


def _round(figures: Path, folder: Path, arguments: argparse.Namespace) -> int:
    variables = {
        "SHARDPOST_CHAOS_MESSAGES": str(arguments.messages),
        "SHARDPOST_CHAOS_FAULTS": str(arguments.faults),
        "SHARDPOST_CHAOS_FIGURES": str(figures),
    }
    # Each round's folder is emptied by the next.
    words = ("-m", "pytest", "-q", "-s", "-n", "0", "--basetemp", str(folder), TEST)
    # Else each round would be the same one.
    kept = {name: value for name, value in os.environ.items() if name != "SHARDPOST_SEED"}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=kept | variables, check=False)
    return done.returncode


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.chaos",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=60, help="begin no round after (60)")
    parser.add_argument("--messages", type=int, default=20_000, help="to each provider (20000)")
    parser.add_argument("--faults", type=int, default=40, help="a round (40)")
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
