"""An edit and its owner's end: whoever hands the message over has the words that were confirmed."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from pipeline.command import CommandBody, CommandKind, Verdict, encode_command
from pipeline.later import CommandEntry
from pipeline.message import Body, MessageId, PartitionKey
from pipeline.outcome import HandOver, ProviderClass, Report
from tests.contract.store_under_test import make_body
from tests.support.gates import gate_of
from tests.support.lane_actors import GROUP, WINDOWS, CountingConnector, LaneActors
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000
D_MS = WINDOWS.steal_after_ms
NEW = make_body("new words")
KEYED = gate_of("counting", provider_class=ProviderClass.KEYED)


class NeverAnswering(CountingConnector):
    """Takes what it is given, and never says so."""

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        self.hand_overs.append(hand_over)
        await asyncio.Event().wait()


async def edit(world: LaneActors, id_: MessageId, body: Body) -> bytes:
    """Write the command; return its id."""
    payload = encode_command(CommandBody(born=world.clock.now(), group=GROUP, body=body))
    entry = CommandEntry(id_[::-1], CommandKind.EDIT, id_, PartitionKey(id_), "", "ada", payload)
    await world.admin.port.write_commands(world.lane, [entry])
    return entry.id


async def verdicts(world: LaneActors, command_id: bytes) -> list[str]:
    found = await world.admin.port.read_results(world.core, [command_id])
    return [result.verdict for result in found]


async def crash(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize(
    "verb", ["write_editions", "write_buffer", "append", "confirm_editions", "write_results"]
)
@in_virtual_time
async def test_wherever_its_owner_ends_an_edit_that_is_done_is_what_goes_out(
    tmp_path: Path, verb: str, is_applied: bool
) -> None:
    async with LaneActors.on(tmp_path) as world:
        [id_] = await world.accept(1)
        command_id = await edit(world, id_, NEW)
        store = await world.stores.open()
        store.lose(verb, is_applied=is_applied, times=1_000)
        dying = world.begin(world.runner(store))
        while not store.count(verb):
            await pass_time(1)
        await crash(dying)
        assert not world.log
        connector = CountingConnector(world.log)
        world.begin(world.runner(await world.stores.open(), name="second", connector=connector))
        await pass_time(2 * D_MS)
        assert world.log == {id_: 1}
        assert connector.hand_overs[0].bodies == [NEW]
        assert await verdicts(world, command_id) == [Verdict.DONE]


@in_virtual_time
async def test_a_deposed_owner_changes_no_words_of_what_is_claimed_meanwhile(
    tmp_path: Path,
) -> None:
    """It knows nothing of the claim, and writes an edition; the owner of now says too late."""
    async with LaneActors.on(tmp_path) as world:
        asleep = await world.stores.open()
        asleep.pause("read_buffer")
        world.begin(world.runner(asleep, name="first", gate=KEYED))
        await pass_time(A_SECOND)
        second = NeverAnswering(Counter())
        store = await world.stores.open()
        store.pause("project")
        owner = world.begin(world.runner(store, name="second", connector=second, gate=KEYED))
        await pass_time(2 * D_MS)
        [id_] = await world.accept(1)
        await pass_time(2 * A_SECOND)
        words = [make_body(id_.hex())]
        assert [hand_over.bodies for hand_over in second.hand_overs] == [words]
        command_id = await edit(world, id_, NEW)
        await pass_time(5 * A_SECOND)
        assert asleep.count("write_editions") == 1
        assert await verdicts(world, command_id) == [Verdict.TOO_LATE]
        await crash(owner)
        third = CountingConnector(world.log)
        world.begin(
            world.runner(await world.stores.open(), name="third", connector=third, gate=KEYED)
        )
        await pass_time(2 * D_MS)
        assert [hand_over.bodies for hand_over in third.hand_overs] == [words]
