"""The made-up ring of a store that has no real one."""

import pytest

from cluster.topology.made_up import made_up_ring
from tests.support.topologies import make_generation

RING_OF_SEED_1 = [
    (-7136615432455601715, "b"),
    (-2557702091977317010, "a"),
    (2306155633130932959, "a"),
    (6696597896069400024, "b"),
]


def test_the_same_arguments_give_the_same_ring_in_every_version() -> None:
    nodes, ring = made_up_ring(
        node_names=("b", "a"), shard_count=2, vnodes_per_node=2, ignore_msb=12, seed=1
    )
    assert list(zip(ring.tokens, ring.owners, strict=True)) == RING_OF_SEED_1
    same_nodes, same = made_up_ring(
        node_names=("a", "b"), shard_count=2, vnodes_per_node=2, ignore_msb=12, seed=1
    )
    assert same_nodes == nodes
    assert same == ring
    _, other = made_up_ring(
        node_names=("a", "b"), shard_count=2, vnodes_per_node=2, ignore_msb=12, seed=2
    )
    assert other != ring


@pytest.mark.parametrize("node_names", [("a",), ("a", "b"), ("a", "b", "c", "d", "e")])
@pytest.mark.parametrize("shard_count", [1, 2, 3, 8])
def test_every_core_owns_a_similar_share(node_names: tuple[str, ...], shard_count: int) -> None:
    generation = make_generation(node_names=node_names, shard_count=shard_count)
    fair = 2**64 / len(generation.cores)
    for core in generation.cores:
        assert generation.token_count(core) == pytest.approx(fair, rel=0.1)


def test_every_node_has_as_many_tokens_and_the_shape_that_was_asked_for() -> None:
    nodes, ring = made_up_ring(
        node_names=("a", "b", "c"), shard_count=5, vnodes_per_node=7, ignore_msb=9, seed=3
    )
    assert [(node.name, node.shard_count, node.ignore_msb) for node in nodes] == [
        ("a", 5, 9),
        ("b", 5, 9),
        ("c", 5, 9),
    ]
    assert {name: ring.owners.count(name) for name in ring.owners} == {"a": 7, "b": 7, "c": 7}


def test_a_ring_with_a_core_that_owns_next_to_nothing_is_refused() -> None:
    # Two ranges, and two shards that lie side by side: a core may own half of the ring or nothing.
    with pytest.raises(ValueError, match="raise vnodes_per_node or ignore_msb"):
        make_generation(shard_count=8, vnodes_per_node=1, ignore_msb=0)


@pytest.mark.parametrize("arguments", [{"node_names": ()}, {"vnodes_per_node": 0}])
def test_a_ring_without_tokens_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least one node and one token"):
        make_generation(**arguments)  # type: ignore[arg-type]
