"""Whoever asks a platform that ends is told so at once, and asks it nothing more."""

import asyncio

import pytest

from actors.cli import platform_watch
from actors.cli.platform_watch import PlatformWatch
from actors.sender import PlatformUnanswered


class Running:
    """A platform that says for so many looks that it runs."""

    def __init__(self, looks: int) -> None:
        self.looks_left = looks
        self.asked_count = 0

    def __call__(self) -> bool:
        self.looks_left -= 1
        return self.looks_left >= 0

    async def ask(self) -> str:
        self.asked_count += 1
        return "answer"


@pytest.fixture(autouse=True)
def looks_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_watch, "_LOOK_S", 0)


async def test_work_that_ends_gives_its_answer() -> None:
    async def work() -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "done"

    assert await PlatformWatch(Running(1_000), advice="").keep(work()) == "done"


async def test_work_that_fails_raises_what_it_raised() -> None:
    async def work() -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        await PlatformWatch(Running(1_000), advice="").keep(work())


async def test_work_that_waits_for_a_platform_that_ended_is_broken_off() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    with pytest.raises(PlatformUnanswered, match=r"the platform ended .*: run it again"):
        await PlatformWatch(Running(3), advice="run it again").keep(work())
    assert ended == ["work"]


async def test_a_platform_that_ended_is_not_asked() -> None:
    running = Running(1)
    ask = PlatformWatch(running, advice="").guarding(running.ask)
    assert await ask() == "answer"
    with pytest.raises(PlatformUnanswered):
        await ask()
    assert running.asked_count == 1
