"""A cluster to try things on: Apache Cassandra behind fronts, until its standard input ends.

    python -m tests.cassandra.stand [--nodes N]

Writes one line of JSON with the addresses.  Each line that it reads is answered by one with how
many requests came since the one before, by the first words of their statements.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.cassandra.conftest import running_cluster

_WORDS_SHOWN = 3


def main() -> None:
    """Run the cluster that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1)
    arguments = parser.parse_args()
    try:
        run(arguments.nodes)
    except pytest.skip.Exception as missing:  # what is to be installed
        sys.exit(str(missing))


def run(node_count: int) -> None:
    """Run the cluster until standard input ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_cluster(Path(folder), node_count=node_count) as cluster,
    ):
        _tell({"hosts": cluster.hosts})
        before: Counter[str] = Counter()
        for _ in sys.stdin:
            seen: Counter[str] = Counter()
            for front in cluster.fronts.fronts:
                for (_, _, text), count in list(front.counts.items()):
                    seen[" ".join(text.split()[:_WORDS_SHOWN])] += count
            _tell(seen - before)
            before = seen


def _tell(said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
