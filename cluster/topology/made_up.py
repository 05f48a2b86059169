"""A made-up ring, for a store that has no real one."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from cluster.topology.generation import Node
from cluster.topology.ring import Ring
from cluster.topology.token import TOKEN_MIN

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
    come.  The ring is cut into rounds in which every node has one token, in an order of its own,
    so that the nodes' shares are alike; a token lies off the even grid by up to a sixteenth of a
    step, so that the ring has no symmetry which a real one lacks.
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
    return nodes, Ring.of(tokens)


def _chance(seed: int, round_no: int, name: str) -> int:
    digest = blake2b(f"{seed}/{round_no}/{name}".encode(), digest_size=16).digest()
    return int.from_bytes(digest)
