"""What the servers say of the ring: its tokens, and the shape of each node.

The driver learns of changes by events and is told of some late, and of some never; so whoever needs
to know looks at intervals and compares.
"""

from typing import Any, Final, NamedTuple

from cluster.scylla.session import ScyllaSession
from cluster.topology.generation import Node
from cluster.topology.replicas import Place
from cluster.topology.ring import Ring
from pipeline.errors import StoreUnavailable

_PARTITIONER: Final = "Murmur3Partitioner"


class Picture(NamedTuple):
    """The ring as it is now."""

    nodes: tuple[Node, ...]  # by name, which is the host id
    ring: Ring
    places: dict[str, Place]


def picture_of(session: ScyllaSession) -> Picture:
    """Return what is known of the ring.

    Raises `StoreUnavailable` where something of it is not known yet, or is not ScyllaDB's.
    """
    metadata = session.metadata
    if metadata.token_map is None or not str(metadata.partitioner).endswith(_PARTITIONER):
        raise StoreUnavailable(f"the cluster has no {_PARTITIONER}, or has not told its ring yet")
    hosts: dict[str, Any] = {str(host.host_id): host for host in metadata.all_hosts()}
    tokens: dict[str, list[int]] = {name: [] for name in hosts}
    for token, host in list(metadata.token_map.token_to_host_owner.items()):
        tokens.setdefault(str(host.host_id), []).append(token.value)
    nodes = []
    for name in sorted(tokens):
        sharding = hosts[name].sharding_info if name in hosts else None
        if sharding is None:
            address = hosts[name].endpoint if name in hosts else name
            raise StoreUnavailable(
                f"node {address} has not told its shards: it is down, no ScyllaDB server, or in"
                " another data centre"
            )
        nodes.append(
            Node(
                name=name,
                shard_count=sharding.shards_count,
                ignore_msb=sharding.sharding_ignore_msb,
            )
        )
    places = {name: Place(host.datacenter, host.rack) for name, host in hosts.items()}
    return Picture(tuple(nodes), Ring.of(tokens), places)
