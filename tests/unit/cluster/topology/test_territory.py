"""The numbered tokens of one core, against a look at every token."""

import numpy as np
import pytest

from cluster.topology.murmur import fmix
from cluster.topology.ring import TokenRange
from cluster.topology.shard import shard_of
from cluster.topology.territory import Territory
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN, Token

WHOLE_RING = [TokenRange(TOKEN_MIN, TOKEN_MAX)]


def ranges(*borders: int) -> list[TokenRange]:
    return [
        TokenRange(Token(after), Token(through))
        for after, through in zip(borders[::2], borders[1::2], strict=True)
    ]


SMALL_RANGES = [
    pytest.param(ranges(0, 200), id="one"),
    pytest.param(ranges(0, 1, 5, 6, 7, 9, 100, 131), id="narrower than a stripe"),
    pytest.param(ranges(-70, -20, -5, 40), id="around the middle"),
    pytest.param(ranges(TOKEN_MIN, TOKEN_MIN + 50, TOKEN_MAX - 50, TOKEN_MAX), id="at the ends"),
]


@pytest.mark.parametrize("held", SMALL_RANGES)
@pytest.mark.parametrize("shard_count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("ignore_msb", [0, 1, 58, 60, 63])
def test_it_is_the_shards_tokens_of_the_ranges_and_no_others(
    held: list[TokenRange], shard_count: int, ignore_msb: int
) -> None:
    for shard in range(shard_count):
        territory = Territory(held, shard=shard, shard_count=shard_count, ignore_msb=ignore_msb)
        expected = [
            token
            for after, through in held
            for token in range(after + 1, through + 1)
            if shard_of(Token(token), shard_count=shard_count, ignore_msb=ignore_msb) == shard
        ]
        assert territory.token_count == len(expected)
        assert [territory.token_at(number) for number in range(len(expected))] == expected
        ordinals = np.arange(len(expected), dtype=np.uint64)
        if expected:
            assert territory.tokens_at(ordinals).tolist() == expected


@pytest.mark.parametrize("ignore_msb", [0, 1, 12, 63])
@pytest.mark.parametrize("shard_count", [1, 2, 3, 12, 128])
def test_the_shards_of_a_node_share_its_ranges_without_rest(
    shard_count: int, ignore_msb: int
) -> None:
    territories = [
        Territory(WHOLE_RING, shard=shard, shard_count=shard_count, ignore_msb=ignore_msb)
        for shard in range(shard_count)
    ]
    assert sum(territory.token_count for territory in territories) == 2**64 - 1


@pytest.mark.parametrize("ignore_msb", [0, 1, 12, 16])
@pytest.mark.parametrize("shard_count", [1, 2, 3, 128])
def test_its_first_and_last_tokens_are_its_own(shard_count: int, ignore_msb: int) -> None:
    for shard in (0, shard_count - 1):
        territory = Territory(
            WHOLE_RING, shard=shard, shard_count=shard_count, ignore_msb=ignore_msb
        )
        ends = [0, 1, territory.token_count - 2, territory.token_count - 1]
        tokens = [territory.token_at(ordinal) for ordinal in ends]
        assert territory.tokens_at(np.array(ends, dtype=np.uint64)).tolist() == tokens
        assert tokens == sorted(set(tokens))
        assert tokens[0] > TOKEN_MIN
        assert tokens[-1] <= TOKEN_MAX
        assert {
            shard_of(token, shard_count=shard_count, ignore_msb=ignore_msb) for token in tokens
        } == {shard}


MIXED_TO_MASK = 9918480051203340458
# The numbers whose mixes are the smallest and the largest word, and what lies between.
NONCES = [0, 1, 2, 2**32 - 1, 2**32, 2**63, 2**64 - 1, MIXED_TO_MASK]


@pytest.mark.parametrize("shard_count", [1, 2, 3, 12])
@pytest.mark.parametrize("ignore_msb", [0, 1, 12])
def test_a_nonce_stands_for_one_token_alone_and_in_batch(shard_count: int, ignore_msb: int) -> None:
    for shard in range(shard_count):
        territory = Territory(
            [TokenRange(Token(-(2**61)), Token(2**62)), TokenRange(Token(2**62 + 9), TOKEN_MAX)],
            shard=shard,
            shard_count=shard_count,
            ignore_msb=ignore_msb,
        )
        if territory.token_count == 0:
            continue
        tokens = territory.tokens_for(np.array(NONCES, dtype=np.uint64)).tolist()
        assert tokens == [territory.token_for(nonce) for nonce in NONCES]
        assert min(tokens) == territory.token_at(0)
        assert max(tokens) == territory.token_at(territory.token_count - 1)


def test_the_nonces_are_those_they_are_said_to_be() -> None:
    assert fmix(0) == 0
    assert fmix(MIXED_TO_MASK) == 2**64 - 1


def test_nonces_fill_a_territory_evenly() -> None:
    held = ranges(0, 100, 1_000, 1_300)
    territory = Territory(held, shard=0, shard_count=1, ignore_msb=12)
    tokens = territory.tokens_for(np.arange(40_000, dtype=np.uint64))
    _, counts = np.unique(tokens, return_counts=True)
    assert len(counts) == 400
    assert 50 < counts.min() <= counts.max() < 150


def test_a_shard_without_a_stripe_owns_nothing() -> None:
    # Two places a period, three shards.
    counts = [
        Territory(ranges(0, 100), shard=shard, shard_count=3, ignore_msb=63).token_count
        for shard in range(3)
    ]
    assert sorted(counts) == [0, 50, 50]
