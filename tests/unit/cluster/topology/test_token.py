"""Known answers, computed with scylla-driver 3.29, and what is refused."""

from uuid import UUID

import numpy as np
import pytest

from cluster.topology.token import TOKEN_MAX, Token, token_of, tokens_of

# Made by inverting the hash: the raw hash of this key is -2^63.
KEY_HASHED_TO_THE_MINIMUM = bytes.fromhex("f3ce67b3f26236eea9c08df6eeb2d5e3")

GOLDEN = [
    (UUID("12345678-1234-5678-9234-567812345678").bytes, Token(-6840883582936406640)),
    (bytes(16), Token(5457549051747178710)),
    (bytes(range(16)), Token(4920504430128807728)),
    (b"\xff" * 16, Token(-2824192546314762522)),
    (KEY_HASHED_TO_THE_MINIMUM, TOKEN_MAX),
]


@pytest.mark.parametrize(("key", "token"), GOLDEN)
def test_a_key_has_the_token_that_scylladb_gives_it(key: bytes, token: Token) -> None:
    assert token_of(key) == token
    assert tokens_of([key]).tolist() == [token]


def test_tokens_come_in_the_order_of_their_keys() -> None:
    keys = [key for key, _ in GOLDEN]
    assert tokens_of(keys).dtype == np.int64
    assert tokens_of(keys).tolist() == [token for _, token in GOLDEN]
    assert tokens_of(keys[::-1]).tolist() == [token for _, token in GOLDEN][::-1]


def test_no_keys_have_no_tokens() -> None:
    assert tokens_of([]).tolist() == []


@pytest.mark.parametrize("length", [0, 1, 15, 17, 32])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"16 bytes, not {length}"):
        token_of(bytes(length))
    with pytest.raises(ValueError, match=f"16 bytes, not {length}"):
        tokens_of([bytes(16), bytes(length)])


def test_lengths_that_make_up_for_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        tokens_of([bytes(15), bytes(17)])
