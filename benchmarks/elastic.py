"""One busy core: messages handed over a second with one scheduler, and split over several.

    python -m benchmarks.elastic [--messages N] [--pool]

Starts a platform with one core, sends a file whose messages fall into three lanes, and looks once a
second at the outbox and at the processes until all is out; twice, once with the setting
`schedulers_per_core_max` at 0 and once at 4.  Rates are those of the backlog alone, after the last
was accepted, when the machine has a processor left: of the seconds with one scheduler, and of those
with more.
`--pool` sends the file from four senders at once instead and looks at the ingesters.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any, Final

from benchmarks.process_tree import ProcessTree
from benchmarks.result import print_result
from tests.support.platform_process import Outbox, processes

MESSAGES: Final = 300_000
_SHARDPOST: Final = [str(Path(sys.executable).with_name("shardpost"))]
_PRIORITIES: Final = ("urgent", "normal", "bulk")
_PATIENCE_S: Final = 400.0
_SETTLED_S: Final = 2
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def write_messages(path: Path, count: int, *, first: int) -> None:
    """Write a CSV file of texts that fall into three lanes of each core; no two files are alike."""
    with path.open("w") as file:
        file.write("to,text,priority\n")
        for number in range(first, first + count):
            file.write(
                f"+44770090{number % 1_000:04},Your order {number} has left our house and will be"
                f" with you tomorrow between 9 and 12; thank you,{_PRIORITIES[number % 3]}\n"
            )


def actors(kind: str, below: int) -> list[int]:
    """Return the processes of this kind of actor on the platform of this process."""
    parents = processes()
    found = []
    for pid, (_, title) in parents.items():
        if title.startswith(f"ray::{kind}Actor"):
            above = pid
            while above in parents and above != below:
                above = parents[above][0]
            if above == below:
                found.append(pid)
    return found


def threads_s(pids: Sequence[int]) -> dict[str, float]:
    """Return the CPU seconds so far of each thread of these processes."""
    used = {}
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*"):
            with suppress(OSError):
                fields = (thread / "stat").read_text().rpartition(")")[2].split()
                used[thread.name] = (int(fields[11]) + int(fields[12])) / _TICKS
    return used


def run(messages: int, folder: Path, *, senders: int, **variables: str) -> dict[str, Any]:
    """Measure once in a folder; return the figures."""
    data = folder / "data"
    settings = {
        "SHARDPOST_LOCAL__NODES": "1",
        "SHARDPOST_LOCAL__SHARDS": "1",
        "SHARDPOST_DASHBOARD": "false",
        **variables,
    }
    os.environ.update(settings)
    files = [folder / f"part-{n}.csv" for n in range(senders)]
    for n, file in enumerate(files):
        # The same file sent twice is sent once.
        write_messages(file, messages // senders, first=n * (messages // senders))
    total = messages // senders * senders
    with (folder / "up.log").open("wb") as log:
        platform = ProcessTree.start(
            [*_SHARDPOST, "up", "--json", "--data", str(data)],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert platform.stdout is not None
    assert platform.stdout.readline(), "the platform did not start"
    outbox = Outbox(data)
    began = time.monotonic()
    sending = [
        subprocess.Popen(
            [
                *(*_SHARDPOST, "send", str(file), "--json", "--data", str(data)),
                *("--channel", "sms", "--group", file.stem),
            ],
            stdout=subprocess.PIPE,
        )
        for file in files
    ]
    kind = "Ingester" if senders > 1 else "Scheduler"
    accepted_s: float | None = None
    alone: list[float] = []
    split: list[float] = []
    busy_alone: list[float] = []
    most, last_count, last_at, changed_at = 0, 0, began, began
    number = 1
    threads: dict[str, float] = {}
    while last_count < total:
        time.sleep(1)
        pids = actors(kind, os.getpid())
        now, count, running = time.monotonic(), outbox.lines_count(), len(pids)
        before, threads = threads, threads_s(pids)
        busiest = max(
            (
                (threads[name] - before[name]) / (now - last_at)
                for name in threads
                if name in before
            ),
            default=0.0,
        )
        assert now - began < _PATIENCE_S, f"{count} of {total} are out"
        if accepted_s is None and all(one.poll() is not None for one in sending):
            accepted_s, changed_at = now - began, now
        if running != number:
            number, changed_at = running, now
        # Who starts, and lanes that move, make the first seconds of a change another thing.
        if accepted_s is not None and now - changed_at >= _SETTLED_S and count < total:
            (alone if running == 1 else split).append((count - last_count) / (now - last_at))
            if running == 1:
                busy_alone.append(busiest)
        most, last_count, last_at = max(most, running), count, now
        print(
            f"{now - began:6.1f} s  {count:8} out  {running} {kind}"
            f"  busiest thread {busiest:.0%}  accepted: {accepted_s is not None}",
            file=sys.stderr,
        )
    seconds = time.monotonic() - began
    platform.send_signal(signal.SIGINT)
    platform.stdout.read()
    platform.finish()
    assert outbox.twice() == []
    told = [json.loads(one.communicate(timeout=60)[0]) for one in sending]
    return {
        "messages": total,
        "seconds": round(seconds, 1),
        "accepted_per_second": round(total / max(one["seconds"] for one in told)),
        f"{kind.lower()}s_most": most,
        "alone_per_second": round(mean(alone)) if alone else None,
        "split_per_second": round(mean(split)) if split else None,
        "busiest_thread_alone": round(mean(busy_alone), 2) if busy_alone else None,
        "alone_seconds": len(alone),
        "split_seconds": len(split),
    }


def main() -> None:
    """Measure with and without, and print two results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    parser.add_argument("--pool", action="store_true", help="look at the pool of ingesters")
    arguments = parser.parse_args()
    setting = "INGESTERS_MAX" if arguments.pool else "SCHEDULERS_PER_CORE_MAX"
    for most in ("0", "4"):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            figures = run(
                arguments.messages,
                Path(folder),
                senders=4 if arguments.pool else 1,
                **{f"SHARDPOST_{setting}": most},
            )
            print_result(f"elastic {setting.lower()} = {most}", figures)


if __name__ == "__main__":
    main()
