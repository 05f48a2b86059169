"""Doorbells are hints: they never wait, never fail, and bring as much as fits."""

import asyncio

import pytest

from actors import doorbells as doorbells_module
from actors.doorbells import Bell, Doorbells
from cluster.topology.generation import Core
from pipeline.errors import StoreUnavailable
from pipeline.ingest.doorbell import Heard, LaneRows, decode_doorbell
from pipeline.lane.takeover import GONE
from pipeline.limits import (
    DOORBELL_BYTES_MAX,
    DOORBELL_MESSAGES_MAX,
    DOORBELL_QUIET_MS,
    OWNER_LOOK_INTERVAL_MS_MIN,
)
from pipeline.ports import Beat
from tests.support.virtual_time import LoopClock, in_virtual_time, loop_now, pass_time, settle

CORE, OTHER_CORE = Core("n1", 0), Core("n1", 1)
LANE = "1.n1.0.sms.bulk-1"
REFRESH_MS = 5_000


def rows(*names: str, lane: str = LANE, body: bytes = b"body") -> LaneRows:
    ids = [name.encode().ljust(16, b".") for name in names]
    return LaneRows(lane, ids, None, [0] * len(ids), ["g"] * len(ids), [body] * len(ids))


def many(count: int, *, lane: str = LANE, body: bytes = b"") -> LaneRows:
    return rows(*(str(number) for number in range(count)), lane=lane, body=body)


class Scheduler:
    """The other end of a doorbell."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []
        self.lagging: list[str] = []
        self.elsewhere: dict[str, str] = {}
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.under_way = 0

    async def ring(self, doorbell: bytes) -> Heard:
        self.under_way += 1
        assert self.under_way == 1, "one call is under way"
        self.heard.append(
            [
                id_.decode().rstrip(".")
                for rows in decode_doorbell(doorbell)
                for id_ in rows.message_ids
            ]
        )
        await self.gate.wait()
        self.under_way -= 1
        if self.error is not None:
            raise self.error
        return Heard(self.lagging, self.elsewhere)


class World:
    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.schedulers: dict[str, Scheduler | None] = {"s1": self.scheduler}
        self.beats = [Beat(b"o" * 16, "s1", 7)]
        self.looks: list[Core] = []
        self.finds: list[str] = []
        self.look_error: Exception | None = None
        self.doorbells = Doorbells(
            clock=LoopClock(loop_now()),
            read_owners=self.read_owners,
            find_bell=self.find_bell,
            owner_refresh_ms=REFRESH_MS,
        )

    async def read_owners(self, core: Core) -> list[Beat]:
        self.looks.append(core)
        await asyncio.sleep(0)
        if self.look_error is not None:
            raise self.look_error
        return self.beats

    async def find_bell(self, name: str) -> Bell | None:
        self.finds.append(name)
        return self.schedulers[name]

    async def ring(self, *all_rows: LaneRows) -> None:
        for one in all_rows:
            self.doorbells.ring(CORE, one)
        await settle()


@in_virtual_time
async def test_a_doorbell_brings_its_rows_to_the_cores_scheduler() -> None:
    world = World()
    await world.ring(rows("a", "b"))
    assert world.scheduler.heard == [["a", "b"]]
    assert (world.looks, world.finds) == ([CORE], ["s1"])


@in_virtual_time
async def test_ringing_waits_for_nothing() -> None:
    world = World()
    world.doorbells.ring(CORE, rows("a"))
    assert world.looks == []
    await settle()
    assert world.scheduler.heard == [["a"]]


@in_virtual_time
async def test_what_comes_while_a_call_is_under_way_goes_with_the_next() -> None:
    world = World()
    world.scheduler.gate.clear()
    await world.ring(rows("a"))
    await world.ring(rows("b"))
    await world.ring(rows("c"), rows("d", lane="1.n1.0.sms.urgent"))
    assert world.scheduler.heard == [["a"]]
    world.scheduler.gate.set()
    await settle()
    assert world.scheduler.heard == [["a"], ["b", "c", "d"]]


@in_virtual_time
async def test_cores_do_not_wait_for_each_other() -> None:
    world = World()
    other = world.schedulers["s2"] = Scheduler()
    world.scheduler.gate.clear()
    await world.ring(rows("a"))
    world.beats = [Beat(b"p" * 16, "s2", 7)]
    world.doorbells.ring(OTHER_CORE, rows("b"))
    await settle()
    assert other.heard == [["b"]]
    world.scheduler.gate.set()
    await settle()


@pytest.mark.parametrize(
    ("first", "second", "dropped"),
    [
        pytest.param(many(DOORBELL_MESSAGES_MAX), rows(), 0, id="as many as fit"),
        pytest.param(many(DOORBELL_MESSAGES_MAX), rows("x"), 1, id="one more"),
        pytest.param(rows("a", body=bytes(DOORBELL_BYTES_MAX)), rows("b", body=b""), 0,
                     id="as long as fit"),
        pytest.param(rows("a", body=bytes(DOORBELL_BYTES_MAX)), rows("b", body=b"1"), 1,
                     id="a byte more"),
    ],
)  # fmt: skip
@in_virtual_time
async def test_what_does_not_fit_is_dropped(
    first: LaneRows, second: LaneRows, dropped: int
) -> None:
    world = World()
    world.scheduler.gate.clear()
    await world.ring(rows("under way"))
    await world.ring(first, second)
    assert world.doorbells.dropped_count == dropped
    world.scheduler.gate.set()
    await settle()
    assert (
        len(world.scheduler.heard[1]) == len(first.message_ids) + len(second.message_ids) - dropped
    )
    # What was delivered takes no room any more.
    await world.ring(first)
    assert world.doorbells.dropped_count == dropped


# --- lanes that lag -------------------------------------------------------------------------------


@in_virtual_time
async def test_a_lane_that_lags_is_left_alone_for_a_while() -> None:
    world = World()
    world.scheduler.lagging = [LANE]
    await world.ring(rows("a"))
    await world.ring(rows("b", "c"), rows("d", lane="1.n1.0.sms.urgent"))
    assert world.scheduler.heard == [["a"], ["d"]]
    assert world.doorbells.dropped_count == 2
    world.scheduler.lagging = []
    await pass_time(DOORBELL_QUIET_MS)
    await world.ring(rows("e"))
    assert world.scheduler.heard[-1] == ["e"]


# --- who serves the core --------------------------------------------------------------------------


@in_virtual_time
async def test_it_does_not_look_for_the_owner_at_each_ring() -> None:
    world = World()
    for _ in range(10):
        await world.ring(rows("a"))
    assert len(world.looks) == len(world.finds) == 1
    await pass_time(REFRESH_MS)
    await world.ring(rows("a"))
    assert (len(world.looks), len(world.finds)) == (2, 1)


@in_virtual_time
async def test_a_new_owner_is_rung_after_the_next_look() -> None:
    world = World()
    await world.ring(rows("a"))
    successor = world.schedulers["s2"] = Scheduler()
    world.beats.append(Beat(b"p" * 16, "s2", 8))
    await world.ring(rows("b"))
    assert successor.heard == []
    await pass_time(REFRESH_MS)
    await world.ring(rows("c"))
    assert (world.scheduler.heard, successor.heard) == ([["a"], ["b"]], [["c"]])


@in_virtual_time
async def test_of_several_the_one_that_beat_last_is_rung() -> None:
    world = World()
    newer = world.schedulers["s2"] = Scheduler()
    world.beats = [Beat(b"p" * 16, "s2", 8), Beat(b"o" * 16, "s1", 7)]
    await world.ring(rows("a"))
    assert (newer.heard, world.scheduler.heard) == ([["a"]], [])


@in_virtual_time
async def test_one_that_said_it_goes_is_not_rung() -> None:
    world = World()
    world.schedulers["s2"] = Scheduler()
    world.beats = [Beat(b"p" * 16, "s2", GONE), Beat(b"o" * 16, "s1", 7)]
    await world.ring(rows("a"))
    assert world.scheduler.heard == [["a"]]


@in_virtual_time
async def test_an_owner_that_is_gone_loses_a_hint_and_is_looked_for_again_soon() -> None:
    world = World()
    world.scheduler.error = ConnectionError("it died")
    await world.ring(rows("a"))
    assert world.doorbells.dropped_count == 1
    successor = world.schedulers["s2"] = Scheduler()
    world.beats = [Beat(b"p" * 16, "s2", 8)]
    await world.ring(rows("b"))
    assert world.doorbells.dropped_count == 2
    await pass_time(OWNER_LOOK_INTERVAL_MS_MIN)
    await world.ring(rows("c"))
    assert successor.heard == [["c"]]


@pytest.mark.parametrize("what", ["nobody beats", "its actor is not there", "the store is away"])
@in_virtual_time
async def test_a_core_that_nobody_serves_is_looked_at_now_and_then(what: str) -> None:
    world = World()
    match what:
        case "nobody beats":
            world.beats = []
        case "its actor is not there":
            world.schedulers["s1"] = None
        case _:
            world.look_error = StoreUnavailable("away")
    await world.ring(rows("a"))
    await world.ring(rows("b", "c"))
    assert len(world.looks) == 1
    assert world.doorbells.dropped_count == 3
    world.beats = [Beat(b"o" * 16, "s1", 7)]
    world.schedulers["s1"], world.look_error = world.scheduler, None
    await pass_time(OWNER_LOOK_INTERVAL_MS_MIN)
    await world.ring(rows("d"))
    assert world.scheduler.heard == [["d"]]


@in_virtual_time
async def test_while_the_store_is_away_the_owner_that_is_known_is_rung() -> None:
    world = World()
    await world.ring(rows("a"))
    world.look_error = StoreUnavailable("away")
    await pass_time(REFRESH_MS)
    await world.ring(rows("b"))
    assert world.scheduler.heard == [["a"], ["b"]]


@in_virtual_time
async def test_a_successor_that_is_not_there_yet_is_looked_for_again_soon() -> None:
    world = World()
    await world.ring(rows("a"))
    world.schedulers["s2"] = None
    world.beats = [Beat(b"p" * 16, "s2", 8)]
    await pass_time(REFRESH_MS)
    await world.ring(rows("b"))
    successor = world.schedulers["s2"] = Scheduler()
    await pass_time(OWNER_LOOK_INTERVAL_MS_MIN)
    await world.ring(rows("c"))
    assert successor.heard == [["c"]]


@in_virtual_time
async def test_a_store_that_is_away_while_much_is_pending_silences_no_core_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doorbells_module, "DOORBELL_MESSAGES_MAX", 3)
    world = World()
    world.look_error = StoreUnavailable("away")
    await world.ring(rows("a", "b", "c"))
    world.look_error = None
    await pass_time(OWNER_LOOK_INTERVAL_MS_MIN)
    await world.ring(rows("d"))
    await world.ring(rows("e"))
    assert world.scheduler.heard[-1] == ["e"]


@in_virtual_time
async def test_closing_ends_what_is_under_way() -> None:
    world = World()
    world.scheduler.gate.clear()
    await world.ring(rows("a"))
    await world.doorbells.close()
    await world.doorbells.close()
    assert world.scheduler.heard == [["a"]]


# --- a core whose lanes are split -----------------------------------------------------------------


class Split(World):
    """Two schedulers of one core; the doorbell is at the one that beat last."""

    def __init__(self) -> None:
        super().__init__()
        self.other = self.schedulers["s2"] = Scheduler()
        self.scheduler.elsewhere = {LANE: "s2"}


OTHER_LANE = "1.n1.0.sms.urgent"


@in_virtual_time
async def test_what_another_works_on_is_sent_on_and_goes_there_at_once_from_then_on() -> None:
    world = Split()
    await world.ring(rows("a"), rows("u", lane=OTHER_LANE))
    assert (world.scheduler.heard, world.other.heard) == ([["a", "u"]], [["a"]])
    await world.ring(rows("b"), rows("v", lane=OTHER_LANE))
    assert (world.scheduler.heard[1:], world.other.heard[1:]) == ([["v"]], [["b"]])
    assert world.doorbells.dropped_count == 0


@in_virtual_time
async def test_a_lane_that_moved_again_is_followed() -> None:
    world = Split()
    third = world.schedulers["s3"] = Scheduler()
    await world.ring(rows("a"))
    world.other.elsewhere = {LANE: "s3"}
    await world.ring(rows("b"))
    await world.ring(rows("c"))
    assert (world.other.heard, third.heard) == ([["a"], ["b"]], [["b"], ["c"]])


@in_virtual_time
async def test_two_that_each_believe_in_the_other_do_not_play_ball() -> None:
    world = Split()
    world.other.elsewhere = {LANE: "s1"}
    await world.ring(rows("a"))
    assert (world.scheduler.heard, world.other.heard) == ([["a"]], [["a"]])
    assert world.doorbells.dropped_count == 1


@pytest.mark.parametrize("how", ["it fails", "it is gone"])
@in_virtual_time
async def test_whose_owner_is_gone_is_looked_for_at_the_cores_door(how: str) -> None:
    world = Split()
    await world.ring(rows("a"))
    world.scheduler.elsewhere = {}
    if how == "it fails":
        world.other.error = ConnectionError("it died")
    else:
        world.schedulers["s2"] = None
        await pass_time(REFRESH_MS)
        world.doorbells._lines[CORE, "s2"].bell = None
    await world.ring(rows("b"))
    assert world.doorbells.dropped_count == 1
    await world.ring(rows("c"))
    assert world.scheduler.heard[-1] == ["c"]
    assert not world.doorbells._owners
    assert (CORE, "s2") not in world.doorbells._lines


@in_virtual_time
async def test_one_that_is_slow_does_not_keep_the_other_waiting() -> None:
    world = Split()
    await world.ring(rows("a"))
    world.other.gate.clear()
    await world.ring(rows("b"))
    await world.ring(rows("u", lane=OTHER_LANE))
    assert world.scheduler.heard[-1] == ["u"]
    world.other.gate.set()
    await settle()
