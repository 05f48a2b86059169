"""The crash points of the protocol (docs/protocol.md), a test each, named as the row is.

A crash is a process that ends between two calls: what it asked of the store last is done or not,
and nothing of it ever runs again.  What must come of it is judged by the provider's own log.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.doorbells import Doorbells
from actors.ingester import Ingester, IngesterPorts
from cluster.runtime.processor import ProcessorUse
from cluster.topology.generation import Core
from pipeline.ingest.chunk import Accepted, SubmitChunk, SubmitReply, decode_reply, encode
from pipeline.message import MessageId
from pipeline.outcome import HandOver, ProviderClass, Report
from pipeline.ports import Beat
from tests.support.faulty_store import FaultyStore
from tests.support.gates import gate_of
from tests.support.lane_actors import OTHER_PLATFORM, WINDOWS, CountingConnector, LaneActors
from tests.support.submissions import bodies_of, make_chunk, make_submission
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000
D_MS = WINDOWS.steal_after_ms
ONE = make_chunk(bodies_of([make_submission(priority="urgent")]))


async def crash(task: "asyncio.Task[object] | asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def ingester_on(world: LaneActors, store: FaultyStore) -> AsyncIterator[Ingester]:
    async def nobody(_: object) -> None:
        return None

    async def no_owners(_: Core) -> list[Beat]:
        return []

    async def nothing() -> None:
        return None

    async def ports() -> IngesterPorts:
        return IngesterPorts(
            store=store.port,
            generations=[world.generation],
            channels=frozenset({"sms"}),
            clock=world.clock,
            chance=lambda count: bytes(count),
            doorbells=Doorbells(
                clock=world.clock,
                read_owners=no_owners,
                find_bell=nobody,
                owner_refresh_ms=WINDOWS.owner_refresh_ms,
            ),
            measure=lambda: ProcessorUse(0, 0),
            close=nothing,
        )

    yield Ingester(WINDOWS, ports)


async def submit(ingester: Ingester, chunk: SubmitChunk) -> SubmitReply:
    return decode_reply(await ingester.submit(encode(chunk)))


async def hand_over_all(world: LaneActors) -> None:
    """Let every lane that exists have an owner for a while."""
    for core in world.generation.cores:
        for lane in await world.admin.port.read_lanes(core, world.generation.number):
            world.core, world.lane = core, lane
            runner = world.runner(await world.stores.open())
            task = world.begin(runner)
            await pass_time(D_MS + 10 * A_SECOND)
            runner.drain()
            await pass_time(A_SECOND)
            assert task.done()


# --- accept ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_messages_written_buffer_not(tmp_path: Path) -> None:
    """An orphan row, in no lane; the client's retry with its key makes one message of it."""
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        store.pause("write_buffer")
        async with ingester_on(world, store) as ingester:
            submitting = asyncio.ensure_future(submit(ingester, ONE))
            await pass_time(1)
            assert store.count("write_buffer") == 1
            await crash(submitting)
        await hand_over_all(world)
        assert not world.log
        async with ingester_on(world, await world.stores.open()) as again:
            reply = await submit(again, ONE)
        assert isinstance(reply, Accepted)
        await hand_over_all(world)
        assert world.log == {MessageId(reply.first_id): 1}


@pytest.mark.parametrize("is_applied", [True, False])
@in_virtual_time
async def test_buffer_unknown(tmp_path: Path, is_applied: bool) -> None:
    """Perhaps a ghost row: the rewrite, or the client's retry; never a second delivery."""
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        store.lose("write_buffer", is_applied=is_applied, times=2)
        async with ingester_on(world, store) as ingester:
            first = await submit(ingester, ONE)
        assert isinstance(first, Accepted)
        await hand_over_all(world)
        assert world.log == {MessageId(first.first_id): 1}, "what was accepted needs no retry"
        async with ingester_on(world, await world.stores.open()) as again:
            second = await submit(again, ONE)
        assert isinstance(second, Accepted)
        assert first.first_id == second.first_id
        await hand_over_all(world)
        assert world.log == {MessageId(first.first_id): 1}


@in_virtual_time
async def test_buffer_written_before_the_answer(tmp_path: Path) -> None:
    """Accepted; one delivery, and a keyed retry returns the same id."""
    async with LaneActors.on(tmp_path) as world:
        store = await world.stores.open()
        async with ingester_on(world, store) as ingester:
            submitting = asyncio.ensure_future(submit(ingester, ONE))
            while "write_buffer" not in store.log:  # noqa: ASYNC110 -- before the very next step
                await asyncio.sleep(0)
            await crash(submitting)
        await hand_over_all(world)
        assert list(world.log.values()) == [1]
        async with ingester_on(world, await world.stores.open()) as again:
            reply = await submit(again, ONE)
        assert isinstance(reply, Accepted)
        await hand_over_all(world)
        assert world.log == {MessageId(reply.first_id): 1}


# --- own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize("survives", [True, False])
@in_virtual_time
async def test_takeover_unknown(tmp_path: Path, is_applied: bool, survives: bool) -> None:
    """The epoch moved or not; a repeat finds out, or the next one after D.  A delay."""
    async with LaneActors.on(tmp_path) as world:
        first = world.runner(await world.stores.open(), platform=OTHER_PLATFORM)
        old = world.begin(first)
        await pass_time(A_SECOND)
        await crash(old)
        ids = await world.accept(5)
        store = await world.stores.open()
        store.lose("take_over", is_applied=is_applied)
        second = world.begin(world.runner(store, name="second"))
        if not survives:
            while not store.count("take_over"):
                await pass_time(1)
            await crash(second)
            world.begin(world.runner(await world.stores.open(), name="third"))
        await pass_time(2 * D_MS)
        assert world.log == dict.fromkeys(ids, 1)
        assert await world.epoch() in (2, 3)


# --- claim, send, record --------------------------------------------------------------------------


@pytest.mark.parametrize("is_applied", [True, False])
@in_virtual_time
async def test_append_unknown_owner_dies(tmp_path: Path, is_applied: bool) -> None:
    """In the segment: as claimed, not sent.  Not in it: never sent, claimed normally."""
    async with LaneActors.on(tmp_path) as world:
        [id_] = await world.accept(1)
        store = await world.stores.open()
        store.lose("append", is_applied=is_applied, times=1_000)
        dying = world.begin(world.runner(store))
        while not store.count("append"):
            await pass_time(1)
        await crash(dying)
        assert not world.log
        world.begin(world.runner(await world.stores.open(), name="second"))
        await pass_time(2 * D_MS)
        assert await world.states() == {"uncertain" if is_applied else "sent": 1}
        assert world.log == ({} if is_applied else {id_: 1})


class Dying(CountingConnector):
    """Takes what it is given, or does not, and never says so."""

    takes = True

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        self.hand_overs.append(hand_over)
        if self.takes:
            self.log.update(hand_over.message_ids)
        await asyncio.Event().wait()


@pytest.mark.parametrize("was_sent", [True, False])
@pytest.mark.parametrize(
    ("provider_class", "state"),
    [
        (ProviderClass.NONE, "uncertain"),
        (ProviderClass.CORRELATED, "uncertain"),
        (ProviderClass.KEYED, "sent"),
    ],
)
@in_virtual_time
async def test_claimed_not_sent_and_sent_not_journaled(
    tmp_path: Path, was_sent: bool, provider_class: ProviderClass, state: str
) -> None:
    """Nobody can tell the two apart: by class, the same key again or uncertain."""
    async with LaneActors.on(tmp_path) as world:
        [id_] = await world.accept(1)
        gate = gate_of("counting", provider_class=provider_class)
        connector = Dying(world.log)
        connector.takes = was_sent
        dying = world.begin(world.runner(await world.stores.open(), connector=connector, gate=gate))
        await pass_time(A_SECOND)
        assert len(connector.hand_overs) == 1
        await crash(dying)
        successor = CountingConnector(world.log)
        world.begin(
            world.runner(await world.stores.open(), name="second", connector=successor, gate=gate)
        )
        await pass_time(D_MS + 60 * A_SECOND)
        assert await world.states() == {state: 1}
        is_asked = provider_class is ProviderClass.KEYED
        # The provider knows the key: however often it is asked, it is one message to it.
        assert world.log[id_] == was_sent + is_asked
        assert len(successor.hand_overs) == is_asked


@in_virtual_time
async def test_journaled_not_projected(tmp_path: Path) -> None:
    """The successor projects again: a stale status for seconds."""
    async with LaneActors.on(tmp_path) as world:
        ids = await world.accept(4)
        store = await world.stores.open()
        store.pause("project", "write_books")
        dying = world.begin(world.runner(store))
        await pass_time(A_SECOND)
        assert world.log == dict.fromkeys(ids, 1)
        await crash(dying)
        assert await world.states() == {"accepted": 4}
        world.begin(world.runner(await world.stores.open(), name="second"))
        await pass_time(D_MS + 5 * A_SECOND)
        assert await world.states() == {"sent": 4}
        assert world.log == dict.fromkeys(ids, 1)


@in_virtual_time
async def test_retry_timer_written_outcome_not(tmp_path: Path) -> None:
    """Timer and claim: the claim is judged by class; the timer waits, and counts for nothing."""
    async with LaneActors.on(tmp_path) as world:
        [id_] = await world.accept(1)
        store = await world.stores.open()
        connector = CountingConnector(world.log)
        connector.defers = True

        def stop_at_the_outcome(verb: str) -> None:
            if verb == "append" and store.count("write_buffer"):
                store.pause("append")

        store.on_call = stop_at_the_outcome
        dying = world.begin(world.runner(store, connector=connector))
        await pass_time(5 * A_SECOND)
        assert store.count("write_buffer") == 1
        await crash(dying)
        successor = CountingConnector(world.log)
        world.begin(world.runner(await world.stores.open(), name="second", connector=successor))
        await pass_time(D_MS + 60 * A_SECOND)
        assert await world.states() == {"uncertain": 1}
        assert not successor.hand_overs
        assert world.log[id_] == 1


# --- zombies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_written", [True, False])
@in_virtual_time
async def test_zombie_wakes_before_its_append(tmp_path: Path, has_written: bool) -> None:
    """applied=false: nothing, also where the successor has not written to that place so far."""
    async with LaneActors.on(tmp_path) as world:
        ids = await world.accept(4)
        asleep, store = await world.stores.open(), await world.stores.open()
        asleep.pause("append")
        zombie = CountingConnector(world.log)
        world.begin(world.runner(asleep, connector=zombie))
        await pass_time(A_SECOND)
        if not has_written:
            store.pause("append")
        world.begin(world.runner(store, name="second"))
        await pass_time(D_MS + 5 * A_SECOND)
        assert await world.epoch() == 2
        asleep.resume()
        await pass_time(A_SECOND)
        store.resume()
        await pass_time(10 * A_SECOND)
        assert not zombie.hand_overs
        assert world.log == dict.fromkeys(ids, 1)
        assert await world.states() == {"sent": 4}


@in_virtual_time
async def test_zombie_wakes_after_its_claim(tmp_path: Path) -> None:
    """Its claim is judged by the successor; what it still sends is the only copy."""
    async with LaneActors.on(tmp_path) as world:
        ids = await world.accept(4)
        asleep = await world.stores.open()
        slow = CountingConnector(world.log, takes_ms=2 * D_MS)
        world.begin(world.runner(asleep, connector=slow))
        await pass_time(A_SECOND)
        assert len(slow.hand_overs) == 1
        second = CountingConnector(world.log)
        world.begin(world.runner(await world.stores.open(), name="second", connector=second))
        await pass_time(4 * D_MS)
        assert world.log == dict.fromkeys(ids, 1)
        assert not second.hand_overs
        states = await world.states()
        # Uncertain, or settled by what the deposed owner testified.
        assert states["uncertain"] + states["sent"] == 4


@in_virtual_time
async def test_the_whole_cluster(tmp_path: Path) -> None:
    """A fresh one takes every lane: a delay, at most F of a lane uncertain."""
    async with LaneActors.on(tmp_path) as world:
        await world.accept(10 * WINDOWS.claims_open_max)
        connector = CountingConnector(world.log, takes_ms=50)
        dying = world.begin(
            world.runner(await world.stores.open(), connector=connector, platform=OTHER_PLATFORM)
        )
        await pass_time(170)
        assert 0 < len(world.log) < 10 * WINDOWS.claims_open_max
        await crash(dying)
        world.begin(world.runner(await world.stores.open(), name="second"))
        await pass_time(60 * A_SECOND)
        states = await world.states()
        assert states["sent"] + states["uncertain"] == 10 * WINDOWS.claims_open_max
        assert states["uncertain"] <= WINDOWS.claims_open_max
        assert set(world.log.values()) == {1}
        assert len(world.log) >= states["sent"]
