"""Which looks at the ring lead to a generation."""

import pytest

from cluster.topology.change import RingWatch
from cluster.topology.generation import Generation
from tests.support.topologies import make_generation

OLD = make_generation()
START = OLD.starts_at + 30_000_000


def look(watch: RingWatch, seen: Generation, newest: Generation = OLD) -> Generation | None:
    return watch.next_generation(newest, seen.nodes, seen.ring, starts_at=START)


@pytest.mark.parametrize(
    "changed",
    [
        make_generation(node_names=("node-a", "node-b", "node-c")),
        make_generation(node_names=("node-a",)),
        make_generation(node_names=("node-a", "node-x")),
        make_generation(shard_count=3),
        make_generation(ignore_msb=11),
        make_generation(vnodes_per_node=17),
    ],
    ids=["added", "removed", "replaced", "shards", "ignore_msb", "tokens"],
)
def test_a_change_that_was_seen_twice_is_the_next_generation(changed: Generation) -> None:
    watch = RingWatch()
    assert look(watch, changed) is None
    found = look(watch, changed)
    assert found is not None
    assert (found.number, found.starts_at, found.prompt_ms) == (2, START, OLD.prompt_ms)
    assert (found.nodes, found.ring) == (changed.nodes, changed.ring)
    # Whoever published it, and whoever was told that another did, has nothing more to publish.
    assert look(watch, changed, found) is None


def test_a_ring_that_is_the_same_is_no_change_in_whatever_order_its_nodes_come() -> None:
    watch = RingWatch()
    for nodes in (OLD.nodes, OLD.nodes[::-1], OLD.nodes[::-1]):
        assert watch.next_generation(OLD, nodes, OLD.ring, starts_at=START) is None


def test_what_looks_different_each_time_has_to_settle_first() -> None:
    watch = RingWatch()
    joining = make_generation(node_names=("node-a", "node-b", "node-c"), vnodes_per_node=3)
    joined = make_generation(node_names=("node-a", "node-b", "node-c"))
    for seen in (joining, joined, OLD, joined, joining):
        assert look(watch, seen) is None
    assert look(watch, joining) is not None


def test_a_generation_starts_after_the_one_before_whatever_the_clock_says() -> None:
    watch = RingWatch()
    changed = make_generation(shard_count=3)
    for _ in range(2):
        found = watch.next_generation(OLD, changed.nodes, changed.ring, starts_at=5)
    assert found is not None
    assert found.starts_at == OLD.starts_at + 1
