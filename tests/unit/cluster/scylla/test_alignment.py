"""Which core served a statement, held against the one that owns its key by the servers' ring."""

from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from cluster.scylla.alignment import Alignment
from cluster.topology.shard import shard_of
from cluster.topology.token import token_of

NODES = [UUID(int=1), UUID(int=2)]
SHARDS, IGNORE_MSB = 2, 12
KEYS = [number.to_bytes(16, "big") for number in range(200)]


class Token(NamedTuple):
    """The driver's."""

    value: int


class TokenMap:
    """Two nodes, each with half of the ring."""

    def __init__(self, *, first: int = 0) -> None:
        self.token_to_host_owner = {
            Token(0): SimpleNamespace(host_id=NODES[first]),
            Token(2**63 - 1): SimpleNamespace(host_id=NODES[1 - first]),
        }


def owner_of(key: bytes) -> tuple[int, int]:
    token = token_of(key)
    return int(token > 0), shard_of(token, shard_count=SHARDS, ignore_msb=IGNORE_MSB)


def response_of(node: int, shard: int) -> Any:
    sharding = SimpleNamespace(shards_count=SHARDS, sharding_ignore_msb=IGNORE_MSB)
    return SimpleNamespace(
        _current_host=SimpleNamespace(host_id=NODES[node], sharding_info=sharding),
        _connection=SimpleNamespace(features=SimpleNamespace(shard_id=shard)),
    )


def request_of(key: bytes | None) -> Any:
    return SimpleNamespace(routing_key=key)


@pytest.fixture
def metadata() -> Any:
    return SimpleNamespace(token_map=TokenMap())


@pytest.fixture
def alignment(metadata: Any) -> Alignment:
    return Alignment(metadata, look_every=1)


def test_what_the_owner_serves_is_counted_as_its_own(alignment: Alignment) -> None:
    for key in KEYS:
        alignment.note("select_body", request_of(key), response_of(*owner_of(key)))
    assert alignment.served() == (len(KEYS), {})


@pytest.mark.parametrize("strays_to", ["another node", "another core"])
def test_what_another_serves_is_counted_by_statement(alignment: Alignment, strays_to: str) -> None:
    for number, key in enumerate(KEYS):
        node, shard = owner_of(key)
        if strays_to == "another node":
            node = 1 - node
        else:
            shard = 1 - shard
        name = "select_body" if number % 4 else "insert_message"
        alignment.note(name, request_of(key), response_of(node, shard))
    assert alignment.served() == (0, {"select_body": 150, "insert_message": 50})


def test_the_ring_is_the_one_of_now(alignment: Alignment, metadata: Any) -> None:
    key = KEYS[0]
    node, shard = owner_of(key)
    alignment.note("select_body", request_of(key), response_of(node, shard))
    metadata.token_map = TokenMap(first=1)
    alignment.note("select_body", request_of(key), response_of(node, shard))
    assert alignment.served() == (1, {"select_body": 1})
    for _ in range(2):
        alignment.note("select_body", request_of(key), response_of(1 - node, shard))
    assert alignment.served() == (3, {"select_body": 1})


@pytest.mark.parametrize("key", [None, b"short"])
def test_a_statement_without_a_key_of_ours_is_nobodys(
    alignment: Alignment, key: bytes | None
) -> None:
    alignment.note("select_now", request_of(key), response_of(0, 0))
    assert alignment.served() == (0, {})


def test_a_server_without_shards_is_not_judged(alignment: Alignment) -> None:
    response = response_of(0, 0)
    response._current_host.sharding_info = None
    alignment.note("select_body", request_of(KEYS[0]), response)
    assert alignment.served() == (0, {})


def test_one_of_a_prime_number_of_statements_is_looked_at(metadata: Any) -> None:
    alignment = Alignment(metadata)
    assert sum(alignment.is_due() for _ in range(1_100)) == 100
