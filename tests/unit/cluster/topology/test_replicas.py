"""Which nodes keep a token, and how they spread over racks."""

from collections.abc import Callable

import pytest

from cluster.topology.replicas import (
    NetworkTopologyStrategy,
    Place,
    ReplicationStrategy,
    SimpleStrategy,
    replicas_of,
)
from cluster.topology.ring import Ring
from cluster.topology.token import TOKEN_MAX, Token

RING = Ring.of({"a": [0, 50], "b": [10, 60], "c": [20], "d": [30], "e": [40]})
# Two racks in one data centre, of which one has a single node; and one node elsewhere.
PLACES = {
    "a": Place("here", "1"),
    "b": Place("here", "1"),
    "c": Place("here", "1"),
    "d": Place("here", "2"),
    "e": Place("there", "1"),
}


def simple(factor: int) -> SimpleStrategy:
    return SimpleStrategy(replication_factor=factor)


def spread(**factors: int) -> NetworkTopologyStrategy:
    return NetworkTopologyStrategy(replication_factors=factors)


REPLICAS = [
    pytest.param(5, simple(1), "b", id="one replica is the owner"),
    pytest.param(10, simple(3), "bcd", id="more are the next nodes of the ring"),
    pytest.param(45, simple(3), "abc", id="a node counts once, however many tokens it has"),
    pytest.param(TOKEN_MAX, simple(2), "ab", id="the walk goes around"),
    pytest.param(5, simple(9), "bcdea", id="there are no more than there are nodes"),
    pytest.param(5, simple(0), "", id="none are wanted"),
    pytest.param(5, spread(here=1), "b", id="the owner comes first"),
    pytest.param(5, spread(here=2), "bd", id="the second rack comes before a second node"),
    pytest.param(5, spread(here=3), "bcd", id="a rack is used again where it must be"),
    pytest.param(25, spread(here=3), "dab", id="and again where the ring goes on"),
    pytest.param(5, spread(here=4), "bcda", id="all of a data centre"),
    pytest.param(45, spread(here=4), "abcd", id="each of them once"),
    pytest.param(5, spread(here=2, there=1), "bde", id="data centres are walked together"),
    pytest.param(35, spread(here=1, there=1), "ea", id="in the order of the ring"),
    pytest.param(35, spread(here=1), "a", id="an owner elsewhere keeps nothing"),
    pytest.param(5, spread(nowhere=3), "", id="a data centre without nodes has none"),
]


@pytest.mark.parametrize(("token", "strategy", "nodes"), REPLICAS)
def test_a_token_is_kept_by(token: int, strategy: ReplicationStrategy, nodes: str) -> None:
    assert "".join(replicas_of(Token(token), RING, strategy, places=PLACES)) == nodes


def test_a_node_without_a_place_is_an_error_where_places_matter() -> None:
    assert replicas_of(Token(5), RING, simple(1), places={}) == ("b",)
    with pytest.raises(KeyError):
        replicas_of(Token(5), RING, spread(here=1), places={})


@pytest.mark.parametrize("factor", [simple, lambda factor: spread(here=factor)])
def test_a_negative_factor_is_refused(factor: Callable[[int], object]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        factor(-1)
