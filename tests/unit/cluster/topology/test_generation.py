"""Where a generation places keys, and the keys that it makes for its cores."""

import pickle
import random

import numpy as np
import pytest

from cluster.topology.forge import forge_key
from cluster.topology.generation import Core, CoreOwnsNothing, CoreUnknown, Generation, Node
from cluster.topology.ring import Ring
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, token_of
from tests.support.seed import seeded_random
from tests.support.topologies import make_generation, make_random_generation

NODE_A = Node(name="a", shard_count=2, ignore_msb=0)
NODE_B = Node(name="b", shard_count=3, ignore_msb=0)

# Node a owns the lower half, b the upper one.  Without ignore_msb the shards lie side by side: a's
# shard 1 would be the upper half and b's shard 0 the lowest third, so both own nothing.
SIDE_BY_SIDE = Generation(
    number=1,
    starts_at=0,
    prompt_ms=3_000,
    nodes=(NODE_B, NODE_A),
    ring=Ring.of({"a": [-1], "b": [TOKEN_MAX]}),
)


def random_keys(chance: random.Random, count: int) -> list[bytes]:
    return [chance.randbytes(16) for _ in range(count)]


def test_cores_come_in_the_order_of_names_and_shards() -> None:
    assert SIDE_BY_SIDE.cores == (
        Core("a", 0),
        Core("a", 1),
        Core("b", 0),
        Core("b", 1),
        Core("b", 2),
    )
    assert [SIDE_BY_SIDE.index_of(core) for core in SIDE_BY_SIDE.cores] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("key_count", [0, 1, 47, 48, 500])
def test_a_key_is_placed_alike_alone_and_in_batch(key_count: int) -> None:
    chance = seeded_random()
    generation = make_random_generation(chance, node_count=5, vnodes_per_node_max=40)
    keys = random_keys(chance, key_count)
    indexes = generation.core_indexes_of(keys)
    assert indexes.dtype == np.intp
    assert [generation.cores[index] for index in indexes] == [
        generation.core_of(key) for key in keys
    ]


def test_the_owner_gives_the_node_and_its_shape_gives_the_shard() -> None:
    generation = SIDE_BY_SIDE
    half = generation.forged_key(Core("a", 0), 5)
    assert token_of(half) <= -1
    assert generation.core_of(half) == Core("a", 0)
    upper = generation.forged_key(Core("b", 2), 5)
    assert token_of(upper) > 0
    assert generation.core_of(upper) == Core("b", 2)


@pytest.mark.parametrize("count", [1, 48])
def test_a_key_of_another_length_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        SIDE_BY_SIDE.core_of(bytes(15))
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        SIDE_BY_SIDE.core_indexes_of([bytes(15)] * count)


def test_forged_keys_lie_on_their_core_and_are_distinct() -> None:
    generation = make_generation(node_names=("a", "b", "c"), shard_count=4)
    forged = []
    for index, core in enumerate(generation.cores):
        keys = generation.forged_keys(core, range(100))
        assert set(generation.core_indexes_of(keys)) == {index}
        forged += keys
    assert len(set(forged)) == len(generation.cores) * 100


def test_forged_keys_are_the_same_alone_and_in_batch() -> None:
    generation = make_generation()
    core = generation.cores[3]
    nonces = [0, 7, 2**64 - 1]
    keys = [generation.forged_key(core, nonce) for nonce in nonces]
    assert generation.forged_keys(core, nonces) == keys
    assert generation.forged_keys(core, np.array(nonces, dtype=np.uint64)) == keys
    assert generation.forged_keys(core, []) == []


def test_forged_keys_stay_the_same_in_every_version() -> None:
    # A lane finds its stored partitions again only while this holds.
    generation = make_generation()
    assert [generation.forged_key(core, 1).hex() for core in generation.cores] == [
        "bbad06f7cad24cf13824f770cba834a9",
        "957b0efaa8a85da73973f4b1be5d0178",
        "267e6bbb9e3bbb1399c081bbb6d59000",
        "d0063d0688ff16192125dd4dbb895434",
    ]


def test_a_core_without_tokens_is_known_and_has_no_keys() -> None:
    assert not SIDE_BY_SIDE.owns_nothing(Core("a", 0))
    assert SIDE_BY_SIDE.owns_nothing(Core("a", 1))
    assert SIDE_BY_SIDE.owns_nothing(Core("b", 0))
    assert not SIDE_BY_SIDE.owns_nothing(Core("b", 1))
    assert SIDE_BY_SIDE.token_count(Core("b", 0)) == 0
    with pytest.raises(CoreOwnsNothing, match=r"shard=0.* owns no token in generation 1"):
        SIDE_BY_SIDE.forged_key(Core("b", 0), 1)
    with pytest.raises(CoreOwnsNothing):
        SIDE_BY_SIDE.forged_keys(Core("b", 0), [1])


def test_a_node_without_tokens_has_cores_that_own_nothing() -> None:
    generation = Generation(
        number=1, starts_at=0, prompt_ms=0, nodes=(NODE_A, NODE_B), ring=Ring.of({"a": [0]})
    )
    assert Core("b", 2) in generation.cores
    assert all(generation.owns_nothing(core) for core in generation.cores if core.node == "b")


def test_the_cores_own_the_ring_without_rest() -> None:
    generation = make_random_generation(seeded_random(), node_count=4, vnodes_per_node_max=20)
    assert sum(map(generation.token_count, generation.cores)) == 2**64 - 1


@pytest.mark.parametrize("core", [Core("c", 0), Core("a", 2), Core("a", -1)])
def test_a_core_of_another_generation_is_refused(core: Core) -> None:
    with pytest.raises(CoreUnknown, match="not in generation 1"):
        SIDE_BY_SIDE.index_of(core)
    with pytest.raises(CoreUnknown):
        SIDE_BY_SIDE.owns_nothing(core)
    with pytest.raises(CoreUnknown):
        SIDE_BY_SIDE.forged_key(core, 1)
    with pytest.raises(CoreUnknown):
        SIDE_BY_SIDE.forged_keys(core, [1])


@pytest.mark.parametrize("nonce", [-1, 2**64])
def test_a_nonce_of_more_than_64_bits_is_refused(nonce: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        SIDE_BY_SIDE.forged_key(Core("a", 0), nonce)
    with pytest.raises(ValueError, match="nonce"):
        SIDE_BY_SIDE.forged_keys(Core("a", 0), [nonce])


def test_an_array_of_signed_nonces_is_refused() -> None:
    with pytest.raises(ValueError, match="uint64, not int64"):
        SIDE_BY_SIDE.forged_keys(Core("a", 0), np.array([-1], dtype=np.int64))


def test_the_order_in_which_nodes_are_named_does_not_matter() -> None:
    swapped = Generation(
        number=1,
        starts_at=0,
        prompt_ms=3_000,
        nodes=(NODE_A, NODE_B),
        ring=Ring.of({"b": [TOKEN_MAX], "a": [-1]}),
    )
    assert swapped == SIDE_BY_SIDE
    assert swapped.cores == SIDE_BY_SIDE.cores
    assert swapped.encode() == SIDE_BY_SIDE.encode()


def test_it_travels_between_processes() -> None:
    generation = make_generation()
    arrived = pickle.loads(pickle.dumps(generation))
    assert arrived == generation
    keys = random_keys(seeded_random(), 100)
    assert arrived.core_indexes_of(keys).tolist() == generation.core_indexes_of(keys).tolist()
    assert len(pickle.dumps(generation)) < len(generation.encode()) + 200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"number": 0}, "number starts at 1"),
        ({"starts_at": -1}, "starts_at and prompt_ms are not negative"),
        ({"prompt_ms": -1}, "starts_at and prompt_ms are not negative"),
        ({"nodes": (NODE_A, NODE_B, NODE_A)}, "two nodes have the same name"),
        ({"nodes": (NODE_A,)}, "the ring names 'b', which is not a node"),
    ],
)
def test_what_is_no_generation_is_refused(changes: dict[str, object], reason: str) -> None:
    fields: dict[str, object] = {
        "number": 1,
        "starts_at": 0,
        "prompt_ms": 3_000,
        "nodes": (NODE_A, NODE_B),
        "ring": Ring.of({"a": [0], "b": [1]}),
    }
    with pytest.raises(ValueError, match=reason):
        Generation(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "shard_count", "ignore_msb", "reason"),
    [
        ("", 1, 12, "letters, digits and -"),
        ("node.a", 1, 12, "letters, digits and -"),
        ("node\n", 1, 12, "letters, digits and -"),
        ("é", 1, 12, "letters, digits and -"),
        ("a", 0, 12, "shard_count 0"),
        ("a", 2**32, 12, "shard_count 4294967296"),
        ("a", 1, -1, "ignore_msb -1"),
        ("a", 1, 64, "ignore_msb 64"),
    ],
)
def test_what_is_no_node_is_refused(
    name: str, shard_count: int, ignore_msb: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Node(name=name, shard_count=shard_count, ignore_msb=ignore_msb)


def test_a_key_with_the_token_of_a_ring_token_is_its_nodes() -> None:
    ring = Ring.of({"a": [TOKEN_MIN + 1, 100], "b": [50, 200]})
    generation = Generation(number=1, starts_at=0, prompt_ms=0, nodes=(NODE_A, NODE_B), ring=ring)
    keys = [forge_key(token, 1) for token in ring.tokens]
    assert [generation.core_of(key).node for key in keys] == list(ring.owners)
    indexes = generation.core_indexes_of(keys * 20)
    assert [generation.cores[index].node for index in indexes] == list(ring.owners) * 20
