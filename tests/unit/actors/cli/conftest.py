"""The program as a test calls it, and the folders that it looks at."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli.main import app
from cluster.runtime.clock import SystemClock
from pipeline.instant import Instant, later
from tests.support.broken_folder import Broken, fill_whole
from tests.support.cli_answer import Answer, Fill, Shardpost
from tests.support.fake_clock import NOW
from tests.support.filled_folder import FilledFolder

LOOKED_AT: Instant = later(NOW, 60_000)


@pytest.fixture
def shardpost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shardpost:
    """Return the program: in a folder of its own, without settings, a minute after `NOW`."""
    for name in os.environ:
        if name.startswith("SHARDPOST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SystemClock, "now", lambda _self: LOOKED_AT)

    def call(*arguments: str | Path) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return Answer(code=result.exit_code, out=result.stdout, err=result.stderr)

    return call


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Return what makes a folder and lets a coroutine fill it; it is closed when that ends."""

    def made(fill_it: Callable[[FilledFolder], Awaitable[Any]]) -> FilledFolder:
        async def run() -> FilledFolder:
            folder = FilledFolder(tmp_path / "data")
            try:
                await fill_it(folder)
            finally:
                await folder.close()
            return folder

        return asyncio.run(run())

    return made


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FilledFolder:
    """Return a folder in which everything is as it should be; nobody may change it."""
    return asyncio.run(fill_whole(tmp_path_factory.mktemp("whole") / "data"))


@pytest.fixture
def broken(whole: FilledFolder, tmp_path: Path) -> Broken:
    """Return a copy of it, to be broken."""
    shutil.copytree(whole.path, tmp_path / "data")
    return Broken(tmp_path / "data", whole)


@pytest.fixture
def audit(shardpost: Shardpost, broken: Broken) -> Callable[..., Answer]:
    """Return the audit of the copy."""
    return lambda *arguments: shardpost("audit", "--data", broken.path, "--json", *arguments)
