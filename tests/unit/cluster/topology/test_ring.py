"""Whose a token is, above all at the borders."""

import numpy as np
import pytest

from cluster.topology.ring import Ring, TokenRange
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token

RING = Ring.of({"a": [100, -100], "b": [0], "c": [7_000]})

OWNERS = [
    pytest.param(TOKEN_MIN + 1, "a", id="the first range begins behind the last token"),
    pytest.param(-101, "a", id="inside the first range"),
    pytest.param(-100, "a", id="a ring token belongs to its own node"),
    pytest.param(-99, "b", id="the next range begins just behind it"),
    pytest.param(0, "b", id="so does the second"),
    pytest.param(1, "a", id="a node's second range"),
    pytest.param(100, "a", id="its end"),
    pytest.param(101, "c", id="the last range"),
    pytest.param(7_000, "c", id="the last ring token"),
    pytest.param(7_001, "a", id="behind the last token the ring wraps around"),
    pytest.param(TOKEN_MAX, "a", id="up to the largest"),
]


@pytest.mark.parametrize(("token", "owner"), OWNERS)
def test_a_token_belongs_to_the_first_ring_token_that_is_not_smaller(
    token: int, owner: str
) -> None:
    assert RING.owner_of(Token(token)) == owner
    positions = RING.positions_of(np.array([token], dtype=np.int64))
    assert [RING.owners[position] for position in positions] == [owner]


def test_a_ring_of_one_token_belongs_to_one_node() -> None:
    ring = Ring.of({"only": [5]})
    assert {ring.owner_of(Token(token)) for token in (TOKEN_MIN, 4, 5, 6, TOKEN_MAX)} == {"only"}
    assert ring.ranges_of("only") == [
        TokenRange(TOKEN_MIN, Token(5)),
        TokenRange(Token(5), TOKEN_MAX),
    ]


def test_the_range_that_wraps_around_is_two() -> None:
    assert RING.ranges_of("a") == [(TOKEN_MIN, -100), (0, 100), (7_000, TOKEN_MAX)]
    assert RING.ranges_of("b") == [(-100, 0)]
    assert RING.ranges_of("c") == [(100, 7_000)]
    assert RING.ranges_of("nobody") == []


def test_tokens_at_both_ends_of_the_ring_leave_no_empty_range() -> None:
    ring = Ring.of({"a": [TOKEN_MIN], "b": [TOKEN_MAX]})
    # Whoever has the smallest token owns that token alone, and no key has it.
    assert ring.ranges_of("a") == []
    assert ring.ranges_of("b") == [(TOKEN_MIN, TOKEN_MAX)]
    assert ring.owner_of(Token(TOKEN_MIN + 1)) == "b"


def test_rings_are_equal_by_tokens_and_owners() -> None:
    assert Ring.of({"b": [0], "c": [7_000], "a": [-100, 100]}) == RING
    assert Ring.of({"b": [1], "c": [7_000], "a": [-100, 100]}) != RING


def test_a_ring_shows_its_size_and_not_its_tokens() -> None:
    assert repr(RING) == "<Ring of 3 nodes with 4 tokens>"


@pytest.mark.parametrize(
    ("tokens", "owners", "reason"),
    [
        ((), (), "at least one token"),
        ((1, 2), ("a",), "2 tokens have 1 owners"),
        ((1, 1), ("a", "b"), "token 1 is in the ring twice"),
        ((1, 0), ("a", "b"), "token 0 of the ring stands behind token 1"),
        ((0, 2**63), ("a", "b"), "64 bits"),
        ((-(2**63) - 1, 0), ("a", "b"), "64 bits"),
    ],
)
def test_what_is_no_ring_is_refused(
    tokens: tuple[Token, ...], owners: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Ring(tokens, owners)
