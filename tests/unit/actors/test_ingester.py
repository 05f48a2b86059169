"""An ingester makes chunks durable in order, or says why not; on a real store, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors import ingester as ingester_module
from actors.doorbells import Bell, Doorbells
from actors.ingester import Ingester, IngesterPorts
from cluster.runtime.processor import ProcessorUse
from cluster.topology.generation import Core
from pipeline.ingest.chunk import (
    Accepted,
    KeyTaken,
    Leaving,
    Overloaded,
    Refused,
    SubmitChunk,
    SubmitReply,
    Unanswered,
    decode_reply,
    encode,
)
from pipeline.ingest.doorbell import Heard, LaneRows, decode_doorbell
from pipeline.instant import later
from pipeline.lane_id import LaneId
from pipeline.limits import (
    CHUNK_MESSAGES_MAX,
    DOORBELL_BODY_BYTES_MAX,
    SCHEDULE_MS_MAX,
    WRITE_TRIES_MAX,
)
from pipeline.message import AT_ONCE, Body, BufferRow, MessageId, TimerRow, decode_body
from pipeline.ports import Beat
from tests.contract.store_under_test import EVER, NEVER
from tests.support.faulty_store import FaultyStore, StoreWorld
from tests.support.local_data import WINDOWS
from tests.support.submissions import bodies_of, make_chunk, make_submission, some_bodies
from tests.support.virtual_time import in_virtual_time, pass_time, settle

W_MS = WINDOWS.write_deadline_ms
ONE_LANE = [make_submission(priority="urgent")]


class World:
    """One ingester or more on one data folder; what doorbells bring is kept."""

    def __init__(self, stores: StoreWorld) -> None:
        self.stores = stores
        self.clock = stores.clock
        self.rung: list[LaneRows] = []
        self.story: list[str] = []
        self.store: FaultyStore
        self.closed_count = 0
        self.opened_count = 0
        self.use = ProcessorUse(0, 0)

    @classmethod
    @asynccontextmanager
    async def on(cls, folder: Path) -> AsyncIterator["World"]:
        async with StoreWorld(folder / "data") as stores:
            world = cls(stores)
            world.store = await stores.open()
            yield world

    def ingester(self, store: FaultyStore | None = None) -> "Client":
        return Client(Ingester(WINDOWS, lambda: self.open_ports(store or self.store)))

    async def open_ports(self, store: FaultyStore) -> IngesterPorts:
        self.opened_count += 1

        async def find_bell(_: str) -> Bell | None:
            return self

        async def read_owners(_: Core) -> list[Beat]:
            return [Beat(b"o" * 16, "s1", 7)]

        async def close() -> None:
            self.closed_count += 1

        return IngesterPorts(
            store=store.port,
            generations=[self.stores.data.generation],
            channels=frozenset({"sms", "email"}),
            clock=self.clock,
            chance=lambda count: bytes(n % 251 for n in range(count)),
            doorbells=Doorbells(
                clock=self.clock,
                read_owners=read_owners,
                find_bell=find_bell,
                owner_refresh_ms=5_000,
            ),
            measure=lambda: self.use,
            close=close,
        )

    async def ring(self, doorbell: bytes) -> Heard:
        self.story.append("doorbell")
        self.rung.extend(decode_doorbell(doorbell))
        return Heard([], {})

    async def timer_rows(self) -> list[TimerRow]:
        generation = self.stores.data.generation
        rows: list[TimerRow] = []
        for core in generation.cores:
            for lane in await self.store.port.read_lanes(core, generation.number):
                page = await self.store.port.read_timers(
                    lane, from_due=NEVER, through_due=EVER, limit=100_000, resume=None
                )
                rows += page.rows
        return rows

    async def buffer_rows(self) -> list[tuple[LaneId, BufferRow]]:
        rows = []
        generation = self.stores.data.generation
        for core in generation.cores:
            for lane in await self.store.port.read_lanes(core, generation.number):
                page = await self.store.port.read_buffer(
                    lane, from_at=NEVER, through_at=EVER, limit=100_000, resume=None
                )
                rows += [(lane, row) for row in page.rows]
        return rows


class Client:
    """Submits chunks and reads replies."""

    def __init__(self, ingester: Ingester) -> None:
        self.ingester = ingester

    async def submit(self, chunk: SubmitChunk) -> SubmitReply:
        return decode_reply(await self.ingester.submit(encode(chunk)))


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
                lane.message_ids, lane.borns, lane.groups, lane.bodies, strict=True
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


# --- W --------------------------------------------------------------------------------------------


def late_by(world: World, advance: Callable[[], None], *, times: int) -> None:
    left = times

    def on_call(verb: str) -> None:
        nonlocal left
        if verb == "write_buffer" and left:
            left -= 1
            advance()

    world.store.on_call = on_call


@pytest.mark.parametrize(
    ("wall_ms", "both_ms", "writes"),
    [
        pytest.param(0, W_MS, 1, id="just in time"),
        pytest.param(0, W_MS + 1, 2, id="late"),
        pytest.param(W_MS + 1, 0, 2, id="late by the wall's clock alone"),
        pytest.param(-10 * W_MS, W_MS + 1, 2, id="late by the boot clock alone"),
        pytest.param(-10 * W_MS, 0, 1, id="the wall's clock was set back"),
    ],
)
@in_virtual_time
async def test_an_acknowledgement_later_than_w_counts_for_nothing(
    tmp_path: Path, wall_ms: int, both_ms: int, writes: int
) -> None:
    async with World.on(tmp_path) as world:

        def advance() -> None:
            world.clock.advance(both_ms)
            world.clock.step_wall(wall_ms)

        late_by(world, advance, times=1)
        reply = await world.ingester().submit(make_chunk(bodies_of(ONE_LANE)))
        assert isinstance(reply, Accepted)
        assert world.store.count("write_buffer") == writes
        rows = await world.buffer_rows()
        assert len(rows) == writes
        assert len({(row[1], row[3]) for _, row in rows}) == 1


@in_virtual_time
async def test_tries_are_bounded(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        late_by(world, lambda: world.clock.advance(W_MS + 1), times=100)
        reply = await world.ingester().submit(make_chunk(bodies_of(ONE_LANE)))
        assert isinstance(reply, Unanswered)
        assert "repeat the same call" in reply.reason
        assert world.store.count("write_buffer") == WRITE_TRIES_MAX


@pytest.mark.parametrize("is_applied", [True, False])
@in_virtual_time
async def test_an_unknown_write_is_made_again(tmp_path: Path, is_applied: bool) -> None:
    async with World.on(tmp_path) as world:
        world.store.lose("write_buffer", is_applied=is_applied)
        assert isinstance(await world.ingester().submit(make_chunk(bodies_of(ONE_LANE))), Accepted)
        rows = await world.buffer_rows()
        assert len(rows) == 1 + is_applied
        assert len({row[1] for _, row in rows}) == 1


# --- later ----------------------------------------------------------------------------------------

H_MS = WINDOWS.near_horizon_ms


@in_virtual_time
async def test_what_is_due_soon_is_buffered_and_what_is_due_later_has_a_timer(
    tmp_path: Path,
) -> None:
    async with World.on(tmp_path) as world:
        now = world.clock.now()
        dues = {"now": AT_ONCE, "past": now - 1, "soon": later(now, 5), "near": later(now, H_MS),
                "far": later(now, H_MS) + 1}  # fmt: skip
        asked = [
            make_submission(name, priority="urgent", due_at=due_at) for name, due_at in dues.items()
        ]
        chunk = make_chunk(bodies_of(asked))
        assert isinstance(await world.ingester().submit(chunk), Accepted)
        await settle()
        buffered = sorted(row[5] for _, row in await world.buffer_rows())
        assert buffered == sorted([0, 0, dues["soon"], dues["near"]])
        (timer,) = await world.timer_rows()
        assert (timer[0], timer[3], timer[4]) == (dues["far"], now, 1)
        rung = [decode_body(Body(body)).content for lane in world.rung for body in lane.bodies]
        assert sorted(rung) == ["now", "past"], "a doorbell brings what is due at once"
        assert not any(lane.due_ats for lane in world.rung)


@in_virtual_time
async def test_a_chunk_that_is_due_later_rings_nobody(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        chunk = make_chunk(bodies_of([make_submission(delay_ms=10 * H_MS)]))
        client = world.ingester()
        assert isinstance(await client.submit(chunk), Accepted)
        await settle()
        assert world.store.log == [
            *("put_idempotency", "write_messages", "announce_lane", "write_timers"),
        ]
        assert world.rung == []


@in_virtual_time
async def test_the_place_of_a_row_is_chosen_anew_at_each_try(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        due_at = later(world.clock.now(), H_MS + W_MS)

        def on_call(verb: str) -> None:
            if verb == "write_timers":
                world.clock.advance(W_MS + 1)

        world.store.on_call = on_call
        asked = [make_submission(priority="urgent", due_at=due_at)]
        assert isinstance(await world.ingester().submit(make_chunk(bodies_of(asked))), Accepted)
        assert (world.store.count("write_timers"), world.store.count("write_buffer")) == (1, 1)
        ((_, row),) = await world.buffer_rows()
        (timer,) = await world.timer_rows()
        assert (row[1], row[5]) == (timer[1], timer[0]) == (row[1], due_at)


@pytest.mark.parametrize("is_applied", [True, False])
@in_virtual_time
async def test_an_unknown_write_of_timers_is_made_again(tmp_path: Path, is_applied: bool) -> None:
    async with World.on(tmp_path) as world:
        world.store.lose("write_timers", is_applied=is_applied)
        chunk = make_chunk(bodies_of([make_submission(delay_ms=10 * H_MS)]))
        assert isinstance(await world.ingester().submit(chunk), Accepted)
        assert world.store.count("write_timers") == 2
        assert len(await world.timer_rows()) == 1


@in_virtual_time
async def test_what_lies_beyond_the_horizon_of_schedules_is_refused(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        farthest = later(world.clock.now(), SCHEDULE_MS_MAX)
        asked = [make_submission(due_at=farthest), make_submission(due_at=later(farthest, 1_000))]
        reply = await world.ingester().submit(make_chunk(bodies_of(asked)))
        assert positions(reply) == [(1, "due_at")]
        assert world.store.calls == []


# --- not accepted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb", ["put_idempotency", "write_messages", "announce_lane", "write_buffer"]
)
@pytest.mark.parametrize("fault", ["unavailable", "unknown, applied", "unknown, not applied"])
@in_virtual_time
async def test_after_any_fault_the_same_call_again_accepts_each_message_once(
    tmp_path: Path, verb: str, fault: str
) -> None:
    async with World.on(tmp_path) as world:
        if fault == "unavailable":
            world.store.fail_before(verb)
        else:
            world.store.lose(verb, is_applied=fault == "unknown, applied", times=10)
        chunk = make_chunk(bodies_of(ONE_LANE))
        client = world.ingester()
        reply = await client.submit(chunk)
        assert isinstance(reply, Unanswered)
        for _ in range(10):
            reply = await client.submit(chunk)
            if isinstance(reply, Accepted):
                break
        assert isinstance(reply, Accepted)
        assert len({row[1] for _, row in await world.buffer_rows()}) == 1
        health = await client.ingester.check_health()
        assert (health["accepted"], health["messages_in_flight"]) == (1, 0)
        assert health["bytes_in_flight"] == 0


# --- refused --------------------------------------------------------------------------------------


def positions(reply: SubmitReply) -> list[tuple[int, str]]:
    assert isinstance(reply, Refused), reply
    return [(position, field) for position, field, _ in reply.reasons]


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
