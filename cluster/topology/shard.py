"""The shard of a token: which core of its node serves it.

ScyllaDB's rule, "biased token round robin": the ring, counted from 0, is cut into 2^ignore_msb
equal periods and each period into `shard_count` equal stripes, one a shard.  The token is *biased*
first: 2^63 is added, modulo 2^64, so that the smallest signed token counts as 0.  Everything after
that is unsigned: a signed shift gives shards that are right for one half of the ring only.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from cluster.topology.murmur import MASK, Int64Array, Uint64Array
from cluster.topology.token import Token

BIAS: Final = 1 << 63
# The batch form multiplies 64 by 32 bits.
SHARD_COUNT_MAX: Final = (1 << 32) - 1
IGNORE_MSB_MAX: Final = 63

_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64((1 << 32) - 1)


def shard_of(token: Token, *, shard_count: int, ignore_msb: int) -> int:
    """Return the shard, from 0, that a token has on a node of this shape."""
    return ((token + BIAS << ignore_msb & MASK) * shard_count) >> 64


def shards_of(
    tokens: Int64Array, *, shard_counts: Uint64Array, ignore_msbs: Uint64Array
) -> npt.NDArray[np.intp]:
    """Return `shard_of` of each token, each on a node of its own shape."""
    shifted = biased_of(tokens) << ignore_msbs
    # The high half of a 96-bit product.  Neither partial product nor their sum can pass 2^64, as
    # (2^32 - 1) * (2^32 - 1) + (2^32 - 2) < 2^64.
    low = shifted & _LOW
    low *= shard_counts
    low >>= _HALF
    shifted >>= _HALF
    shifted *= shard_counts
    shifted += low
    shifted >>= _HALF
    return shifted.astype(np.intp)


def biased_of(tokens: Int64Array) -> Uint64Array:
    """Return token + 2^63 of each token: its place counted from 0."""
    # Adding 2^63 modulo 2^64 turns over the highest bit and nothing else.
    return tokens.view(np.uint64) ^ np.uint64(BIAS)


def unbiased_of(biased: Uint64Array) -> Int64Array:
    """Return the token at each place counted from 0: the inverse of `biased_of`."""
    return (biased ^ np.uint64(BIAS)).view(np.int64)
