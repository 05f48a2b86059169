"""The bytes of a row, held against those of the driver."""

import struct
from types import SimpleNamespace
from uuid import UUID

import pytest
from cassandra import cqltypes

from cluster.scylla.row_encoding import PROTOCOL_VERSION, RowEncoder
from tests.support.seed import seeded_random

VALUES: list[tuple[type, object]] = [
    (cqltypes.BytesType, b""),
    (cqltypes.BytesType, bytes(range(256))),
    (cqltypes.UUIDType, UUID("9f1c8a52-3b0e-4c6d-8a47-0d5e6f7a8b9c")),
    (cqltypes.TimeUUIDType, UUID("5c1e0b2a-c8f1-11ef-9cd2-0242ac120002")),
    (cqltypes.UTF8Type, "Grüße, \U0001f44b"),
    (cqltypes.Int32Type, -1),
    (cqltypes.Int32Type, 2**31 - 1),
    (cqltypes.LongType, -(2**63)),
    (cqltypes.LongType, 1_800_000_000_000_000),
    (cqltypes.BooleanType, True),
    (cqltypes.BooleanType, False),
]


def prepared(*types: type) -> SimpleNamespace:
    return SimpleNamespace(column_metadata=[SimpleNamespace(type=each) for each in types])


@pytest.mark.parametrize(("cql_type", "value"), VALUES)
def test_a_value_has_the_bytes_that_the_driver_gives_it(cql_type: type, value: object) -> None:
    driver: object = cql_type
    expected = driver.serialize(value, PROTOCOL_VERSION)  # type: ignore[attr-defined]
    assert RowEncoder(prepared(cql_type))([value]) == [expected]


def test_a_key_may_be_given_as_its_bytes() -> None:
    key = seeded_random().randbytes(16)
    encode = RowEncoder(prepared(cqltypes.UUIDType, cqltypes.LongType))
    assert encode([key, 5]) == encode([UUID(bytes=key), 5]) == [key, (5).to_bytes(8)]


@pytest.mark.parametrize("row", [[b"k" * 16], [b"k" * 16, 1, 2], [b"k" * 16, 2**63], [None, 1]])
def test_a_row_of_another_form_is_no_row(row: list[object]) -> None:
    with pytest.raises((ValueError, AttributeError, struct.error)):
        RowEncoder(prepared(cqltypes.UUIDType, cqltypes.LongType))(row)
