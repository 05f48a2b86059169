"""The parts of Murmur3_x64_128 that the hash and its inversion share.

Scalars are Python integers in [0, 2^64) and are masked by hand; arrays are uint64, whose
arithmetic wraps by itself.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Uint64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]

MASK: Final = (1 << 64) - 1
KEY_BYTES: Final = 16

C1: Final = 0x87C37B91114253D5
C2: Final = 0x4CF5AD432745937F
H1_ADDEND: Final = 0x52DCE729
H2_ADDEND: Final = 0x38495AB5
FMIX_1: Final = 0xFF51AFD7ED558CCD
FMIX_2: Final = 0xC4CEB9FE1A85EC53


def fmix(word: int) -> int:
    """Return the finalizer's mix of a word: every bit depends on every bit, no two words meet."""
    word ^= word >> 33
    word = word * FMIX_1 & MASK
    word ^= word >> 33
    word = word * FMIX_2 & MASK
    return word ^ word >> 33


def fmix_each(words: Uint64Array) -> Uint64Array:
    """Return `fmix` of each word."""
    mixed = words ^ (words >> np.uint64(33))
    mixed *= np.uint64(FMIX_1)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(FMIX_2)
    mixed ^= mixed >> np.uint64(33)
    return mixed


def rotate_left(word: int, bits: int) -> int:
    """Return the word with its bits moved up, those that fall off coming back below."""
    return (word << bits | word >> 64 - bits) & MASK


def rotate_left_each(words: Uint64Array, bits: int) -> Uint64Array:
    """Return `rotate_left` of each word."""
    rotated = words << np.uint64(bits)
    rotated |= words >> np.uint64(64 - bits)
    return rotated
