"""The tokens that one core owns, numbered, so that any of them is found without a search.

A core's tokens are where two patterns meet: the node's ranges on the ring, irregular, some hundreds
of them; and the shard's stripes, regular, 2^ignore_msb of them.  Listing all their intersections
costs millions of entries in a large cluster.  Instead only ranges are listed, each with the number
of the core's tokens in front of it: how many stripe tokens lie below a place, and where the n-th
one lies, are one division each.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from cluster.topology.murmur import MASK, Int64Array, Uint64Array, fmix, fmix_each
from cluster.topology.ring import TokenRange
from cluster.topology.shard import BIAS, unbiased_of
from cluster.topology.token import Token


class Territory:
    """The tokens in these ranges that a node of this shape gives to the shard.

    `token_count` is their number, at most 2^64 - 1 as -2^63 is in no range; 0 is possible.
    """

    def __init__(
        self, ranges: Sequence[TokenRange], *, shard: int, shard_count: int, ignore_msb: int
    ) -> None:
        self._period_bits = 64 - ignore_msb
        period = 1 << self._period_bits
        # Of a period the stripe holds the places with shard == place * shard_count // period.
        self._stripe_start = -(-shard * period // shard_count)
        self._stripe_width = -(-(shard + 1) * period // shard_count) - self._stripe_start
        starts: list[int] = []  # of each range, the number of the territory's tokens before it
        skipped: list[int] = []  # and of the shard's tokens before it that others own
        count = 0
        for after, through in ranges:
            below = self._shard_tokens_below(after + BIAS + 1)
            inside = self._shard_tokens_below(through + BIAS + 1) - below
            if inside > 0:
                starts.append(count)
                skipped.append(below - count)
                count += inside
        self.token_count = count
        self._starts = starts
        self._skipped = skipped
        self._starts_column = np.array(starts, dtype=np.uint64)
        self._skipped_column = np.array(skipped, dtype=np.uint64)

    def token_for(self, nonce: int) -> Token:
        """Return the token that a 64-bit nonce stands for; nonces fill the territory evenly."""
        return self.token_at(fmix(nonce) * self.token_count >> 64)

    def tokens_for(self, nonces: Uint64Array) -> Int64Array:
        """Return `token_for` of each nonce."""
        return self.tokens_at(_multiply_high(fmix_each(nonces), self.token_count))

    def token_at(self, ordinal: int) -> Token:
        """Return the token with this number, counted from 0 in the order of the ring."""
        ordinal += self._skipped[bisect_right(self._starts, ordinal) - 1]
        period_no, place = divmod(ordinal, self._stripe_width)
        return Token((period_no << self._period_bits) + self._stripe_start + place - BIAS)

    def tokens_at(self, ordinals: Uint64Array) -> Int64Array:
        """Return `token_at` of each ordinal."""
        held = np.searchsorted(self._starts_column, ordinals, side="right") - 1
        ordinals = ordinals + self._skipped_column[held]
        if self._period_bits == 64:
            # One stripe only; its width and the period itself may be 2^64, which no array holds.
            ordinals += np.uint64(self._stripe_start)
            return unbiased_of(ordinals)
        period_nos, places = np.divmod(ordinals, np.uint64(self._stripe_width))
        period_nos <<= np.uint64(self._period_bits)
        period_nos += places
        period_nos += np.uint64(self._stripe_start)
        return unbiased_of(period_nos)

    def _shard_tokens_below(self, place: int) -> int:
        period_no, offset = divmod(place, 1 << self._period_bits)
        in_last = min(max(offset - self._stripe_start, 0), self._stripe_width)
        return period_no * self._stripe_width + in_last


def _multiply_high(words: Uint64Array, factor: int) -> Uint64Array:
    """Return words * factor >> 64, exactly; factor < 2^64."""
    half, low = np.uint64(32), np.uint64((1 << 32) - 1)
    factor_high, factor_low = np.uint64(factor >> 32), np.uint64(factor & MASK >> 32)
    words_high, words_low = words >> half, words & low
    crossed = words_high * factor_low
    crossed += words_low * factor_low >> half
    # The two crossed products together may pass 2^64, so the second meets the low half only.
    carried = words_low * factor_high
    carried += crossed & low
    high = words_high * factor_high
    high += crossed >> half
    high += carried >> half
    return high
