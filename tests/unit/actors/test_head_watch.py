"""A platform whose head is gone ends by itself, and not for a look that failed."""

import asyncio

import pytest

from actors.head_watch import HeadWatch
from pipeline.errors import PlatformBroken
from tests.support.virtual_time import in_virtual_time, loop_now, pass_time


class Head:
    """Is there, or not, look by look; after the last look as it was then."""

    def __init__(self, looks: str) -> None:
        self.looks = [look == "+" for look in looks]

    async def is_there(self) -> bool:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def watch(looks: str) -> HeadWatch:
    return HeadWatch(Head(looks).is_there)


async def answer_after(ms: int) -> str:
    await pass_time(ms)
    return "answer"


@pytest.mark.parametrize("looks", ["+", "--+", "+--+--+"])
@in_virtual_time
async def test_work_is_kept_while_the_head_is_there(looks: str) -> None:
    made = watch(looks)
    assert await made.keep(answer_after(60_000)) == "answer"
    assert not made.is_head_gone


@in_virtual_time
async def test_a_head_that_is_gone_breaks_the_work_off_long_before_ray_does() -> None:
    made = watch("++-")
    broken_off = False

    async def work() -> None:
        nonlocal broken_off
        try:
            await pass_time(3_600_000)
        except asyncio.CancelledError:
            broken_off = True
            raise

    with pytest.raises(PlatformBroken, match="head service"):
        await made.keep(work())
    assert broken_off
    assert made.is_head_gone
    assert loop_now().time() < 10


@in_virtual_time
async def test_work_that_is_done_before_anybody_looks_gives_its_answer() -> None:
    assert await watch("-").keep(answer_after(0)) == "answer"


@in_virtual_time
async def test_work_that_fails_raises_what_it_raised() -> None:
    async def work() -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        await watch("+").keep(work())
