"""Rings and generations for tests, with harmless defaults."""

import random
from collections.abc import Sequence

from cluster.topology.generation import Generation, Node
from cluster.topology.made_up import made_up_ring
from cluster.topology.ring import Ring


def make_generation(
    *,
    number: int = 1,
    starts_at: int = 1_700_000_000_000_000,
    prompt_ms: int = 3_000,
    node_names: Sequence[str] = ("node-a", "node-b"),
    shard_count: int = 2,
    vnodes_per_node: int = 16,
    ignore_msb: int = 12,
    seed: int = 1,
) -> Generation:
    """Return a generation with a made-up ring of nodes of one shape."""
    nodes, ring = made_up_ring(
        node_names=node_names,
        shard_count=shard_count,
        vnodes_per_node=vnodes_per_node,
        ignore_msb=ignore_msb,
        seed=seed,
    )
    return Generation(
        number=number, starts_at=starts_at, prompt_ms=prompt_ms, nodes=nodes, ring=ring
    )


def make_random_generation(
    chance: random.Random, *, node_count: int, vnodes_per_node_max: int
) -> Generation:
    """Return a generation as a real cluster may have it: no node has the shape of another."""
    nodes = [
        Node(
            name=f"node-{index}",
            shard_count=chance.randint(1, 24),
            ignore_msb=chance.choice((0, 1, 11, 12, 12, 16)),
        )
        for index in range(node_count)
    ]
    drawn: set[int] = set()
    tokens: dict[str, list[int]] = {}
    for node in nodes:
        mine = {
            chance.randrange(-(1 << 63), 1 << 63)
            for _ in range(chance.randint(1, vnodes_per_node_max))
        }
        tokens[node.name] = sorted(mine - drawn)
        drawn |= mine
    return Generation(
        number=1, starts_at=0, prompt_ms=3_000, nodes=tuple(nodes), ring=Ring.of(tokens)
    )
