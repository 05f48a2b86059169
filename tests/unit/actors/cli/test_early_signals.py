"""A signal that comes while the platform starts leaves nothing of it."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import typer

from actors.cli import running
from actors.cli.exit_codes import ExitCode
from actors.cli.home import Home
from cluster.runtime.settings import Settings


def take_sigterm(*_: object) -> NoReturn:
    sys.exit(15)  # as the handler does that Ray puts in place of others while it starts


async def start(settings: Settings) -> None:
    async with running.running_platform(settings):
        pytest.fail("it runs")


@pytest.mark.parametrize("comes", ["while Ray starts", "before anybody listens"])
def test_sigterm_ends_a_platform_that_is_not_ready_with_a_documented_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, comes: str
) -> None:
    stopped: list[bool] = []
    started = SimpleNamespace(stop=lambda: stopped.append(True))
    is_started = comes == "before anybody listens"
    platform = SimpleNamespace(
        start=lambda *_arguments, **_named: started if is_started else take_sigterm()
    )

    async def make_home(_: Settings) -> Home:
        return Home(tmp_path, {})

    monkeypatch.setattr(running, "make_home", make_home)
    for name in ("prepare_ray_environment", "configure_logging"):
        monkeypatch.setattr(running, name, lambda *_arguments, **_named: None)
    monkeypatch.setattr(running, "listen_for_stop", take_sigterm)
    monkeypatch.setitem(sys.modules, "actors.platform", SimpleNamespace(Platform=platform))
    with pytest.raises(typer.Exit) as ended:
        asyncio.run(start(Settings(data=tmp_path / "data")))
    assert ended.value.exit_code == ExitCode.INTERRUPTED
    assert stopped == [True] * is_started
