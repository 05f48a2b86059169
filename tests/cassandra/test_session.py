"""The session on a real server: tokens, coordinators, shards, and what it says when it cannot."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest
from cassandra import ConsistencyLevel
from cassandra.query import BatchStatement, BatchType

from cluster.scylla import schema
from cluster.scylla.error_map import Sends
from cluster.scylla.keys import Kind
from cluster.scylla.schema import SchemaUnusable
from cluster.scylla.session import ScyllaSession
from cluster.scylla.settings import ScyllaSettings
from cluster.scylla.statements import statements
from cluster.scylla.store import ScyllaStore
from cluster.scylla.topology_source import picture_of
from cluster.topology.generation import Core
from cluster.topology.token import tokens_of
from pipeline.errors import StoreUnavailable
from pipeline.instant import Instant
from pipeline.lifecycle import Event, step_of
from pipeline.message import PartitionKey
from tests.cassandra.conftest import Cluster
from tests.cassandra.scylla_data import WINDOWS, Keyspace, ScyllaData
from tests.contract.store_under_test import (
    BORN,
    OWNER_A,
    Rows,
    buffer_entry,
    message_row,
)
from tests.contract.timers import timer
from tests.support.free_port import free_port
from tests.support.seed import seeded_random

KEY_COUNT = 100_000
KEYS_AT_ONCE = 400
ROUNDS = 30


def test_the_server_has_our_token_for_every_key(keyspace: Keyspace) -> None:
    chance = seeded_random()
    session = keyspace.driver_session
    keyspace.empty()
    insert = session.prepare("INSERT INTO suppressions (key) VALUES (?)")
    # 16 bytes of anything: also what is no UUID of any version.
    keys = [chance.randbytes(16) for _ in range(KEY_COUNT)]
    for start in range(0, KEY_COUNT, KEYS_AT_ONCE):
        batch = BatchStatement(batch_type=BatchType.UNLOGGED)
        for key in keys[start : start + KEYS_AT_ONCE]:
            batch.add(insert, (UUID(bytes=key),))
        session.execute(batch)
    found = {
        row[0].bytes: row[1] for row in session.execute("SELECT key, token(key) FROM suppressions")
    }
    ours = dict(zip(keys, map(int, tokens_of(keys)), strict=True))
    assert found == ours
    keyspace.empty()


@pytest.mark.stand_in
async def test_the_picture_of_the_ring_is_the_servers(under_test: ScyllaData) -> None:
    picture = picture_of(await under_test.session())
    [node] = picture.nodes
    assert (node.shard_count, node.ignore_msb) == (2, 12)
    assert len(picture.ring.tokens) == 16
    assert set(picture.ring.owners) == {node.name} == set(picture.places)


@pytest.mark.stand_in
async def test_whatever_belongs_to_a_lane_or_a_core_is_served_by_it_alone(
    under_test: ScyllaData,
) -> None:
    store = await under_test.open()
    [front] = under_test.fronts.fronts
    for core in under_test.generation.cores:
        front.counts.clear()
        await everything_of_a_core(store, core, under_test)
        counted = under_test.fronts.counted(words="")
        served = sum(count for (_, shard), count in counted.items() if shard == core.shard)
        everywhere = {
            text: count
            for (shard, _, text), count in front.counts.items()
            if shard != core.shard and "system" not in text
        }
        assert everywhere == {}
        assert served > ROUNDS * 10


@pytest.mark.stand_in
async def test_every_request_says_how_many_replicas_must_answer(under_test: ScyllaData) -> None:
    store = await under_test.open()
    [front] = under_test.fronts.fronts
    front.levels.clear()
    await everything_of_a_core(store, under_test.generation.cores[0], under_test)
    await store.read_generations()
    sends = {statement.cql: statement.sends for statement in statements().values()}
    seen = {text: levels for text, levels in front.levels.items() if text in sends}
    assert {sends[text] for text in seen} == set(Sends)
    serial = {text for text in seen if sends[text] is Sends.SERIAL_READ}
    assert {level for text in serial for level, _ in seen[text]} == {ConsistencyLevel.SERIAL}
    others = seen.keys() - serial
    assert {level for text in others for level, _ in seen[text]} == {ConsistencyLevel.QUORUM}
    conditional = {text for text in seen if sends[text] is Sends.CONDITIONAL}
    # None would be the server's own, which is SERIAL.
    assert {level for text in conditional for _, level in seen[text]} <= {
        ConsistencyLevel.SERIAL,
        None,
    }


@pytest.mark.stand_in
async def test_what_is_read_of_many_messages_is_one_request_to_the_core_that_owns_them(
    under_test: ScyllaData,
) -> None:
    store = await under_test.open()
    [front] = under_test.fronts.fronts
    for core in under_test.generation.cores:
        rows = Rows(under_test.generation, core)
        ids = rows.ids(100)
        keys = [(PartitionKey(id_), id_) for id_ in ids]
        await store.write_messages(core, [message_row(id_) for id_ in ids])
        front.counts.clear()
        assert len(await store.read_bodies(core, keys)) == len(ids)
        assert await store.read_folds(core, keys) == {}
        assert await store.read_suppressions(core, ids) == {}
        assert await store.read_receipts(core, ids) == []
        for table in ("messages", "timeline", "suppressions", "receipts"):
            counted = under_test.fronts.counted(words=f"FROM {table}")
            assert counted == {(front.address, core.shard): 1}


async def everything_of_a_core(store: ScyllaStore, core: Core, data: ScyllaData) -> None:
    rows = Rows(data.generation, core)
    step = step_of(attempt=1, try_no=1, event=Event.CLAIM)
    for number in range(ROUNDS):
        lane = rows.lane(band=f"bulk-{number}")
        ids = rows.ids(3)
        keys = [(PartitionKey(id_), id_) for id_ in ids]
        await store.announce_lane(lane)
        await store.write_messages(core, [message_row(id_) for id_ in ids])
        await store.write_buffer(lane, [buffer_entry(id_) for id_ in ids])
        await store.write_timers(lane, [timer(id_) for id_ in ids])
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        await store.read_buffer(
            lane, from_at=BORN, through_at=Instant(1 << 60), limit=9, resume=None
        )
        await store.project(core, [(id_, pk, step, BORN, "file") for pk, id_ in keys])
        assert len(await store.read_folds(core, keys)) == 3
        assert len(await store.read_bodies(core, keys)) == 3
        assert await store.read_receipts(core, ids) == []
        assert await store.read_suppressions(core, ids) == {}


@pytest.mark.stand_in
async def test_shards_are_ready_when_all_have_an_open_connection_and_are_healed(
    under_test: ScyllaData,
) -> None:
    session = await under_test.session()
    assert session.shards_ready()
    [pool] = session._session.get_pools()
    # As after one failed attempt: the connection is gone and nobody tries again.
    lost = pool._connections.pop(1)
    lost.close()
    assert not session.shards_ready()
    await session.heal_shards()
    await until(session.shards_ready)
    await session.heal_shards()
    assert session.shards_ready()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


@pytest.mark.stand_in
async def test_a_batch_that_is_sent_is_one_request_to_the_owner_of_its_partition(
    under_test: ScyllaData,
) -> None:
    store = await under_test.open()
    rows = Rows(under_test.generation, under_test.generation.cores[0])
    lane = rows.lane()
    await store.write_buffer(lane, [buffer_entry(id_) for id_ in rows.ids(1)])
    [front] = under_test.fronts.fronts
    front.counts.clear()
    await store.write_buffer(lane, [buffer_entry(id_) for id_ in rows.ids(500)])
    assert under_test.fronts.counted(words="INTO buffer") == {(front.address, lane.shard): 1}
    key = store._keys.of_lane(lane, Kind.BUFFER, under_test.clock.now() // 60_000_000)
    assert under_test.generation.core_of(key.bytes) == Core(lane.node, lane.shard)


# --- what cannot be used, in one line -----------------------------------------------------------


async def test_a_cluster_that_is_down_is_told_by_host_and_port() -> None:
    settings = ScyllaSettings(hosts=("127.0.0.1",), port=free_port())
    with pytest.raises(StoreUnavailable, match=r"no node of 127\.0\.0\.1 answers at port"):
        await ScyllaSession.connect(settings)


async def test_a_keyspace_that_is_not_there_is_named(one_node: Cluster) -> None:
    settings = ScyllaSettings(hosts=tuple(one_node.hosts), keyspace="nowhere")
    with pytest.raises(SchemaUnusable, match="there is no keyspace nowhere: make it with `shard"):
        await ScyllaSession.connect(settings)


async def test_a_keyspace_without_tables_is_refused(keyspace: Keyspace, one_node: Cluster) -> None:
    session = keyspace.driver_session.cluster.connect()
    schema.create_keyspace(session, "bare", {"datacenter1": 1})
    session.set_keyspace("bare")
    with pytest.raises(SchemaUnusable, match="bare has an older schema, or none"):
        schema.check(session, WINDOWS)
    settings = ScyllaSettings(hosts=tuple(one_node.hosts), keyspace="bare")
    with pytest.raises(SchemaUnusable, match="bare has an older schema, or none: bring it up"):
        await ScyllaSession.connect(settings)
    session.shutdown()


def test_a_schema_that_is_there_is_left_alone_and_a_newer_one_refused(keyspace: Keyspace) -> None:
    session = keyspace.driver_session
    assert schema.migrate(session, WINDOWS) == []
    schema.check(session, WINDOWS)
    session.execute(
        "INSERT INTO schema_versions (only, version) VALUES (%s, %s) USING TTL 3",
        (UUID(int=0), 999),
    )
    with pytest.raises(SchemaUnusable, match="has schema 999, this release reads up to"):
        schema.check(session, WINDOWS)
    session.execute(
        "DELETE FROM schema_versions WHERE only = %s AND version = %s", (UUID(int=0), 999)
    )


@pytest.mark.stand_in
def test_a_factor_larger_than_the_cluster_is_refused(keyspace: Keyspace) -> None:
    session = keyspace.driver_session.cluster.connect()
    schema.create_keyspace(session, "wide", {"datacenter1": 3})
    session.set_keyspace("wide")
    with pytest.raises(SchemaUnusable, match="wants 3 replicas in datacenter1, which has 1 nodes"):
        schema.check(session, WINDOWS)
    session.shutdown()


def test_an_operators_other_life_of_rows_is_refused(keyspace: Keyspace) -> None:
    session = keyspace.driver_session
    session.execute("ALTER TABLE buffer WITH default_time_to_live = 3600")
    try:
        with pytest.raises(SchemaUnusable, match="buffer live for 3600 s and the settings say"):
            schema.check(session, WINDOWS)
    finally:
        life_s = WINDOWS.buffer_ttl_ms // 1_000
        session.execute(f"ALTER TABLE buffer WITH default_time_to_live = {life_s}")
    schema.check(session, WINDOWS)
