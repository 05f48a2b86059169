from pipeline.instant import Instant
from pipeline.later import EditionKey, EditionRow
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import PartitionKey
from tests.contract.commands import cancel, order_of, read_commands, result_of
from tests.contract.store_under_test import BORN, keys_of, make_body, message_row
from tests.support.local_data import WINDOWS
from tests.support.swept import Swept, ids_of_core


async def test_commands_and_their_results_go_when_their_time_is_over(swept: Swept) -> None:
    store, lane, ids = swept.store, swept.lane, ids_of_core(swept, 3)
    await store.announce_lane(lane)
    await store.write_commands(lane, [cancel(i) for i in ids[:2]])
    now = swept.clock.now()
    results = [result_of(i, lane)._replace(at=now) for i in ids]
    await store.write_results(swept.core, results[:2])
    swept.clock.advance(WINDOWS.messages_ttl_ms)
    await store.write_commands(lane, [cancel(ids[2])])
    await store.write_results(swept.core, [results[2]._replace(at=swept.clock.now())])
    await store.sweep(swept.core)
    assert len(await read_commands(store, lane)) == 3
    assert len(await store.read_results(swept.core, ids)) == 3
    swept.clock.advance(1)
    for _ in range(2):  # round and round
        await store.sweep(swept.core)
    assert [entry.message_id for _, entry in await read_commands(store, lane)] == [ids[2]]
    assert [row.command_id for row in await store.read_results(swept.core, ids)] == [ids[2]]


async def test_an_order_holds_until_all_that_it_can_be_meant_for_is_over(swept: Swept) -> None:
    order = order_of("cancel", at=swept.clock.now() - BORN)
    assert order.at == Instant(swept.clock.now())
    await swept.store.put_group_order(swept.core, order)
    swept.clock.advance(SCHEDULE_MS_MAX + WINDOWS.messages_ttl_ms)
    await swept.store.sweep(swept.core)
    assert await swept.store.read_group_orders(swept.core) == [order]
    swept.clock.advance(1)
    await swept.store.sweep(swept.core)
    assert await swept.store.read_group_orders(swept.core) == []


async def test_an_edition_stays_while_the_message_is_there(swept: Swept) -> None:
    kept, gone = ids_of_core(swept, 2)
    at = swept.clock.now()
    await swept.store.write_messages(swept.core, [message_row(kept, born=at)])
    rows = [EditionRow(id_, PartitionKey(id_), at, make_body("new")) for id_ in (kept, gone)]
    await swept.store.write_editions(swept.core, rows)
    await swept.store.confirm_editions(swept.core, [EditionKey(*row[:3]) for row in rows])
    swept.clock.advance(WINDOWS.messages_ttl_ms + 1)
    for _ in range(2):
        await swept.store.sweep(swept.core)
    # The newest block of bodies always stays, and so does what stands for it.
    await swept.store.write_messages(swept.core, [message_row(gone, born=swept.clock.now())])
    read = await swept.store.read_bodies(swept.core, keys_of([kept, gone]))
    assert read == {kept: make_body("new"), gone: make_body(gone.hex())}


async def test_an_edition_that_may_be_confirmed_yet_stays_as_long_as_its_message(
    swept: Swept,
) -> None:
    kept, gone = ids_of_core(swept, 2)
    at = swept.clock.now()
    await swept.store.write_messages(swept.core, [message_row(kept, born=at)])
    rows = [EditionRow(id_, PartitionKey(id_), at, make_body("new")) for id_ in (kept, gone)]
    await swept.store.write_editions(swept.core, rows)
    swept.clock.advance(WINDOWS.messages_ttl_ms + 1)
    for _ in range(2):
        await swept.store.sweep(swept.core)
    await swept.store.write_messages(swept.core, [message_row(gone, born=swept.clock.now())])
    await swept.store.confirm_editions(swept.core, [EditionKey(*row[:3]) for row in rows])
    read = await swept.store.read_bodies(swept.core, keys_of([kept, gone]))
    assert read == {kept: make_body("new"), gone: make_body(gone.hex())}
