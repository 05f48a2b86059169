"""The token of a partition key: its place on the ring.

ScyllaDB's token is the first half of Murmur3_x64_128, as a signed number, with -2^63 (which means
"before everything") moved to 2^63 - 1.  ScyllaDB and Cassandra sign-extend the bytes of the hash's
tail, so plain Murmur3 agrees with them only for keys that have none; every partition key of the
platform is exactly 16 bytes for that reason, and other lengths are refused here.

In batch the hash is computed column by column; calling `mmh3` once a key costs several times more
(`benchmarks/placement.py` measures both).
"""

from collections.abc import Sequence
from typing import Final, NewType

import mmh3
import numpy as np

from cluster.topology.murmur import (
    C1,
    C2,
    H1_ADDEND,
    H2_ADDEND,
    KEY_BYTES,
    Int64Array,
    fmix_each,
    rotate_left_each,
)

Token = NewType("Token", int)

# No key has this token: it stands before the first place of the ring.
TOKEN_MIN: Final = Token(-(1 << 63))
TOKEN_MAX: Final = Token((1 << 63) - 1)


def token_of(key: bytes) -> Token:
    """Return the token of a key; raises ValueError unless the key is 16 bytes long."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a partition key has {KEY_BYTES} bytes, not {len(key)}")
    token: int = mmh3.hash64(key, 0, True, True)[0]
    return TOKEN_MAX if token == TOKEN_MIN else Token(token)


def tokens_of(keys: Sequence[bytes]) -> Int64Array:
    """Return the token of each key, in order; raises ValueError unless all are 16 bytes long."""
    # Each length is looked at: a long and a short key together may have the right sum.
    if lengths := set(map(len, keys)) - {KEY_BYTES}:
        raise ValueError(f"a partition key has {KEY_BYTES} bytes, not {min(lengths)}")
    words = np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)
    h1 = rotate_left_each(words[:, 0] * np.uint64(C1), 31)
    h1 *= np.uint64(C2)
    h1 = rotate_left_each(h1, 27)
    h1 *= np.uint64(5)
    h1 += np.uint64(H1_ADDEND)
    h2 = rotate_left_each(words[:, 1] * np.uint64(C2), 33)
    h2 *= np.uint64(C1)
    h2 = rotate_left_each(h2, 31)
    h2 += h1
    h2 *= np.uint64(5)
    h2 += np.uint64(H2_ADDEND)
    h1 ^= np.uint64(KEY_BYTES)
    h2 ^= np.uint64(KEY_BYTES)
    h1 += h2
    h2 += h1
    tokens = (fmix_each(h1) + fmix_each(h2)).view(np.int64)
    tokens[tokens == TOKEN_MIN] = TOKEN_MAX
    return tokens
