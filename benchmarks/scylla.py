"""The platform on a cluster, beside the bare driver that writes and reads the same rows.

    python -m benchmarks.scylla [--messages N] [--hosts A,B]

Without `--hosts` it starts Apache Cassandra behind a front that shards as ScyllaDB does (one node,
two shards); its CPU time is not counted.  The bare driver writes, for each message, its row in
`messages`, `buffer` and twice in `timeline`, for each batch two entries of the journal by LWT, and
reads the rows of the buffer once: prepared statements, unlogged batches of one core, many at once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from cassandra import ConsistencyLevel
from cassandra.query import BatchStatement, BatchType

from benchmarks import end_to_end
from benchmarks.result import print_result
from cluster.scylla.session import make_cluster
from cluster.scylla.settings import ScyllaSettings
from cluster.scylla.statements import statements

MESSAGES: Final = 100_000
KEYSPACE: Final = f"benchmark_{uuid4().hex[:8]}"
_BATCH_MESSAGES: Final = 500
_BATCH_ROWS: Final = 100
_IN_FLIGHT: Final = 16
_BODY_BYTES: Final = 150
_JOURNAL_BYTES: Final = 30 * _BATCH_MESSAGES
_SHARDPOST: Final = str(Path(sys.executable).with_name("shardpost"))


class Stand:
    """A cluster and the count of what came to it."""

    def __init__(self, hosts: str, process: "subprocess.Popen[str] | None" = None) -> None:
        self.hosts = hosts
        self._process = process

    def counts(self) -> Counter[str]:
        """Return how many requests came since the last look, by the first words."""
        if self._process is None:
            return Counter()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Counter(json.loads(self._process.stdout.readline()))


@contextmanager
def stand_of(hosts: str | None) -> Iterator[Stand]:
    """Give the cluster that is named, or one of its own."""
    if hosts is not None:
        yield Stand(hosts)
        return
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cassandra.stand"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "no cluster came up"
        yield Stand(",".join(json.loads(line)["hosts"]), process)
        assert process.stdin is not None
        process.stdin.close()


def run_bare(hosts: Sequence[str], keyspace: str, count: int) -> dict[str, float]:
    """Write and read the rows of `count` messages; return what that cost."""
    cluster = make_cluster(ScyllaSettings(hosts=tuple(hosts), keyspace=keyspace))
    session: Any = cluster.connect(keyspace, wait_for_all_pools=True)
    bare = _Bare(session)
    bare.open_segment()
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, count, _BATCH_MESSAGES):
        bare.write(range(start, min(start + _BATCH_MESSAGES, count)))
    bare.wait()
    figures = {
        "bare_messages_per_second": round(count / (time.perf_counter() - wall)),
        "bare_cpu_us_per_message": round((time.process_time() - cpu) / count * 1e6, 1),
    }
    cluster.shutdown()
    return figures


class _Bare:
    """What one would write first."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401 -- the driver has no types
        self._session = session
        self._prepared = {
            name: session.prepare(said.cql)
            for name, said in statements().items()
            if name.startswith(("insert_message", "insert_buffer", "insert_event", "select_buffer"))
            or name in ("open_segment", "append_entry")
        }
        for prepared in self._prepared.values():
            prepared.consistency_level = ConsistencyLevel.QUORUM
        self._segment = uuid4()
        self._under_way: deque[Any] = deque()

    def open_segment(self) -> None:
        self._session.execute(self._prepared["open_segment"].bind((1, b"o" * 16, self._segment)))

    def write(self, numbers: Sequence[int]) -> None:
        """Write the rows of a batch of messages, and read its rows of the buffer."""
        keys = [uuid4() for _ in numbers]
        body, born, piece = os.urandom(_BODY_BYTES), 1_800_000_000_000_000, uuid4()
        self._send("insert_message", [(k, k.bytes, born, "g", b"", body, 10**7) for k in keys])
        self._send("insert_buffer", [(piece, k.bytes, k.bytes, born, 1, 0, "g") for k in keys])
        for step in (1, 2):
            seq = 2 * (numbers[0] // _BATCH_MESSAGES) + step
            entry = (10**6, os.urandom(_JOURNAL_BYTES), self._segment, seq, 1)
            self._do(self._prepared["append_entry"].bind(entry))
            self._send("insert_event", [(k, k.bytes, step, born, "") for k in keys])
        first, last = UUID(int=1 << 76), UUID(int=(1 << 128) - 1 & ~(0xE << 76))
        self.wait()
        read = self._prepared["select_buffer"].bind((piece, first, last, len(keys)))
        assert len(list(self._session.execute(read))) == len(keys)

    def _send(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        for start in range(0, len(rows), _BATCH_ROWS):
            batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.QUORUM)
            for row in rows[start : start + _BATCH_ROWS]:
                batch.add(self._prepared[name], row)
            self._do(batch)

    def _do(self, request: object) -> None:
        if len(self._under_way) == _IN_FLIGHT:
            self._under_way.popleft().result()
        self._under_way.append(self._session.execute_async(request))

    def wait(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            self._under_way.popleft().result()


def run_platform(stand: Stand, count: int) -> dict[str, Any]:
    """Send a file through the platform."""
    settings = {"SHARDPOST_SCYLLA__KEYSPACE": KEYSPACE}
    os.environ.update(settings)
    subprocess.run(
        [_SHARDPOST, "schema", "init", "--hosts", stand.hosts, "--replication", "1"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    stand.counts()
    with tempfile.TemporaryDirectory() as folder:
        figures = end_to_end.run(count, Path(folder), "--store", "scylla", "--hosts", stand.hosts)
    seen = stand.counts()
    if seen:
        appends = sum(n for words, n in seen.items() if words.startswith("UPDATE journal USING"))
        figures["journal_lwts_per_message"] = round(appends / count, 5)
        figures["requests_per_message"] = round(sum(seen.values()) / count, 4)
    return figures


def main() -> None:
    """Measure both, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--hosts", default=None, help="a cluster that runs, without a password")
    parser.add_argument("--bare", default=None, help=argparse.SUPPRESS)  # the keyspace
    arguments = parser.parse_args()
    if arguments.bare is not None:
        print(json.dumps(run_bare(arguments.hosts.split(","), arguments.bare, arguments.messages)))
        return
    with stand_of(arguments.hosts) as stand:
        figures = run_platform(stand, arguments.messages)
        bare = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.scylla", "--hosts", stand.hosts),
                *("--bare", KEYSPACE, "--messages", str(arguments.messages)),
            ],
            check=True,
            stdout=subprocess.PIPE,
        )
    print_result("scylla", figures | json.loads(bare.stdout))


if __name__ == "__main__":
    main()
