"""What an ingester does when writes are late, unknown or refused, and where it writes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.ingest.chunk import (
    Accepted,
    Unanswered,
)
from pipeline.instant import later
from pipeline.limits import (
    SCHEDULE_MS_MAX,
    WRITE_TRIES_MAX,
)
from pipeline.message import AT_ONCE, Body, decode_body
from tests.support.ingester_world import ONE_LANE, W_MS, World, positions
from tests.support.local_data import WINDOWS
from tests.support.submissions import bodies_of, make_chunk, make_submission
from tests.support.virtual_time import in_virtual_time, settle

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
