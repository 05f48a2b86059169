"""The replicas of a token: the nodes that keep what lies there, as a keyspace's strategy says.

The walk is that of ScyllaDB and Cassandra: along the ring from the token's owner on, taking each
node once.  A network topology is walked for all data centres at once, each taking as many nodes as
it wants; of a rack that has a replica already only so many more are taken as there are more
replicas than racks, so that replicas spread over racks as far as they can.  The first replica in
the owner's data centre is the token's owner.  Tablets place by tables of their own and have no
walk; their keyspaces are refused elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from cluster.topology.ring import Ring
from cluster.topology.token import Token


class Place(NamedTuple):
    """Where a node stands."""

    datacenter: str
    rack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleStrategy:
    """So many different nodes, wherever they stand."""

    replication_factor: int

    def __post_init__(self) -> None:
        _refuse_factor(self.replication_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTopologyStrategy:
    """So many different nodes of each data centre, over as many of its racks as there are."""

    replication_factors: Mapping[str, int]  # by data centre

    def __post_init__(self) -> None:
        for factor in self.replication_factors.values():
            _refuse_factor(factor)


ReplicationStrategy = SimpleStrategy | NetworkTopologyStrategy


def replicas_of(
    token: Token, ring: Ring, strategy: ReplicationStrategy, *, places: Mapping[str, Place]
) -> tuple[str, ...]:
    """Return the nodes that keep a token, in the order of the ring from its owner on.

    Fewer than the strategy wants where there are fewer nodes.  Raises KeyError if a node of the
    ring has no place and the strategy asks for it.
    """
    match strategy:
        case SimpleStrategy(replication_factor=factor):
            return _first_nodes(token, ring, factor)
        case NetworkTopologyStrategy(replication_factors=factors):
            return _spread_nodes(token, ring, factors, places)
        case _:
            assert_never(strategy)


def _first_nodes(token: Token, ring: Ring, factor: int) -> tuple[str, ...]:
    chosen: dict[str, None] = {}
    for node in _walk(token, ring):
        if len(chosen) == factor:
            break
        chosen[node] = None
    return tuple(chosen)


@dataclass(slots=True)
class _Wanted:
    """What a data centre still takes on the walk."""

    nodes_left: int
    repeats_left: int  # nodes of racks that have a replica already
    racks: set[str]


def _spread_nodes(
    token: Token, ring: Ring, factors: Mapping[str, int], places: Mapping[str, Place]
) -> tuple[str, ...]:
    nodes = set(ring.owners)
    wanted: dict[str, _Wanted] = {}
    for datacenter, factor in factors.items():
        there = [place for node in nodes if (place := places[node]).datacenter == datacenter]
        count = min(factor, len(there))
        if count:
            rack_count = len({place.rack for place in there})
            wanted[datacenter] = _Wanted(count, count - rack_count, set())
    chosen: dict[str, None] = {}
    left = sum(want.nodes_left for want in wanted.values())
    for node in _walk(token, ring):
        if left == 0:
            break
        place = places[node]
        want = wanted.get(place.datacenter)
        if want is None or want.nodes_left == 0 or node in chosen:
            continue
        if place.rack in want.racks:
            if want.repeats_left <= 0:
                continue  # the nodes that are left are for racks that have none yet
            want.repeats_left -= 1
        want.racks.add(place.rack)
        want.nodes_left -= 1
        left -= 1
        chosen[node] = None
    return tuple(chosen)


def _walk(token: Token, ring: Ring) -> tuple[str, ...]:
    start = ring.position_of(token)
    return ring.owners[start:] + ring.owners[:start]


def _refuse_factor(factor: int) -> None:
    if factor < 0:
        raise ValueError(f"a replication factor is not negative: {factor}")
