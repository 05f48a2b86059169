"""How soon a cancel is answered while the platform is idle.

    python -m benchmarks.cancel [--commands N] [--programs N]

Messages that are due tomorrow are cancelled one after another: first by a desk in this process,
where the time runs from before the command is written until its answer is read, then by
`shardpost cancel ID`, a program of its own each time.  Most of such a program's time is the start
of Python, so that two others are told beside it: `shardpost version`, which does nothing, and a
cancel that is recorded and not waited for.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from actors.cli.asked_messages import AskedMessage
from actors.cli.asked_messages import by_ids as find_messages
from actors.cli.command_desk import CommandDesk
from actors.cli.open_queries import open_queries
from actors.cli.open_store import open_store
from benchmarks.latency import percentile
from benchmarks.result import print_result
from benchmarks.running_platform import SHARDPOST, running_platform
from cluster.local.bell import ring
from pipeline.command import CommandBody, CommandKind, Verdict

COMMANDS: Final = 200
PROGRAMS: Final = 20
GROUP: Final = "cancel"
_WARM_UP: Final = 5
_PAUSE_S: Final = (0.05, 0.35)  # between two commands, so that no look is met by rhythm
_WAIT_S: Final = 10.0


def schedule(data: Path, count: int) -> list[str]:
    """Send messages that are due tomorrow; return their ids."""
    file = data.parent / "messages.csv"
    lines = (f"+44770090{number:04},Until tomorrow {number}\n" for number in range(count))
    file.write_text("to,text\n" + "".join(lines))
    subprocess.run(
        [
            *(*SHARDPOST, "send", str(file), "--data", str(data), "--channel", "sms"),
            *("--group", GROUP, "--at", "in 24h", "--json"),
        ],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    ids: list[str] = []
    after: list[str] = []
    while len(ids) < count:
        told = subprocess.run(
            [
                *(*SHARDPOST, "messages", "--group", GROUP, "--limit", "1000"),
                *("--data", str(data), "--json", *after),
            ],
            stdout=subprocess.PIPE,
            check=True,
        )
        page = json.loads(told.stdout)
        ids += [one["id"] for one in page["messages"]]
        after = ["--after", str(page["after"])]
    return ids


async def by_desk(data: Path, digits: list[str]) -> list[float]:
    """Cancel these messages from this process; return the seconds that each took."""
    took, chance = [], Random(1)
    async with open_queries(data) as queries, open_store(queries.settings) as store:
        desk = CommandDesk(
            store.store,
            queries.generation,
            kind=CommandKind.CANCEL,
            by="benchmark",
            clock=store.clock,
            ring=partial(ring, queries.path),
        )
        messages: list[AskedMessage] = []
        async for batch in find_messages(queries, digits):
            messages += batch.messages
        assert len(messages) == len(digits)
        for message in messages:
            await asyncio.sleep(chance.uniform(*_PAUSE_S))
            body = CommandBody(born=message.born, group=message.group)
            began = time.perf_counter()
            asked = await desk.ask([message], [body].__getitem__)
            [answer] = (await desk.answers(asked, within_s=_WAIT_S)).values()
            took.append(time.perf_counter() - began)
            assert answer.verdict == Verdict.DONE, answer
    return took[_WARM_UP:]


def program(*arguments: str) -> float:
    """Run a command to its end; return the seconds that it took."""
    began = time.perf_counter()
    subprocess.run([*SHARDPOST, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print one result."""
    parser = argparse.ArgumentParser(description="how soon a cancel is answered")
    parser.add_argument("--commands", type=int, default=COMMANDS)
    parser.add_argument("--programs", type=int, default=PROGRAMS)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is put")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        data = Path(folder) / "data"
        programs = arguments.programs
        cancels, records, nothing = [], [], []
        with running_platform(data):
            ids = schedule(data, _WARM_UP + arguments.commands + 2 * programs)
            desk = asyncio.run(by_desk(data, ids[2 * programs :]))
            for number in range(programs):
                cancels.append(program("cancel", ids[number], "--data", str(data)))
                recorded = ids[programs + number]
                records.append(program("cancel", recorded, "--no-wait", "--data", str(data)))
                nothing.append(program("version"))
    print_result(
        "cancel",
        {
            "commands": arguments.commands,
            "written_to_answered_p50_ms": percentile(desk, 50),
            "written_to_answered_p99_ms": percentile(desk, 99),
            "written_to_answered_max_ms": percentile(desk, 100),
            "programs": arguments.programs,
            "program_p50_ms": percentile(cancels, 50),
            "program_max_ms": percentile(cancels, 100),
            "program_that_does_not_wait_p50_ms": percentile(records, 50),
            "program_that_does_nothing_p50_ms": percentile(nothing, 50),
        },
    )


if __name__ == "__main__":
    main()
