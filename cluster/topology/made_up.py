"""A made-up ring, for a store that has no real one."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from cluster.topology.generation import Node
from cluster.topology.ring import Ring
from cluster.topology.territory import Territory
from cluster.topology.token import TOKEN_MIN

# A token lies off the even grid by up to a sixteenth of a step, to both sides.
_JITTER_PARTS: Final = 8


def made_up_ring(
    *,
    node_names: Sequence[str],
    shard_count: int,
    vnodes_per_node: int,
    ignore_msb: int,
    seed: int,
) -> tuple[tuple[Node, ...], Ring]:
    """Return nodes of one shape, and a ring on which each has `vnodes_per_node` tokens.

    The same arguments give the same ring in every version of Python, in whatever order the names
    come.  Every core owns a similar share: the ring is cut into rounds in which each node has one
    token, in an order of its own.  Raises ValueError where that leaves a core with less than half
    of its fair share, as the shards' stripes are too wide for the nodes' ranges.
    """
    if not node_names or vnodes_per_node < 1:
        raise ValueError("a ring has at least one node and one token a node")
    names = sorted(node_names)
    step = (1 << 64) // (len(names) * vnodes_per_node)
    tokens: dict[str, list[int]] = {name: [] for name in names}
    for round_no in range(vnodes_per_node):
        chances = {name: _chance(seed, round_no, name) for name in names}
        for place, name in enumerate(sorted(names, key=chances.__getitem__)):
            middle = (round_no * len(names) + place) * step + step // 2
            offset = chances[name] % (step // _JITTER_PARTS) - step // (2 * _JITTER_PARTS)
            tokens[name].append(TOKEN_MIN + middle + offset)
    nodes = tuple(Node(name=name, shard_count=shard_count, ignore_msb=ignore_msb) for name in names)
    ring = Ring.of(tokens)
    counts = [_token_count(node, ring, shard) for node in nodes for shard in range(shard_count)]
    fair = (1 << 64) // len(counts)
    if min(counts) < fair // 2:
        raise ValueError("the cores' shares differ widely: raise vnodes_per_node or ignore_msb")
    return nodes, ring


def _token_count(node: Node, ring: Ring, shard: int) -> int:
    return Territory(
        ring.ranges_of(node.name),
        shard=shard,
        shard_count=node.shard_count,
        ignore_msb=node.ignore_msb,
    ).token_count


def _chance(seed: int, round_no: int, name: str) -> int:
    digest = blake2b(f"{seed}/{round_no}/{name}".encode(), digest_size=16).digest()
    return int.from_bytes(digest)
