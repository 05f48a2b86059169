"""Instants and the ids that order rows: the border between them, to the tick."""

from uuid import UUID

import pytest

from cluster.scylla.instants import FIRST_ID, instant_of, last_before, last_of, order_of
from pipeline.instant import Instant

AT = Instant(1_700_000_000_123_456)
# 100 ns from 1582 to 1970, from RFC 4122.
EPOCH = 122_192_928_000_000_000


def id_at(ticks: int, low: int) -> UUID:
    return UUID(
        int=(ticks & 0xFFFFFFFF) << 96
        | (ticks >> 32 & 0xFFFF) << 80
        | (1 << 12 | ticks >> 48) << 64
        | low
    )


# As servers make them, and the two that sort at the ends.
LOWS = [0x8080808080808080, 0x8000000000000000 | 0x1234, 0xBFFF7F7F7F7F7F7F, 0x7F7F7F7F7F7F7F7F]


@pytest.mark.parametrize("low", LOWS)
def test_a_span_has_every_id_of_its_instants_and_no_other(low: int) -> None:
    first, last = last_before(AT), last_of(AT)
    for tick in range(10):
        id_ = id_at(EPOCH + AT * 10 + tick, low)
        assert instant_of(id_) == AT
        assert order_of(first) < order_of(id_) <= order_of(last)
    assert order_of(id_at(EPOCH + AT * 10 - 1, low)) <= order_of(first)
    assert order_of(id_at(EPOCH + AT * 10 + 10, low)) > order_of(last)


def test_ids_of_one_tick_are_in_the_order_of_signed_bytes() -> None:
    ids = [id_at(EPOCH, low) for low in (0x7F << 56, 0x00, 0xFF << 56, 0x80 << 56)]
    assert sorted(ids, key=order_of) == list(reversed(ids))


def test_ids_are_of_the_version_that_servers_accept() -> None:
    for id_ in (FIRST_ID, last_before(AT), last_of(AT), last_of(Instant(1 << 62))):
        assert id_.version == 1 or id_.int >> 76 & 0xF == 1


def test_the_first_id_comes_before_all_and_what_is_beyond_the_last_is_the_last() -> None:
    assert order_of(FIRST_ID) < order_of(last_before(Instant(0)))
    assert order_of(last_of(Instant(1 << 62))) == max(
        order_of(id_at((1 << 60) - 1, low)) for low in LOWS
    )
