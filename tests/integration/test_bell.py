"""The bell of a core, over real sockets: who rings is heard, and nobody waits for who is gone."""

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.local.bell import CoreBell, ring
from cluster.topology.generation import Core
from pipeline.limits import BELL_BYTES_MAX

CORE, OTHER = Core("n1", 0), Core("n1", 1)
LANE = "1.n1.0.sms.bulk-1"


class Hearing:
    """What a scheduler heard."""

    def __init__(self) -> None:
        self.lanes: list[str] = []
        self._is_news = asyncio.Event()

    def __call__(self, lanes: Sequence[str]) -> None:
        self.lanes += lanes
        self._is_news.set()

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(30):
            while len(self.lanes) < count:
                self._is_news.clear()
                await self._is_news.wait()
        return self.lanes


@pytest.mark.parametrize("depth", [0, 3])
async def test_a_ring_is_heard_however_long_the_path_is(tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a-rather-long-name-of-a-folder-that-nobody-would-type"] * depth)
    folder.mkdir(parents=True, exist_ok=True)
    assert depth == 0 or len(str(folder)) > 108
    hearing, bell = Hearing(), CoreBell(folder, CORE)
    bell.hang(hearing)
    ring(folder, CORE, [LANE])
    assert await hearing.until(1) == [LANE]
    [path] = (folder / "bells").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    bell.take_down()
    bell.take_down()
    assert list((folder / "bells").iterdir()) == []


async def test_every_scheduler_of_the_core_hears_it_and_no_other(tmp_path: Path) -> None:
    hearings = [Hearing(), Hearing(), Hearing()]
    bells = [CoreBell(tmp_path, CORE), CoreBell(tmp_path, CORE, part=1), CoreBell(tmp_path, OTHER)]
    for bell, hearing in zip(bells, hearings, strict=True):
        bell.hang(hearing)
    ring(tmp_path, OTHER, ["other"])
    assert await hearings[2].until(1) == ["other"]
    ring(tmp_path, CORE, [LANE])
    assert await hearings[0].until(1) == await hearings[1].until(1) == [LANE]
    assert hearings[2].lanes == ["other"]
    for bell in bells:
        bell.take_down()


async def test_a_successor_takes_the_place_and_its_predecessor_leaves_it_alone(
    tmp_path: Path,
) -> None:
    before, after = CoreBell(tmp_path, CORE), CoreBell(tmp_path, CORE)
    hearing = Hearing()
    before.hang(Hearing())
    after.hang(hearing)
    before.take_down()
    ring(tmp_path, CORE, [LANE])
    assert await hearing.until(1) == [LANE]
    after.take_down()


async def test_more_lanes_than_one_ring_can_name_are_named_in_several(tmp_path: Path) -> None:
    lanes = [f"{LANE}-{number}" for number in range(2 * BELL_BYTES_MAX // len(LANE))]
    hearing, bell = Hearing(), CoreBell(tmp_path, CORE)
    bell.hang(hearing)
    ring(tmp_path, CORE, lanes)
    assert await hearing.until(len(lanes)) == lanes
    bell.take_down()


async def test_nobody_waits_for_who_does_not_hear(tmp_path: Path) -> None:
    ring(tmp_path, CORE, [LANE])  # there is no folder
    bell = CoreBell(tmp_path, CORE)
    bell.hang(Hearing())
    [path] = (tmp_path / "bells").iterdir()
    bell.take_down()
    path.touch()  # as a process that was killed leaves it
    ring(tmp_path, CORE, [LANE])
    busy = CoreBell(tmp_path, CORE)
    busy.hang(Hearing())
    for _ in range(2_000):  # more than the kernel keeps for a loop that is stuck
        ring(tmp_path, CORE, [LANE])
    busy.take_down()


async def test_where_there_can_be_none_the_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bells").touch()
    bell = CoreBell(tmp_path, CORE)
    bell.hang(Hearing())
    ring(tmp_path, CORE, [LANE])
    bell.take_down()
