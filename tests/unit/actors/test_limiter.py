"""The limiter and its clients, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from actors.limiter import Limiter, decode_grants, encode_demand
from actors.permits import LimiterDoor, PermitClient
from pipeline.limits import LIMITER_PERIOD_MS
from pipeline.route.lease import PermitDesk
from pipeline.route.limiter import Demand, KeyDemand
from pipeline.route.permits import Limit, LimitBook
from tests.support.virtual_time import LoopClock, in_virtual_time, loop_now, pass_time

KEY = "connector:sms"
BOOK = LimitBook(limits={KEY: Limit(rate_milli=100_000, burst=10)})


class World:
    """A limiter that may die, and schedulers that ask it."""

    def __init__(self) -> None:
        self.clock = LoopClock(loop_now())
        self.limiter: Limiter | None = Limiter(BOOK, self.clock)
        self.is_mute = False
        self.woken = 0
        self.clients = [self._client(f"s{n}") for n in range(2)]

    def _client(self, name: str) -> PermitClient:
        def wake() -> None:
            self.woken += 1

        return PermitClient(
            PermitDesk(name, [KEY]), find_limiter=self._find, clock=self.clock, on_grants=wake
        )

    async def _find(self) -> LimiterDoor | None:
        return None if self.limiter is None else self

    async def ask(self, demand: bytes) -> bytes:
        if self.limiter is None:
            raise ConnectionError("gone")
        if self.is_mute:
            await asyncio.Event().wait()
        return await self.limiter.ask(demand)

    def permits(self, client: int = 0, *, want: int = 1_000) -> int:
        desk = self.clients[client].desk
        desk.want("lane", "normal-1", {KEY: want})
        return desk.take("lane", KEY, want, self.clock.now())

    async def spend(self, duration_ms: int) -> int:
        spent = 0
        for _ in range(0, duration_ms, 20):
            await pass_time(20)
            spent += self.permits()
        return spent


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    for client in world.clients:
        await client.start()
        await client.start()
    await pass_time(2_000)
    yield world
    for client in world.clients:
        await client.stop()
        await client.stop()
    if world.limiter is not None:
        await world.limiter.stop()


@in_virtual_time
async def test_a_scheduler_with_work_gets_the_whole_rate() -> None:
    async with running() as world:
        await world.spend(2_000)
        assert await world.spend(5_000) == pytest.approx(500, abs=25)


@in_virtual_time
async def test_lanes_are_woken_when_permits_come() -> None:
    async with running() as world:
        woken = world.woken
        await pass_time(5_000)
        assert world.woken - woken == pytest.approx(2 * 5_000 / LIMITER_PERIOD_MS, abs=2)


@in_virtual_time
async def test_a_limiter_that_died_is_found_again() -> None:
    async with running() as world:
        await world.spend(2_000)
        assert world.limiter is not None
        await world.limiter.stop()
        world.limiter = None
        await world.spend(1_500)
        assert await world.spend(1_000) == 0
        world.limiter = Limiter(BOOK, world.clock)
        await world.spend(3_000)
        assert await world.spend(1_000) == pytest.approx(100, abs=10)


@in_virtual_time
async def test_a_limiter_that_does_not_answer_is_asked_again() -> None:
    async with running() as world:
        world.is_mute = True
        await world.spend(5_000)
        assert await world.spend(1_000) == 0
        world.is_mute = False
        await world.spend(4_000)
        assert await world.spend(1_000) == pytest.approx(100, abs=10)


@in_virtual_time
async def test_who_asks_twice_is_answered_twice() -> None:
    limiter = Limiter(BOOK, LoopClock(loop_now()))
    demand = encode_demand(Demand("s0", 0, {KEY: KeyDemand({"urgent": 5})}))
    first, second = await asyncio.gather(limiter.ask(demand), limiter.ask(demand))
    assert first == second
    assert decode_grants(first).keys[KEY].run is not None
    await limiter.stop()


@in_virtual_time
async def test_a_stop_leaves_nobody_waiting() -> None:
    limiter = Limiter(BOOK, LoopClock(loop_now()))
    await limiter.start()
    asking = asyncio.create_task(limiter.ask(encode_demand(Demand("s0", 0, {}))))
    await asyncio.sleep(0)
    await limiter.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking


@in_virtual_time
async def test_health_raises_what_ended_the_loop() -> None:
    clock = LoopClock(loop_now())
    limiter = Limiter(BOOK, clock)
    await pass_time(2_000)
    assert (await limiter.check_health())["rounds"] == 0
    await pass_time(5_000)
    assert (await limiter.check_health())["rounds"] > 5
    del clock._loop
    await pass_time(1_000)
    with pytest.raises(AttributeError):
        await limiter.check_health()
