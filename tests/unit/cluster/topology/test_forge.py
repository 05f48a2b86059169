"""Keys made for a token."""

import numpy as np
import pytest

from cluster.topology.forge import forge_key, forge_keys
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token, token_of, tokens_of

TOKENS = (TOKEN_MIN + 1, -6840883582936406640, -1, 0, 1, 2**32, TOKEN_MAX)
NONCES = (0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)


@pytest.mark.parametrize("nonce", NONCES)
@pytest.mark.parametrize("token", TOKENS)
def test_a_forged_key_has_exactly_the_token_it_was_made_for(token: int, nonce: int) -> None:
    assert token_of(forge_key(Token(token), nonce)) == token


def test_in_batch_the_same_keys_are_forged() -> None:
    pairs = [(token, nonce) for token in TOKENS for nonce in NONCES]
    tokens = np.array([token for token, _ in pairs], dtype=np.int64)
    nonces = np.array([nonce for _, nonce in pairs], dtype=np.uint64)
    keys = forge_keys(tokens, nonces)
    assert keys == [forge_key(Token(token), nonce) for token, nonce in pairs]
    assert tokens_of(keys).tolist() == tokens.tolist()
    assert nonces.tolist() == [nonce for _, nonce in pairs], "the arguments are left alone"


def test_a_forged_key_stays_the_same_in_every_version() -> None:
    # Keys are stored: a lane finds its partitions again only while this holds.
    assert forge_key(Token(-6840883582936406640), 0).hex() == "9d34e83276f94eb6f35f42914957b8c3"
    assert forge_key(Token(42), 2**64 - 1).hex() == "4ea7d28989cecc66c9cb80e466f70594"


def test_zeros_at_the_end_of_a_key_are_kept() -> None:
    # The nonce with which the token of sixteen zeros gives sixteen zeros.
    token, nonce = token_of(bytes(16)), 9285584331
    assert forge_key(token, nonce) == bytes(16)
    assert forge_keys(np.array([token], dtype=np.int64), np.array([nonce], dtype=np.uint64)) == [
        bytes(16)
    ]


def test_different_nonces_give_different_keys() -> None:
    keys = forge_keys(np.full(10_000, 7, dtype=np.int64), np.arange(10_000, dtype=np.uint64))
    assert len(set(keys)) == 10_000


def test_no_key_is_forged_for_the_token_that_none_has() -> None:
    with pytest.raises(ValueError, match="no key has the token"):
        forge_key(TOKEN_MIN, 1)
    with pytest.raises(ValueError, match="no key has the token"):
        forge_key(Token(TOKEN_MAX + 1), 1)
    with pytest.raises(ValueError, match="no key has the token"):
        forge_keys(np.array([5, TOKEN_MIN], dtype=np.int64), np.zeros(2, dtype=np.uint64))


@pytest.mark.parametrize("nonce", [-1, 2**64])
def test_a_nonce_of_more_than_64_bits_is_refused(nonce: int) -> None:
    # Cut to 64 bits it would be another nonce, and two nonces would share a key.
    with pytest.raises(ValueError, match="nonce"):
        forge_key(Token(0), nonce)


def test_as_many_nonces_as_tokens_are_needed() -> None:
    with pytest.raises(ValueError, match="2 tokens have 1 nonces"):
        forge_keys(np.zeros(2, dtype=np.int64), np.zeros(1, dtype=np.uint64))
