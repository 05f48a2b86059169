"""Reading a lane's time over its slices: in order, each row once, however the slices mix."""

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from cluster.scylla.buffer import BufferVerbs
from cluster.scylla.instants import instant_of, last_of, order_of
from cluster.scylla.keys import Kind
from cluster.scylla.spans import SLICE_US
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.limits import Windows
from pipeline.message import MessageId
from tests.contract.store_under_test import buffer_entry
from tests.support.fake_clock import FakeClock
from tests.support.seed import seeded_random
from tests.support.topologies import make_generation

GENERATION = make_generation()
CORE = GENERATION.cores[0]
LANE = LaneId(GENERATION.number, CORE.node, CORE.shard, "sms", "urgent")
WINDOWS = Windows()
SKEW_US = WINDOWS.clock_skew_ms_max * 1_000
ROUNDS = 60
ID = MessageId(bytes(16))

Row = tuple[Any, ...]


class FakeSession:
    """Partitions in memory, as far as spans ask for them."""

    def __init__(self) -> None:
        self.slices: set[int] = set()
        self.rows: dict[UUID, list[Row]] = {}
        self.written: list[str] = []
        self.reads = 0
        self.error: Exception | None = None

    async def read(self, name: str, parameters: Sequence[Any]) -> list[Row]:
        if name == "select_slices":
            _lane, _kind, first, last, limit = parameters
            return [(n,) for n in sorted(self.slices) if first <= n <= last][:limit]
        assert name == "select_buffer"
        self.reads += 1
        key, after, through, limit = parameters
        low, high = order_of(after), order_of(through)
        found = [row for row in self.rows.get(key, []) if low < order_of(row[0]) <= high]
        return sorted(found, key=lambda row: order_of(row[0]))[:limit]

    async def write(self, name: str, parameters: Sequence[Any]) -> None:
        self.written.append(name)
        if self.error is not None:
            raise self.error
        self.slices.add(parameters[2])

    async def write_batch(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        self.written.append(name)


def make_store(session: FakeSession, clock: FakeClock | None = None) -> BufferVerbs:
    return BufferVerbs(
        session,  # type: ignore[arg-type]
        GENERATION,
        clock=clock or FakeClock(),
        windows=WINDOWS,
    )


def fill(session: FakeSession, store: BufferVerbs, chance: random.Random) -> list[Row]:
    """Write rows into some slices, the times of some before their slice, of some behind it."""
    base = 28_000_000
    ats: set[int] = set()
    rows: list[Row] = []
    for number in sorted(chance.sample(range(base, base + 40), chance.randint(1, 12))):
        session.slices.add(number)
        mine = session.rows.setdefault(store._keys.of_lane(LANE, Kind.BUFFER, number), [])
        start = number * SLICE_US
        for _ in range(chance.choice((0, 1, 5, 40))):
            at = chance.choice(
                (
                    chance.randrange(start, start + SLICE_US),
                    chance.randrange(start - SKEW_US, start),
                    chance.randrange(start + SLICE_US, start + SLICE_US + 3_000_000),
                )
            )
            if at not in ats:
                ats.add(at)
                mine.append((last_of(Instant(at)), b"id", b"pk", 0, 1, 0, "group"))
        rows += mine
    return sorted(rows, key=lambda row: order_of(row[0]))


async def test_every_row_of_a_span_comes_once_and_in_order() -> None:
    chance = seeded_random()
    for _ in range(ROUNDS):
        session = FakeSession()
        store = make_store(session)
        everything = [(instant_of(at), *rest) for at, *rest in fill(session, store, chance)]
        begin = end = everything[0][0] if everything else Instant(0)
        if everything and chance.random() < 0.8:
            begin, end = sorted(chance.choice(everything)[0] for _ in range(2))
        limit = chance.choice((1, 3, 10, 1_000))
        found: list[Row] = []
        resume: bytes | None = None
        while True:
            page = await store.read_buffer(
                LANE, from_at=begin, through_at=end, limit=limit, resume=resume
            )
            assert len(page.rows) <= limit
            found += page.rows
            if (resume := page.resume) is None:
                break
        assert found == [row for row in everything if begin <= row[0] <= end]


async def test_a_page_that_is_full_does_not_look_at_later_slices() -> None:
    session = FakeSession()
    store = make_store(session)
    for number in range(100):
        session.slices.add(number)
        at = Instant(number * SLICE_US + SLICE_US // 2)
        session.rows[store._keys.of_lane(LANE, Kind.BUFFER, number)] = [
            (last_of(at), b"id", b"pk", 0, 1, 0, "group")
        ]
    page = await store.read_buffer(
        LANE, from_at=Instant(0), through_at=Instant(1 << 62), limit=5, resume=None
    )
    assert len(page.rows) == 5
    assert session.reads == 6


async def test_a_slice_is_noted_before_its_first_row_and_once() -> None:
    session, clock = FakeSession(), FakeClock()
    store = make_store(session, clock)
    for _ in range(3):
        await store.write_buffer(LANE, [buffer_entry(ID)])
    assert session.written == ["insert_slice"] + ["insert_buffer"] * 3
    clock.advance(SLICE_US // 1_000)
    await store.write_buffer(LANE, [buffer_entry(ID)])
    assert session.written[4:] == ["insert_slice", "insert_buffer"]


@pytest.mark.parametrize("error", [WriteUnknown("lost"), StoreUnavailable("refused")])
async def test_where_a_slice_may_not_be_noted_no_row_is_written(error: Exception) -> None:
    session = FakeSession()
    store = make_store(session)
    session.error = error
    with pytest.raises(StoreUnavailable):
        await store.write_buffer(LANE, [buffer_entry(ID)])
    assert session.written == ["insert_slice"]
    # And it is noted at the next try.
    session.error = None
    await store.write_buffer(LANE, [buffer_entry(ID)])
    assert session.written[1:] == ["insert_slice", "insert_buffer"]
