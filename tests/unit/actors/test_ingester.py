"""An ingester makes chunks durable in order, or says why not; on a real store, in virtual time."""

import asyncio
from collections.abc import Awaitable, Sequence
from pathlib import Path

import pytest

from actors import ingester as ingester_module
from cluster.runtime.processor import ProcessorUse
from cluster.topology.generation import Core
from pipeline.ingest.chunk import (
    Accepted,
    KeyTaken,
    Leaving,
    Overloaded,
    SubmitChunk,
    SubmitReply,
    Unanswered,
    decode_reply,
    encode,
)
from pipeline.limits import (
    CHUNK_MESSAGES_MAX,
    DOORBELL_BODY_BYTES_MAX,
)
from pipeline.message import Body, MessageId
from tests.support.ingester_world import ONE_LANE, Client, World, positions
from tests.support.submissions import bodies_of, make_chunk, make_submission, some_bodies
from tests.support.virtual_time import in_virtual_time, pass_time, settle

# --- accepted -------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_is_accepted_has_its_bodies_and_one_row_each(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        chunk = make_chunk(some_bodies(100))
        reply = await world.ingester().submit(chunk)
        assert isinstance(reply, Accepted)
        assert (reply.count, reply.repeated_count) == (100, 0)
        rows = await world.buffer_rows()
        ids = [row[1] for _, row in rows]
        assert len(ids) == len(set(ids)) == 100
        bodies: dict[MessageId, Body] = {}
        for core in world.stores.data.generation.cores:
            keys = [(row[2], row[1]) for lane, row in rows if core == Core(lane.node, lane.shard)]
            bodies |= await world.store.port.read_bodies(core, keys)
        assert sorted(bodies.values()) == sorted(chunk.bodies)
        assert bodies[MessageId(reply.first_id)] == chunk.bodies[0]


@in_virtual_time
async def test_nothing_is_accepted_while_the_store_says_why_not(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        world.refusal = "the clock of node a is at least 700 ms ahead of this machine's"
        chunk = make_chunk(some_bodies(10))
        assert await client.submit(chunk) == Unanswered(world.refusal)
        assert world.store.log == []
        world.refusal = None
        assert isinstance(await client.submit(chunk), Accepted)


@in_virtual_time
async def test_the_order_of_writes_is_the_promise(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        await client.submit(make_chunk(bodies_of(ONE_LANE)))
        world.story = world.store.log
        world.story.append("answer")
        await settle()
        assert world.story == [
            "put_idempotency",
            "write_messages",
            "announce_lane",
            "write_buffer",
            "answer",
            "doorbell",
        ]


@in_virtual_time
async def test_nothing_begins_before_what_it_relies_on_was_acknowledged(tmp_path: Path) -> None:
    order = ["put_idempotency", "write_messages", "announce_lane", "write_buffer"]
    async with World.on(tmp_path) as world:
        client = world.ingester()
        world.store.pause(*order)
        submitting = asyncio.get_running_loop().create_task(
            client.submit(make_chunk(some_bodies(50)))
        )
        for position in range(len(order)):
            await settle()
            assert {name for name, _, _ in world.store.calls} == set(order[: position + 1])
            world.store.resume()
            world.store.pause(*order[position + 1 :] or ["none"])
        assert isinstance(await submitting, Accepted)


@in_virtual_time
async def test_a_lane_is_announced_once(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        for number in range(3):
            await client.submit(make_chunk(bodies_of(ONE_LANE), batch_key=bytes([number])))
        lanes = {lane for lane, _ in await world.buffer_rows()}
        assert world.store.count("announce_lane") == len(lanes) <= 3


@in_virtual_time
async def test_a_lane_whose_announcement_failed_is_announced_again(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        world.store.fail_before("announce_lane")
        chunk = make_chunk(bodies_of(ONE_LANE))
        assert isinstance(await client.submit(chunk), Unanswered)
        assert world.store.count("write_buffer") == 0
        assert isinstance(await client.submit(chunk), Accepted)
        assert world.store.count("announce_lane") == 2


@in_virtual_time
async def test_doorbells_bring_the_rows_with_bodies_that_are_not_too_long(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        asked = [
            make_submission("x" * length, priority="urgent")
            for length in (1, DOORBELL_BODY_BYTES_MAX - 200, DOORBELL_BODY_BYTES_MAX)
        ]
        chunk = make_chunk(bodies_of(asked))
        await world.ingester().submit(chunk)
        await settle()
        rung = {
            id_: (lane.lane, born, group, body)
            for lane in world.rung
            for id_, born, group, body in zip(
                lane.message_ids, lane.borns * 3, lane.groups * 3, lane.bodies, strict=False
            )
        }
        assert rung.keys() == {row[1] for _, row in await world.buffer_rows()}
        for lane, row in await world.buffer_rows():
            assert rung[row[1]][:3] == (str(lane), row[3], row[6])
        assert sorted(body for *_, body in rung.values()) == sorted([b"", *chunk.bodies[:2]])


@in_virtual_time
async def test_without_an_acceptance_no_doorbell_rings(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        world.store.lose("write_buffer", is_applied=True, times=100)
        assert isinstance(await world.ingester().submit(make_chunk()), Unanswered)
        await settle()
        assert world.rung == []


# --- repeats --------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_repeat_is_the_same_messages_under_any_ingester(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        chunk = make_chunk(some_bodies(20))
        first = await world.ingester().submit(chunk)
        await pass_time(10)
        other = world.ingester(await world.stores.open())
        repeat = await other.submit(chunk)
        assert isinstance(first, Accepted)
        assert repeat == Accepted(20, first.first_id, repeated_count=20)
        rows = await world.buffer_rows()
        assert len(rows) == 40
        assert len({row[1] for _, row in rows}) == 20
        assert len({row[3] for _, row in rows}) == 1, "the birth is that of the first"


@in_virtual_time
async def test_two_ingesters_at_once_agree_on_the_birth(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        one, other = world.ingester(), world.ingester(await world.stores.open())
        chunk = make_chunk(some_bodies(20))
        world.store.pause("put_idempotency")
        first = asyncio.get_running_loop().create_task(one.submit(chunk))
        await pass_time(5)
        second = await other.submit(chunk)
        world.store.resume()
        assert isinstance(second, Accepted)
        assert not second.repeated_count
        assert await first == Accepted(20, second.first_id, repeated_count=20)
        assert len({row[3] for _, row in await world.buffer_rows()}) == 1


@in_virtual_time
async def test_a_key_that_stands_for_other_content_writes_nothing(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        born = world.clock.now()
        await client.submit(make_chunk(some_bodies(2)))
        await pass_time(1_000)
        writes = world.store.count("write_messages")
        reply = await client.submit(make_chunk(some_bodies(2, content="bye")))
        assert isinstance(reply, KeyTaken)
        assert abs(reply.born - born) < 1_000
        assert world.store.count("write_messages") == writes


@in_virtual_time
async def test_without_a_key_a_repeat_is_another_message(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        chunk = make_chunk(some_bodies(3), batch_key=None)
        first = await client.submit(chunk)
        await pass_time(1)
        second = await client.submit(chunk)
        assert isinstance(first, Accepted)
        assert isinstance(second, Accepted)
        assert first.first_id != second.first_id
        assert len({row[1] for _, row in await world.buffer_rows()}) == 6
        assert world.store.count("put_idempotency") == 0


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        pytest.param(make_chunk([]), [(0, "bodies")], id="nothing in it"),
        pytest.param(make_chunk(some_bodies(1) * (CHUNK_MESSAGES_MAX + 1)), [(0, "bodies")],
                     id="too many"),
        pytest.param(make_chunk(keys=[b"k"]), [(0, "keys")], id="a key is missing"),
        pytest.param(make_chunk(keys=[b"k", b"k"]), [(0, "keys")], id="a key twice"),
        pytest.param(make_chunk(positions=[0]), [(0, "positions")], id="a position is missing"),
        pytest.param(make_chunk(positions=[1, 1]), [(0, "positions")], id="a position twice"),
        pytest.param(make_chunk(positions=[1, 0]), [(0, "positions")], id="positions that fall"),
        pytest.param(make_chunk(positions=[-1, 0]), [(0, "positions")], id="a position below 0"),
        pytest.param(make_chunk(positions=[0, CHUNK_MESSAGES_MAX]), [(0, "positions")],
                     id="a position of the next chunk"),
        pytest.param(make_chunk(first_index=1), [(0, "first_index")], id="not where chunks begin"),
        pytest.param(make_chunk(first_index=-1_000), [(0, "first_index")], id="before the first"),
        pytest.param(make_chunk(first_index=1_100_000_000_000), [(0, "first_index")],
                     id="beyond the last"),
        pytest.param(make_chunk([*some_bodies(1), b"\xc1"]), [(1, "body")], id="not a submission"),
        pytest.param(make_chunk(some_bodies(2, tenant="other")), [(0, "tenant"), (1, "tenant")],
                     id="another tenant's"),
        pytest.param(
            make_chunk(bodies_of([make_submission(channel="push", recipient="device-token-1")])),
            [(0, "channel")], id="a channel that no connector serves"),
    ],
)  # fmt: skip
@in_virtual_time
async def test_what_cannot_be_accepted_is_named_and_nothing_is_written(
    tmp_path: Path, chunk: SubmitChunk, expected: Sequence[tuple[int, str]]
) -> None:
    async with World.on(tmp_path) as world:
        assert positions(await world.ingester().submit(chunk)) == expected
        assert world.store.calls == []


@in_virtual_time
async def test_bytes_that_are_no_chunk_are_refused(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        reply = decode_reply(await world.ingester().ingester.submit(b"\xc1"))
        assert positions(reply) == [(0, "chunk")]


# --- overload -------------------------------------------------------------------------------------


async def under_way(world: World, client: Client, chunk: SubmitChunk) -> Awaitable[SubmitReply]:
    """Submit a chunk that stays under way until the store is resumed."""
    world.store.pause("put_idempotency")
    task = asyncio.get_running_loop().create_task(client.submit(chunk))
    await settle()
    return task


@pytest.mark.parametrize(("limit", "is_admitted"), [(4, True), (3, False)])
@in_virtual_time
async def test_messages_in_flight_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, is_admitted: bool
) -> None:
    monkeypatch.setattr(ingester_module, "INGEST_MESSAGES_IN_FLIGHT_MAX", limit)
    async with World.on(tmp_path) as world:
        client = world.ingester()
        first = await under_way(world, client, make_chunk(some_bodies(2)))
        second = asyncio.ensure_future(
            client.submit(make_chunk(some_bodies(2), batch_key=b"another"))
        )
        await settle()
        assert second.done() is not is_admitted
        world.store.resume()
        assert isinstance(await first, Accepted)
        assert isinstance(await second, Accepted if is_admitted else Overloaded)


@pytest.mark.parametrize(("spare_bytes", "is_admitted"), [(0, True), (-1, False)])
@in_virtual_time
async def test_bytes_in_flight_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare_bytes: int, is_admitted: bool
) -> None:
    chunk, other = make_chunk(some_bodies(2)), make_chunk(some_bodies(2), batch_key=b"1 file")
    limit = len(encode(chunk)) + len(encode(other)) + spare_bytes
    monkeypatch.setattr(ingester_module, "INGEST_BYTES_IN_FLIGHT_MAX", limit)
    async with World.on(tmp_path) as world:
        client = world.ingester()
        first = await under_way(world, client, chunk)
        second = asyncio.ensure_future(client.submit(other))
        await settle()
        assert second.done() is not is_admitted
        world.store.resume()
        assert isinstance(await first, Accepted)
        assert isinstance(await second, Accepted if is_admitted else Overloaded)


@in_virtual_time
async def test_a_chunk_beyond_the_limits_is_admitted_when_nothing_else_is_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingester_module, "INGEST_MESSAGES_IN_FLIGHT_MAX", 1)
    monkeypatch.setattr(ingester_module, "INGEST_BYTES_IN_FLIGHT_MAX", 1)
    async with World.on(tmp_path) as world:
        client = world.ingester()
        assert isinstance(await client.submit(make_chunk(some_bodies(5))), Accepted)
        first = await under_way(world, client, make_chunk(some_bodies(5), batch_key=b"1"))
        reply = await client.submit(make_chunk(some_bodies(1), batch_key=b"2"))
        assert isinstance(reply, Overloaded)
        assert reply.retry_after_ms > 0
        world.store.resume()
        assert isinstance(await first, Accepted)


@in_virtual_time
async def test_what_was_refused_or_failed_is_in_flight_no_longer(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        await client.submit(make_chunk([b"\xc1"]))
        world.store.fail_before("put_idempotency")
        await client.submit(make_chunk())
        health = await client.ingester.check_health()
        assert (health["accepted"], health["messages_in_flight"]) == (0, 0)
        assert health["bytes_in_flight"] == 0


# --- its life -------------------------------------------------------------------------------------


@in_virtual_time
async def test_it_opens_its_ports_once_and_closes_them_once(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        ingester = world.ingester().ingester
        await ingester.stop()
        await asyncio.gather(ingester.start(), ingester.start(), ingester.check_health())
        assert world.opened_count == 1
        await asyncio.gather(ingester.stop(), ingester.stop())
        assert world.closed_count == 1


@in_virtual_time
async def test_an_ingester_that_ends_answers_what_is_under_way_and_takes_nothing_more(
    tmp_path: Path,
) -> None:
    async with World.on(tmp_path) as world:
        client = world.ingester()
        first = await under_way(world, client, make_chunk(some_bodies(2)))
        ending = asyncio.ensure_future(client.ingester.drain())
        await settle()
        assert isinstance(await client.submit(make_chunk(batch_key=b"late")), Leaving)
        assert (await client.ingester.check_health())["is_ending"]
        assert not ending.done()
        assert world.closed_count == 0
        world.store.resume()
        assert isinstance(await first, Accepted)
        await ending
        assert world.closed_count == 1
        # Nothing begins again, whoever asks.
        assert isinstance(await client.submit(make_chunk(batch_key=b"later")), Leaving)
        await client.ingester.drain()
        assert (await client.ingester.check_health())["is_ending"]
        assert (world.opened_count, world.closed_count) == (1, 1)


@in_virtual_time
async def test_it_tells_how_busy_it_is_and_whether_it_refused_chunks_lately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingester_module, "INGEST_MESSAGES_IN_FLIGHT_MAX", 1)
    async with World.on(tmp_path) as world:
        client = world.ingester()
        world.use = ProcessorUse(busy=300, idle=900)
        first = await under_way(world, client, make_chunk(some_bodies(2)))
        await pass_time(1_000)
        for key in (b"2", b"3"):
            assert isinstance(
                await client.submit(make_chunk(some_bodies(1), batch_key=key)), Overloaded
            )
        told = await client.ingester.check_health()
        assert (told["busy"], told["idle"], told["overloaded_lately"]) == (300, 900, 2)
        world.use = ProcessorUse(busy=1, idle=2)
        assert await client.ingester.check_health() == told, "a moment says little"
        await pass_time(1_000)
        told = await client.ingester.check_health()
        assert (told["busy"], told["idle"], told["overloaded_lately"]) == (1, 2, 0)
        world.store.resume()
        assert isinstance(await first, Accepted)
