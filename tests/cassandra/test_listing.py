"""Lists of messages on a real server: groups of many blocks, and a block that was never written."""

import pytest

from pipeline.errors import ShardpostError
from pipeline.lifecycle import Event
from pipeline.message import group_key
from tests.cassandra.front import Break, Rule
from tests.cassandra.scylla_data import ScyllaData, port_of, queries_of
from tests.contract.query_store import in_group, in_state, outcomes_in_group, project
from tests.contract.store_under_test import Rows, message_row

GROUP = group_key("acme", "spring")


def rows_of(under_test: ScyllaData) -> Rows:
    return Rows(under_test.generation, under_test.generation.cores[0])


@pytest.mark.parametrize("limit", [700, 1_000])
async def test_a_group_of_thousands_is_listed_and_each_message_once(
    under_test: ScyllaData, limit: int
) -> None:
    rows, store = rows_of(under_test), port_of(await under_test.open())
    queries = queries_of(await under_test.open_queries())
    ids = rows.ids(2_500)
    await store.write_messages(rows.core, [message_row(id_) for id_ in ids])
    more = rows.ids(60)
    for id_ in more:  # a block each
        await store.write_messages(rows.core, [message_row(id_)])
    await project(store, rows, ids[:1_500], Event.TAKE)
    listed = await in_group(queries, GROUP, limit=limit)
    assert sorted(message.id for message in listed) == sorted([*ids, *more])
    exported = await outcomes_in_group(queries, GROUP, limit=limit)
    assert sum(one.newest is not None for one in exported) == 1_500
    assert len(await in_state(queries, Event.TAKE, limit=limit)) == 1_500


async def test_a_message_whose_block_was_not_written_is_listed_where_it_came_again(
    under_test: ScyllaData,
) -> None:
    rows, store = rows_of(under_test), port_of(await under_test.open())
    queries = queries_of(await under_test.open_queries())
    first, both, second = rows.ids(3)
    refused = Rule(Break.REFUSE, lambda text: "INTO by_group" in text)
    with under_test.fronts.breaking(refused), pytest.raises(ShardpostError):
        await store.write_messages(rows.core, [message_row(first), message_row(both)])
    await store.write_messages(rows.core, [message_row(both), message_row(second)])
    listed = await in_group(queries, GROUP)
    assert sorted(message.id for message in listed) == sorted([both, second])
    # Whoever sent it hears that nothing was promised, and sends it again.
    await store.write_messages(rows.core, [message_row(first), message_row(both)])
    listed = await in_group(queries, GROUP)
    assert sorted(message.id for message in listed) == sorted([first, both, second])
