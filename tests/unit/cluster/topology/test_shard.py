"""Known answers, computed with scylla-driver 3.29, for the core of a token."""

import numpy as np
import pytest

from cluster.topology.shard import SHARD_COUNT_MAX, biased_of, shard_of, shards_of, unbiased_of
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token

# Of each token, its shard on nodes with 2, 4, 8 and 12 shards and the usual ignore_msb of 12.
GOLDEN = [
    (-6840883582936406640, (0, 0, 0, 0)),
    (522768274048174015, (0, 0, 0, 0)),
    (5461403030378599040, (1, 2, 5, 8)),
    (-4069959284402364209, (0, 1, 2, 3)),
    (7297452126230313552, (0, 1, 2, 4)),
    (7071048584287372947, (0, 0, 0, 1)),
    (1618558028755905231, (0, 1, 3, 4)),
    (1481184658285397084, (1, 3, 7, 10)),
    (-4514058853005712195, (1, 2, 5, 8)),
]
GOLDEN_SHARD_COUNTS = (2, 4, 8, 12)

# Places where a sign or a carry goes wrong, and their shards on nodes of several shapes.
EDGES = (-(2**63) + 1, -(2**62) - 1, -(2**62), -1, 0, 1, 2**62, 2**63 - 1)
EDGE_SHARDS = [
    (1, 0, (0, 0, 0, 0, 0, 0, 0, 0)),
    (2, 0, (0, 0, 0, 0, 1, 1, 1, 1)),
    (3, 0, (0, 0, 0, 1, 1, 1, 2, 2)),
    (128, 0, (0, 31, 32, 63, 64, 64, 96, 127)),
    (2, 1, (0, 0, 1, 1, 0, 0, 1, 1)),
    (3, 16, (0, 2, 0, 2, 0, 0, 0, 2)),
    (
        SHARD_COUNT_MAX,
        0,
        (0, 1073741823, 1073741823, 2147483647, 2147483647, 2147483647, 3221225471, 4294967294),
    ),
    (SHARD_COUNT_MAX, 12, (0, 4294967294, 0, 4294967294, 0, 0, 0, 4294967294)),
]


def shards_in_batch(tokens: tuple[int, ...], *, shard_count: int, ignore_msb: int) -> list[int]:
    column = np.array(tokens, dtype=np.int64)
    shards: list[int] = shards_of(
        column,
        shard_counts=np.full(len(column), shard_count, dtype=np.uint64),
        ignore_msbs=np.full(len(column), ignore_msb, dtype=np.uint64),
    ).tolist()
    return shards


@pytest.mark.parametrize(("token", "shards"), GOLDEN)
def test_a_token_has_the_shard_that_scylladb_gives_it(
    token: int, shards: tuple[int, int, int, int]
) -> None:
    for shard_count, shard in zip(GOLDEN_SHARD_COUNTS, shards, strict=True):
        assert shard_of(Token(token), shard_count=shard_count, ignore_msb=12) == shard
        assert shards_in_batch((token,), shard_count=shard_count, ignore_msb=12) == [shard]


@pytest.mark.parametrize(("shard_count", "ignore_msb", "shards"), EDGE_SHARDS)
def test_the_formula_is_unsigned_and_wide_enough(
    shard_count: int, ignore_msb: int, shards: tuple[int, ...]
) -> None:
    one_by_one = tuple(
        shard_of(Token(token), shard_count=shard_count, ignore_msb=ignore_msb) for token in EDGES
    )
    assert one_by_one == shards
    in_batch = shards_in_batch(EDGES, shard_count=shard_count, ignore_msb=ignore_msb)
    assert in_batch == list(shards)


def test_in_batch_each_token_may_have_a_node_of_another_shape() -> None:
    shards = shards_of(
        np.array([0, 0, -1], dtype=np.int64),
        shard_counts=np.array([2, 3, 128], dtype=np.uint64),
        ignore_msbs=np.array([0, 16, 0], dtype=np.uint64),
    )
    assert shards.tolist() == [1, 0, 63]


def test_places_are_counted_from_the_smallest_token() -> None:
    tokens = np.array([TOKEN_MIN, -1, 0, TOKEN_MAX], dtype=np.int64)
    assert biased_of(tokens).tolist() == [0, 2**63 - 1, 2**63, 2**64 - 1]
    assert unbiased_of(biased_of(tokens)).tolist() == tokens.tolist()
