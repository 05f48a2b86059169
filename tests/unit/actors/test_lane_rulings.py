"""Commands on a real store: written by a door, carried out and answered by the lane's owner."""

from pathlib import Path

import pytest

from pipeline.command import CommandBody, CommandKind, Verdict, encode_command
from pipeline.ingest.doorbell import LaneRows
from pipeline.instant import later
from pipeline.later import CommandEntry, CommandResult, GroupOrder
from pipeline.lifecycle import Event
from pipeline.message import MessageId, PartitionKey
from tests.contract.store_under_test import make_body
from tests.support.lane_actors import GROUP, WINDOWS, CountingConnector, LaneActors
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000


async def ask(world: LaneActors, kind: CommandKind, id_: MessageId, **body: object) -> bytes:
    """Write a command to one message; return its id."""
    command_id = id_[::-1]
    payload = encode_command(
        CommandBody(born=world.clock.now(), group=GROUP, **body)  # type: ignore[arg-type]
    )
    entry = CommandEntry(command_id, kind, id_, PartitionKey(id_), "", "ada", payload)
    await world.admin.port.write_commands(world.lane, [entry])
    return command_id


async def ask_group(world: LaneActors, kind: CommandKind, number: int) -> bytes:
    command_id = bytes([number]) * 16
    if kind is not CommandKind.EXPEDITE:
        order = GroupOrder(GROUP, kind, world.clock.now(), command_id, "ada")
        await world.admin.port.put_group_order(world.core, order)
    entry = CommandEntry(command_id, kind, b"", b"", GROUP, "ada", b"")
    await world.admin.port.announce_lane(world.lane)
    await world.admin.port.write_commands(world.lane, [entry])
    return command_id


async def results(world: LaneActors, *command_ids: bytes) -> list[CommandResult]:
    return await world.admin.port.read_results(world.core, command_ids)


@in_virtual_time
async def test_what_is_cancelled_before_the_lane_has_an_owner_is_never_handed_over(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        first, second = await world.accept(2)
        command_id = await ask(world, CommandKind.CANCEL, first, detail="a typing error")
        world.begin(world.runner(await world.stores.open()))
        await pass_time(5 * A_SECOND)
        assert world.log == {second: 1}
        assert await world.states() == {"cancelled": 1, "sent": 1}
        [result] = await results(world, command_id)
        assert (result.lane, result.verdict) == (str(world.lane), Verdict.DONE)


@in_virtual_time
async def test_a_bare_doorbell_brings_the_answer_at_once(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        runner = world.runner(await world.stores.open())
        world.begin(runner)
        await pass_time(A_SECOND // 2)
        [id_] = [MessageId(world.generation.forged_key(world.core, 77))]
        command_id = await ask(world, CommandKind.CANCEL, id_)
        runner.ring(LaneRows(str(world.lane), [], None, [], [], []))
        await pass_time(1)
        assert [row.verdict for row in await results(world, command_id)] == [Verdict.DONE]


@in_virtual_time
async def test_an_edited_message_is_handed_over_with_its_new_words_and_not_before_its_time(
    tmp_path: Path,
) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = CountingConnector(world.log)
        [id_] = await world.accept(1)
        new = make_body("new words")
        due_at = later(world.clock.now(), 2 * WINDOWS.near_horizon_ms)
        await ask(world, CommandKind.EDIT, id_, body=new, due_at=due_at)
        world.begin(world.runner(await world.stores.open(), connector=connector))
        await pass_time(2 * WINDOWS.near_horizon_ms - A_SECOND)
        assert not world.log
        await pass_time(2 * A_SECOND)
        assert world.log == {id_: 1}
        [handed] = connector.hand_overs
        assert (handed.bodies, handed.attempts) == ([new], [2])


@in_virtual_time
async def test_an_edit_survives_its_owner(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        [id_] = await world.accept(1)
        due_at = later(world.clock.now(), 60 * A_SECOND)
        await ask(world, CommandKind.EDIT, id_, body=make_body("new words"), due_at=due_at)
        first = world.runner(await world.stores.open(), name="first")
        world.begin(first)
        await pass_time(10 * A_SECOND)
        first.drain()
        await pass_time(10 * A_SECOND)
        connector = CountingConnector(world.log)
        second = world.runner(await world.stores.open(), name="second", connector=connector)
        world.begin(second)
        await pass_time(60 * A_SECOND)
        assert world.log == {id_: 1}
        assert connector.hand_overs[0].bodies == [make_body("new words")]


@pytest.mark.parametrize("is_scheduled", [False, True], ids=["in the buffer", "in the timers"])
@in_virtual_time
async def test_a_group_is_paused_and_comes_back_whole(tmp_path: Path, is_scheduled: bool) -> None:
    async with LaneActors.on(tmp_path) as world:
        await ask_group(world, CommandKind.PAUSE, 1)
        ids = await world.accept(50)
        world.begin(world.runner(await world.stores.open()))
        await pass_time(60 * A_SECOND)
        assert not world.log
        if is_scheduled:
            await pass_time(10 * WINDOWS.near_horizon_ms)
        resumed = await ask_group(world, CommandKind.RESUME, 2)
        await pass_time(10 * A_SECOND)
        assert world.log == dict.fromkeys(ids, 1)
        [result] = await results(world, resumed)
        assert result.counts == {"messages": 50}


@in_virtual_time
async def test_what_nobody_resumes_expires(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        await ask_group(world, CommandKind.PAUSE, 1)
        await world.accept(3)
        runner = world.runner(await world.stores.open())
        world.begin(runner)
        await pass_time(60 * A_SECOND)
        assert await world.states() == {"waiting": 3}
        world.clock.step_wall(WINDOWS.validity_ms_max)
        runner.wake()
        await pass_time(10 * A_SECOND)
        assert await world.states() == {"expired": 3}
        assert not world.log


@in_virtual_time
async def test_a_resolved_message_says_who_and_why(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = CountingConnector(world.log)
        connector.error = RuntimeError("the line went dead")
        [id_] = await world.accept(1)
        world.begin(world.runner(await world.stores.open(), connector=connector))
        await pass_time(5 * A_SECOND)
        assert await world.states() == {"uncertain": 1}
        await ask(
            world, CommandKind.RESOLVE, id_, event=int(Event.TAKE), detail="seen in the portal"
        )
        await pass_time(5 * A_SECOND)
        assert await world.states() == {"sent": 1}
        queries = await world.stores.data.open_queries()
        trace = await queries.trace(id_)
        assert trace is not None
        assert trace.events[-1].detail == "resolved by ada: seen in the portal"


@in_virtual_time
async def test_a_resent_message_goes_out_once_more(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as world:
        connector = CountingConnector(world.log)
        connector.error = RuntimeError("the line went dead")
        [id_] = await world.accept(1)
        world.begin(world.runner(await world.stores.open(), connector=connector))
        await pass_time(5 * A_SECOND)
        connector.error = None
        await ask(world, CommandKind.RESEND, id_, detail="the customer asked")
        await pass_time(5 * A_SECOND)
        assert await world.states() == {"sent": 1}
        assert world.log == {id_: 2}


@pytest.mark.parametrize(
    "verb",
    [
        "read_commands",
        "read_group_orders",
        "read_timers",
        "write_buffer",
        "write_editions",
        "confirm_editions",
        "write_results",
        "read_folds",
        "read_bodies",
    ],
)
@in_virtual_time
async def test_whatever_fails_is_done_again_and_answered_once(tmp_path: Path, verb: str) -> None:
    async with LaneActors.on(tmp_path) as world:
        [id_] = await world.accept(1)
        paused = await ask_group(world, CommandKind.PAUSE, 1)
        edited = await ask(world, CommandKind.EDIT, id_, body=make_body("new words"))
        store = await world.stores.open()
        store.fail_before(verb, times=2)
        world.begin(world.runner(store))
        await pass_time(30 * A_SECOND)
        resumed = await ask_group(world, CommandKind.RESUME, 2)
        if verb.startswith("write"):
            store.lose(verb, is_applied=True)
        else:
            store.fail_before(verb)
        await pass_time(30 * A_SECOND)
        assert world.log == {id_: 1}
        found = await results(world, paused, edited, resumed)
        assert sorted(row.command_id for row in found) == sorted([paused, edited, resumed])
        assert {row.verdict for row in found} == {Verdict.DONE}
