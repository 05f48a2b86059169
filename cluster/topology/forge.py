"""Keys made for a token: Murmur3 inverted.

For 16 bytes there is no tail, so every step of the hash can be undone: a multiplication by the
inverse modulo 2^64, a rotation by the other direction, a shift-xor by itself.  The hash's 128 bits
are two words of which the token is one; the other is free and is made of the nonce.  So for any
token and any 64-bit nonce there is exactly one key, found without a search.  The alternative,
trying nonces until a key happens to lie on the wanted core, costs nodes x shards tries a key.
"""

from struct import Struct
from typing import Final

import numpy as np

from cluster.topology.murmur import (
    C1,
    C2,
    FMIX_1,
    FMIX_2,
    H1_ADDEND,
    H2_ADDEND,
    KEY_BYTES,
    MASK,
    Int64Array,
    Uint64Array,
    fmix,
    fmix_each,
    rotate_left,
    rotate_left_each,
)
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token


def _inverse(factor: int) -> int:
    return pow(factor, -1, 1 << 64)


_C1_INVERSE: Final = _inverse(C1)
_C2_INVERSE: Final = _inverse(C2)
_FMIX_1_INVERSE: Final = _inverse(FMIX_1)
_FMIX_2_INVERSE: Final = _inverse(FMIX_2)
_FIVE_INVERSE: Final = _inverse(5)

_pack: Final = Struct("<QQ").pack


def forge_key(token: Token, nonce: int) -> bytes:
    """Return the one key that has this token and this nonce.

    Raises ValueError for the token -2^63, which no key has, and for a token or nonce that does not
    fit into 64 bits.  Different nonces give different keys, also for different tokens.
    """
    if not TOKEN_MIN < token <= TOKEN_MAX:
        raise ValueError(f"no key has the token {token}")
    if not 0 <= nonce <= MASK:
        raise ValueError(f"a nonce is in [0, 2^64), not {nonce}")
    # `nonce` is the sum of the two words before the last mix; its mix is one part of the token.
    other = _unfmix(token - fmix(nonce) & MASK)
    h2 = other - nonce & MASK
    h1 = nonce - h2 & MASK
    h1 ^= KEY_BYTES
    h2 ^= KEY_BYTES
    word_1 = rotate_left((h1 - H1_ADDEND) * _FIVE_INVERSE & MASK, 64 - 27)
    word_1 = rotate_left(word_1 * _C2_INVERSE & MASK, 64 - 31) * _C1_INVERSE & MASK
    word_2 = rotate_left((h2 - H2_ADDEND) * _FIVE_INVERSE - h1 & MASK, 64 - 31)
    word_2 = rotate_left(word_2 * _C1_INVERSE & MASK, 64 - 33) * _C2_INVERSE & MASK
    return _pack(word_1, word_2)


def forge_keys(tokens: Int64Array, nonces: Uint64Array) -> list[bytes]:
    """Return `forge_key` of each pair, in order; raises ValueError where that does."""
    if tokens.shape != nonces.shape:
        raise ValueError(f"{len(tokens)} tokens have {len(nonces)} nonces")
    if (tokens == TOKEN_MIN).any():
        raise ValueError(f"no key has the token {TOKEN_MIN}")
    h2 = _unfmix_each(tokens.view(np.uint64) - fmix_each(nonces))
    h2 -= nonces
    h1 = nonces - h2
    h1 ^= np.uint64(KEY_BYTES)
    h2 ^= np.uint64(KEY_BYTES)
    words = np.empty((len(tokens), 2), dtype="<u8")

    word_1 = h1 - np.uint64(H1_ADDEND)
    word_1 *= np.uint64(_FIVE_INVERSE)
    word_1 = rotate_left_each(word_1, 64 - 27)
    word_1 *= np.uint64(_C2_INVERSE)
    word_1 = rotate_left_each(word_1, 64 - 31)
    np.multiply(word_1, np.uint64(_C1_INVERSE), out=words[:, 0])

    word_2 = h2
    word_2 -= np.uint64(H2_ADDEND)
    word_2 *= np.uint64(_FIVE_INVERSE)
    word_2 -= h1
    word_2 = rotate_left_each(word_2, 64 - 31)
    word_2 *= np.uint64(_C1_INVERSE)
    word_2 = rotate_left_each(word_2, 64 - 33)
    np.multiply(word_2, np.uint64(_C2_INVERSE), out=words[:, 1])

    # Raw bytes, not the type `S16`: that one would lose zeros at the end of a key.
    keys: list[bytes] = words.view(f"V{KEY_BYTES}").reshape(-1).tolist()
    return keys


def _unfmix(word: int) -> int:
    word ^= word >> 33
    word = word * _FMIX_2_INVERSE & MASK
    word ^= word >> 33
    word = word * _FMIX_1_INVERSE & MASK
    return word ^ word >> 33


def _unfmix_each(words: Uint64Array) -> Uint64Array:
    unmixed = words ^ (words >> np.uint64(33))
    unmixed *= np.uint64(_FMIX_2_INVERSE)
    unmixed ^= unmixed >> np.uint64(33)
    unmixed *= np.uint64(_FMIX_1_INVERSE)
    unmixed ^= unmixed >> np.uint64(33)
    return unmixed
