"""The simulator as a process of its own, which a test may kill."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from cluster.egress.simulator.log import LogLine, read_log

ROOT = Path(__file__).resolve().parents[2]


class ProviderProcess:
    """A running simulator and its log."""

    def __init__(self, process: Process, ports: dict[str, int], log: Path) -> None:
        self.process = process
        self.ports = ports
        self.log_path = log

    @property
    def url(self) -> str:
        """Where it takes messages by HTTP."""
        return f"http://127.0.0.1:{self.ports['http']}"

    def as_(self, mode: str, number: int = 0) -> str:
        """Return a recipient that is treated so."""
        return f"{self.url}/as/{mode}/{number}"

    def lines(self) -> list[LogLine]:
        """Return what it wrote down."""
        return read_log(self.log_path)

    async def counts(self) -> dict[str, Any]:
        """Return what it counted."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/control/counts") as answer,
        ):
            counts: dict[str, Any] = await answer.json()
            return counts

    async def behave(self, modes: str) -> None:
        """Change how it behaves."""
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self.url}/control/modes", data=modes) as answer,
        ):
            assert answer.status == 204, await answer.text()

    async def kill(self) -> None:
        """End it as a lost machine would."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def running_provider(
    log: Path, *, modes: str = "", seed: int = 0, port: int = 0
) -> AsyncIterator[ProviderProcess]:
    """Start one, and end it with the test."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cluster.egress.simulator", "--http", str(port), "--log", str(log)),
        *("--modes", modes, "--seed", str(seed)),
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=PIPE,
    )
    try:
        assert process.stdout is not None
        ready = await asyncio.wait_for(process.stdout.readline(), 120)
        yield ProviderProcess(process, json.loads(ready), log)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
