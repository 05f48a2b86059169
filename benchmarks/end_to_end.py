"""From the first byte of a file to closed books: messages a second, and CPU of the whole tree.

    python -m benchmarks.end_to_end [--messages N] [--folder PATH]

Starts `shardpost up` on a new data folder, sends a made-up file with `shardpost send`, waits until
the books of its group close, and counts the lines of the outbox.  The time runs from the first byte
read to the look that finds the books closed; the CPU time is that of every process below this one,
Ray and the dead included, from before `send` starts (so its start is in it) to closed books.
"""

import argparse
import asyncio
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from actors.cli.books_wait import wait_until_closed
from actors.cli.open_queries import open_queries
from benchmarks.process_tree import ProcessTree
from benchmarks.result import print_result
from pipeline.message import group_key
from tests.support.platform_process import Outbox, processes

MESSAGES: Final = 1_000_000
GROUP: Final = "benchmark"
_SHARDPOST: Final = [str(Path(sys.executable).with_name("shardpost"))]
_TICKS: Final = 100.0


def write_messages(path: Path, count: int) -> None:
    """Write a CSV file of `count` texts of ordinary length, each to a number of its own range."""
    with path.open("w") as file:
        file.write("to,text\n")
        for number in range(count):
            file.write(
                f"+44770090{number % 1_000:04},Your order {number} has left our house and will be"
                " with you tomorrow between 9 and 12; thank you\n"
            )


def cpu_by_stage() -> dict[str, float]:
    """Return the CPU seconds so far of the living processes, by what they do."""
    usage: dict[str, float] = {}
    for pid, (_, title) in processes().items():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        seconds = (int(fields[11]) + int(fields[12])) / _TICKS
        for name, stage in (
            ("ray::IngesterActor", "ingesters"),
            ("ray::SchedulerActor", "schedulers"),
            ("ray::RegistryActor", "registry"),
            ("raylet", "ray"),
            ("gcs_server", "ray"),
            ("ray::", "ray"),
            ("ray/", "ray"),
        ):
            if name in title:
                usage[stage] = usage.get(stage, 0.0) + seconds
                break
    return usage


def run(messages: int, folder: Path, *up_options: str) -> dict[str, Any]:
    """Measure once in a folder; return the figures.  `up_options`: of `shardpost up`."""
    file, data = folder / "messages.csv", folder / "data"
    write_messages(file, messages)
    platform = ProcessTree.start(
        [*_SHARDPOST, "up", "--json", "--data", str(data), *up_options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert platform.stdout is not None
    assert platform.stdout.readline(), "the platform did not start"
    cpu_before, stages_before = platform.cpu_s(), cpu_by_stage()
    sending = subprocess.Popen(
        [
            *(*_SHARDPOST, "send", str(file), "--json", "--data", str(data)),
            *("--channel", "sms", "--group", GROUP),
        ],
        stdout=subprocess.PIPE,
    )

    def check(_: object) -> None:
        assert not sending.poll(), f"send ended with {sending.returncode}"

    async def wait() -> Counter[Any]:
        async with open_queries(data) as queries:
            books = await wait_until_closed(
                queries.store,
                group_key("default", GROUP),
                accepted_count=lambda: messages,
                on_look=check,
            )
            return books.counts

    books = asyncio.run(wait())
    closed_at = time.time()
    output, _ = sending.communicate(timeout=60)
    # The tree does not count what this process itself has waited for, and that is `send` alone.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    send_s = used.ru_utime + used.ru_stime
    cpu_s = platform.cpu_s() - cpu_before + send_s
    stages = {
        stage: seconds - stages_before.get(stage, 0.0) for stage, seconds in cpu_by_stage().items()
    }
    told = json.loads(output)
    platform.send_signal(signal.SIGINT)
    ended = platform.stdout.read().decode().splitlines()
    platform.finish()
    lanes = [lane for report in json.loads(ended[-1])["lanes"].values() for lane in report]
    lines, _ = Outbox(data).read()
    assert len({line["message_id"] for line in lines}) == len(lines) == messages, len(lines)
    seconds = closed_at - told["began_at"]
    return {
        "messages": messages,
        "messages_per_second": round(messages / seconds),
        "seconds": round(seconds, 2),
        "accepted_per_second": round(messages / told["seconds"]),
        "cpu_us_per_message": round(cpu_s / messages * 1e6, 1),
        "send_cpu_us_per_message": round(send_s / messages * 1e6, 1),
        **{
            f"{stage}_cpu_us_per_message": round(used / messages * 1e6, 1)
            for stage, used in sorted(stages.items())
        },
        "buffer_rows_read_per_message": round(
            sum(lane["rows_read"] for lane in lanes) / messages, 4
        ),
        **{f"books_{state.value}": count for state, count in books.items() if count},
    }


def main() -> None:
    """Measure and print one result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print_result("end_to_end", run(arguments.messages, Path(folder)))


if __name__ == "__main__":
    main()
