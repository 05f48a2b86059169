"""Known answers: the replicas of random rings, as scylla-driver computes them."""

import random
from dataclasses import dataclass

from cassandra.metadata import (
    Murmur3Token,
    ReplicationStrategy,
)

from cluster.topology.replicas import (
    NetworkTopologyStrategy,
    Place,
    SimpleStrategy,
    replicas_of,
)
from cluster.topology.ring import Ring
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token
from tests.support.seed import seeded_random

RING_COUNT = 150
TOKENS_PER_RING = 40


@dataclass(frozen=True)
class Host:
    """A host as the driver's strategies ask it."""

    name: str
    datacenter: str
    rack: str


def random_cluster(chance: random.Random) -> tuple[Ring, dict[str, Place]]:
    """Return a ring whose nodes stand in up to three data centres of up to four racks."""
    places = {
        f"node-{number}": Place(f"dc-{chance.randrange(3)}", f"rack-{chance.randrange(4)}")
        for number in range(chance.randint(1, 12))
    }
    tokens = {node: {chance.randrange(TOKEN_MIN + 1, TOKEN_MAX)} for node in places}
    for node in places:
        for _ in range(chance.randrange(8)):
            tokens[node].add(chance.randrange(TOKEN_MIN + 1, TOKEN_MAX))
    return Ring.of(tokens), places


def drivers_replicas(
    strategy: str, options: dict[str, str], ring: Ring, places: dict[str, Place]
) -> dict[int, list[str]]:
    """Return the replicas of each token of the ring."""
    hosts = {
        node: Host(name=node, datacenter=place.datacenter, rack=place.rack)
        for node, place in places.items()
    }
    tokens = [Murmur3Token(token) for token in ring.tokens]
    owners = {token: hosts[node] for token, node in zip(tokens, ring.owners, strict=True)}
    replicas = ReplicationStrategy.create(strategy, options).make_token_replica_map(owners, tokens)
    return {token.value: [host.name for host in replicas[token]] for token in tokens}


def a_token(ring: Ring, position: int, chance: random.Random) -> Token:
    """Return a token of the range that ends at a position: its end, or any other."""
    after = ring.tokens[position - 1] if position else TOKEN_MIN
    through = ring.tokens[position]
    return chance.choice((through, Token(chance.randint(after + 1, through))))


def test_a_simple_strategy_has_the_replicas_that_the_driver_has() -> None:
    chance = seeded_random()
    for _ in range(RING_COUNT):
        ring, places = random_cluster(chance)
        factor = chance.randint(1, 6)
        known = drivers_replicas(
            "SimpleStrategy", {"replication_factor": str(factor)}, ring, places
        )
        strategy = SimpleStrategy(replication_factor=factor)
        for _ in range(TOKENS_PER_RING):
            position = chance.randrange(len(ring.tokens))
            token = a_token(ring, position, chance)
            found = replicas_of(token, ring, strategy, places=places)
            assert list(found) == known[ring.tokens[position]]


def test_a_network_topology_has_the_replicas_that_the_driver_has() -> None:
    chance = seeded_random()
    compared = repeated = 0
    for _ in range(RING_COUNT):
        ring, places = random_cluster(chance)
        factors = {f"dc-{n}": chance.randint(1, 5) for n in range(3) if chance.random() < 0.8}
        known = drivers_replicas(
            "NetworkTopologyStrategy",
            {datacenter: str(factor) for datacenter, factor in factors.items()},
            ring,
            places,
        )
        strategy = NetworkTopologyStrategy(replication_factors=factors)
        for _ in range(TOKENS_PER_RING):
            position = chance.randrange(len(ring.tokens))
            token = a_token(ring, position, chance)
            found = replicas_of(token, ring, strategy, places=places)
            assert len(set(found)) == len(found)
            # The driver lists data centres one by one, and repeated racks last.  A node that it
            # passed over twice it takes twice, in place of another; the servers do not.
            drivers = known[ring.tokens[position]]
            if len(set(drivers)) == len(drivers):
                assert set(found) == set(drivers)
                compared += 1
            else:
                assert set(found) >= set(drivers)
            owner = ring.owner_of(token)
            assert owner not in found or found[0] == owner
            racks = [places[node] for node in found]
            repeated += len(set(racks)) < len(racks)
    assert compared > RING_COUNT
    assert repeated > 0
