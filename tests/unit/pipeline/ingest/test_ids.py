"""Ids are stored and made again from the same keys, so that they never change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.ids import (
    batch_ids,
    born_of,
    chunk_id,
    id_of_return_key,
    keyed_id,
    minted_id,
    return_key,
)
from pipeline.instant import Instant
from pipeline.limits import BATCH_MESSAGES_MAX
from pipeline.message import MessageId

BORN = Instant(1_700_000_000_123_456)
SECRET = b"a secret of the platform"


# --- golden values --------------------------------------------------------------------------------


def test_a_minted_id_has_the_layout_of_uuid_version_7() -> None:
    assert minted_id(born=BORN, chance=bytes(10)).hex() == "018bcfe5687b70008000000000000000"
    assert minted_id(born=BORN, chance=b"\xff" * 10).hex() == "018bcfe5687b7fffbfffffffffffffff"
    assert minted_id(born=BORN, chance=bytes(range(10))).hex() == "018bcfe5687b70018203040506070809"


def test_the_id_of_a_key_never_changes() -> None:
    assert keyed_id(tenant="acme", key=b"order-1").hex() == "28341672df242e85588cd6313fa0f30a"


def test_the_ids_of_a_batch_never_change() -> None:
    ids = batch_ids(tenant="acme", batch_key=b"file-1", indexes=[0, 1, BATCH_MESSAGES_MAX - 1])
    assert [id_.hex() for id_ in ids] == [
        "cb149df63455f98d41c5340000000000",
        "cb149df63455f98d41c5340000000001",
        "cb149df63455f98d41c534ffffffffff",
    ]


def test_the_id_of_a_chunk_never_changes() -> None:
    chunk = chunk_id(tenant="acme", batch_key=b"file-1", first_index=1_000)
    assert chunk.hex() == "2190ff96e58c32957f78e64253ff1f95"


def test_the_return_key_never_changes() -> None:
    id_ = MessageId(bytes.fromhex("28341672df242e85588cd6313fa0f30a"))
    assert (
        return_key(b"secret", tenant="acme", message_id=id_).hex()
        == "28341672df242e85588cd6313fa0f30a9ad1b1a844d14d9c"
    )


# --- minted ---------------------------------------------------------------------------------------


def test_a_minted_id_holds_its_birth_to_the_millisecond() -> None:
    id_ = minted_id(born=BORN, chance=bytes(10))
    assert born_of(id_) == BORN - 456


def test_minted_ids_sort_by_birth() -> None:
    older = minted_id(born=BORN, chance=b"\xff" * 10)
    newer = minted_id(born=Instant(BORN + 1_000), chance=bytes(10))
    assert older < newer


@pytest.mark.parametrize("count", [0, 9, 11])
def test_minting_takes_ten_random_bytes(count: int) -> None:
    with pytest.raises(AssertionError):
        minted_id(born=BORN, chance=bytes(count))


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_different_chance_gives_different_ids_but_for_the_six_fixed_bits(
    one: bytes, other: bytes
) -> None:
    def free_bits(chance: bytes) -> int:
        return int.from_bytes(chance) & ~(0xF << 76) & ~(0x3 << 62)

    is_same = minted_id(born=BORN, chance=one) == minted_id(born=BORN, chance=other)
    assert is_same == (free_bits(one) == free_bits(other))


# --- from keys ------------------------------------------------------------------------------------

tenants = st.text("ab/\0", min_size=0, max_size=4)
keys = st.binary(min_size=0, max_size=6)


@given(tenants, keys, tenants, keys)
def test_tenants_and_keys_are_kept_apart(
    tenant: str, key: bytes, other_tenant: str, other_key: bytes
) -> None:
    is_same = (tenant, key) == (other_tenant, other_key)
    assert (keyed_id(tenant=tenant, key=key) == keyed_id(tenant=other_tenant, key=other_key)) == (
        is_same
    )
    ids, other_ids = (
        batch_ids(tenant=t, batch_key=k, indexes=[7])
        for t, k in ((tenant, key), (other_tenant, other_key))
    )
    assert (ids == other_ids) == is_same
    chunks = [
        chunk_id(tenant=t, batch_key=k, first_index=0)
        for t, k in ((tenant, key), (other_tenant, other_key))
    ]
    assert (chunks[0] == chunks[1]) == is_same


def test_a_tenants_name_cannot_run_into_its_key() -> None:
    assert keyed_id(tenant="acme", key=b"1") != keyed_id(tenant="acme1", key=b"")
    assert keyed_id(tenant="", key=b"acme") != keyed_id(tenant="acme", key=b"")


def test_purposes_are_kept_apart() -> None:
    one_key = keyed_id(tenant="acme", key=b"k")
    chunk = chunk_id(tenant="acme", batch_key=b"k", first_index=0)
    (in_batch,) = batch_ids(tenant="acme", batch_key=b"k", indexes=[0])
    assert len({one_key, chunk, in_batch}) == 3
    assert in_batch[:11] not in (one_key[:11], chunk[:11])


def test_chunks_of_a_batch_are_kept_apart() -> None:
    firsts = range(0, 10_000, 1_000)
    assert len({chunk_id(tenant="a", batch_key=b"k", first_index=n) for n in firsts}) == 10


@given(st.lists(st.integers(0, BATCH_MESSAGES_MAX - 1), unique=True, max_size=20))
def test_indexes_of_a_batch_are_kept_apart_and_in_order(indexes: list[int]) -> None:
    ids = batch_ids(tenant="acme", batch_key=b"k", indexes=indexes)
    assert {len(id_) for id_ in ids} <= {16}
    assert [int.from_bytes(id_[11:]) for id_ in ids] == indexes
    assert sorted(ids) == batch_ids(tenant="acme", batch_key=b"k", indexes=sorted(indexes))


def test_an_index_that_does_not_fit_is_a_mistake() -> None:
    with pytest.raises(OverflowError):
        batch_ids(tenant="acme", batch_key=b"k", indexes=[BATCH_MESSAGES_MAX])


# --- keys to return -------------------------------------------------------------------------------

ID = minted_id(born=BORN, chance=bytes(range(10)))
KEY = return_key(SECRET, tenant="acme", message_id=ID)


def test_a_key_that_was_given_out_leads_back_to_its_id() -> None:
    assert id_of_return_key(SECRET, tenant="acme", key=KEY) == ID


@pytest.mark.parametrize(
    ("secret", "tenant", "key"),
    [
        pytest.param(SECRET, "other", KEY, id="another tenant"),
        pytest.param(b"another secret", "acme", KEY, id="another platform"),
        pytest.param(SECRET, "acme", bytes([KEY[0] ^ 1]) + KEY[1:], id="another id"),
        pytest.param(SECRET, "acme", KEY[:-1] + bytes([KEY[-1] ^ 1]), id="another MAC"),
        pytest.param(SECRET, "acme", KEY[:-1], id="a MAC cut short"),
        pytest.param(SECRET, "acme", KEY + b"\0", id="something behind it"),
        pytest.param(SECRET, "acme", KEY[:16], id="no MAC"),
        pytest.param(SECRET, "acme", b"", id="nothing"),
    ],
)
def test_nobody_can_make_a_key_up(secret: bytes, tenant: str, key: bytes) -> None:
    assert id_of_return_key(secret, tenant=tenant, key=key) is None
