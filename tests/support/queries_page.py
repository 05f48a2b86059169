"""The examples of docs/operating/queries.md, made by the program from one small data folder.

`python -m tests.support.queries_page` writes them into the page again.
"""

import asyncio
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from unittest.mock import patch

from typer.testing import CliRunner

from actors.cli.main import app
from pipeline.instant import later
from pipeline.lifecycle import Event
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder

PAGE: Final = Path(__file__).parents[2] / "docs" / "operating" / "queries.md"
# As the page shows the folder.
SHOWN_FOLDER: Final = "shardpost-data"
# What depends on the machine is shown as it was on one of them.
NOT_MADE_AGAIN: Final = ("shardpost version", "shardpost doctor")

_BLOCK: Final = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)```", re.DOTALL)


async def fill(path: Path) -> None:
    """A spring sale is nearly over, two of its messages are uncertain; receipts have begun."""
    folder = FilledFolder(path)
    try:
        await folder.send(await folder.accept(40, group="spring-sale"))
        lost = await folder.accept(2, group="spring-sale")
        await folder.append(lost, Event.CLAIM)
        folder.clock.advance(9)
        await folder.append(lost, Event.LOSE_ANSWER, detail="No space left on device")
        await folder.finish()
        await folder.append(
            await folder.accept(
                3, group="receipts", channel="email", recipient="ann{n}@example.com"
            ),
            Event.CLAIM,
        )
        folder.clock.advance(4_000)
        await folder.accept(5, group="receipts", channel="email", recipient="bob{n}@example.com")
    finally:
        await folder.close()


def examples(page: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the page with the output that it shows."""
    for block in _BLOCK.finditer(page):
        yield block["command"], block["output"]


def made_again(page: str, run: Callable[[str], str]) -> str:
    """Return the page with what `run` says of each command."""

    def replace(block: re.Match[str]) -> str:
        command = block["command"]
        output = block["output"] if command in NOT_MADE_AGAIN else run(command)
        return f"```console\n$ {command}\n{output}```"

    return _BLOCK.sub(replace, page)


def run_in(folder: Path) -> Callable[[str], str]:
    """Return what runs a command of the page on the small folder, five seconds after its end."""

    def run(command: str) -> str:
        program, *arguments = shlex.split(command)
        assert program == "shardpost", command
        now = later(NOW, 10_000)
        with (
            patch("cluster.runtime.clock.SystemClock.now", lambda _self: now),
            patch.dict(os.environ, {"SHARDPOST_DATA": str(folder)}),
        ):
            result = CliRunner().invoke(app, arguments)
        shown = result.stdout.replace(str(folder), SHOWN_FOLDER)
        return shown + result.stderr.replace(str(folder), SHOWN_FOLDER)

    return run


def main() -> None:
    """Write the page's examples again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        asyncio.run(fill(path))
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(made_again(page, run_in(path)), encoding="utf-8")


if __name__ == "__main__":
    main()
