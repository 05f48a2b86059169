"""Known answers: tokens, owners and shards as scylla-driver has them."""

import random
from collections import defaultdict

import numpy as np
from cassandra.metadata import KeyspaceMetadata, Metadata, Murmur3Token
from cassandra.shard_info import _ShardingInfo

from cluster.topology.forge import forge_keys
from cluster.topology.generation import Core, Generation
from cluster.topology.ring import Ring
from cluster.topology.shard import shard_of, shards_of
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token, token_of, tokens_of
from tests.support.seed import seeded_random
from tests.support.topologies import make_random_generation

KEY_COUNT = 100_000
RING_COUNT = 50
PARTITIONER = "org.apache.cassandra.dht.Murmur3Partitioner"


def random_keys(chance: random.Random, count: int) -> list[bytes]:
    drawn = chance.randbytes(16 * count)
    return [drawn[start : start + 16] for start in range(0, len(drawn), 16)]


def keys_around(ring: Ring, chance: random.Random) -> list[bytes]:
    """Return keys whose tokens are those of the ring, and their neighbours on both sides."""
    tokens = [
        token + distance
        for token in ring.tokens
        for distance in (-1, 0, 1)
        if TOKEN_MIN < token + distance <= TOKEN_MAX
    ]
    nonces = [chance.getrandbits(64) for _ in tokens]
    return forge_keys(np.array(tokens, dtype=np.int64), np.array(nonces, dtype=np.uint64))


def driver_metadata(generation: Generation) -> Metadata:
    """Return what the driver would know of this cluster, for a keyspace with one replica."""
    metadata = Metadata()
    tokens_by_node = defaultdict(list)
    for token, owner in zip(generation.ring.tokens, generation.ring.owners, strict=True):
        tokens_by_node[owner].append(str(token))
    metadata.keyspaces["one"] = KeyspaceMetadata(
        "one", True, "SimpleStrategy", {"replication_factor": "1"}
    )
    metadata.rebuild_token_map(PARTITIONER, dict(tokens_by_node))
    return metadata


def driver_core(generation: Generation, metadata: Metadata, key: bytes) -> Core:
    token = Murmur3Token.from_key(key)
    [node] = metadata.token_map.get_replicas("one", token)
    shape = next(known for known in generation.nodes if known.name == node)
    return Core(node, driver_shard(token.value, shape.shard_count, shape.ignore_msb))


def driver_shard(token: int, shard_count: int, ignore_msb: int) -> int:
    sharding = _ShardingInfo(0, shard_count, PARTITIONER, "", ignore_msb, None, None)
    shard: int = sharding.shard_id_from_token(token)
    return shard


def test_tokens_are_those_of_the_driver() -> None:
    keys = random_keys(seeded_random(), KEY_COUNT)
    expected = [Murmur3Token.hash_fn(key) for key in keys]
    assert tokens_of(keys).tolist() == expected
    assert [token_of(key) for key in keys] == expected


def test_cores_are_those_of_the_driver_on_any_ring() -> None:
    chance = seeded_random()
    for _ in range(RING_COUNT):
        generation = make_random_generation(
            chance, node_count=chance.randint(1, 12), vnodes_per_node_max=chance.choice((1, 8, 64))
        )
        metadata = driver_metadata(generation)
        keys = random_keys(chance, KEY_COUNT // RING_COUNT) + keys_around(generation.ring, chance)
        expected = [driver_core(generation, metadata, key) for key in keys]
        indexes = generation.core_indexes_of(keys)
        assert [generation.cores[index] for index in indexes] == expected
        assert [generation.core_of(key) for key in keys] == expected


def test_shards_are_those_of_the_driver_for_any_shape() -> None:
    chance = seeded_random()
    tokens = [chance.randrange(TOKEN_MIN + 1, TOKEN_MAX + 1) for _ in range(KEY_COUNT // 2)]
    tokens += [TOKEN_MIN + 1, -1, 0, 1, TOKEN_MAX] * 100
    shapes = [(chance.randint(1, 128), chance.randint(0, 16)) for _ in tokens]
    expected = [
        driver_shard(token, shard_count, ignore_msb)
        for token, (shard_count, ignore_msb) in zip(tokens, shapes, strict=True)
    ]
    assert [
        shard_of(Token(token), shard_count=shard_count, ignore_msb=ignore_msb)
        for token, (shard_count, ignore_msb) in zip(tokens, shapes, strict=True)
    ] == expected
    in_batch = shards_of(
        np.array(tokens, dtype=np.int64),
        shard_counts=np.array([shard_count for shard_count, _ in shapes], dtype=np.uint64),
        ignore_msbs=np.array([ignore_msb for _, ignore_msb in shapes], dtype=np.uint64),
    )
    assert in_batch.tolist() == expected


def test_forged_keys_lie_where_the_driver_looks_for_them() -> None:
    chance = seeded_random()
    for _ in range(RING_COUNT // 5):
        generation = make_random_generation(
            chance, node_count=chance.randint(1, 6), vnodes_per_node_max=chance.choice((1, 8, 64))
        )
        metadata = driver_metadata(generation)
        forged: list[bytes] = []
        for core in generation.cores:
            if generation.owns_nothing(core):
                continue
            keys = generation.forged_keys(core, [chance.getrandbits(64) for _ in range(40)])
            assert {driver_core(generation, metadata, key) for key in keys} == {core}
            forged += keys
        assert len(set(forged)) == len(forged)
