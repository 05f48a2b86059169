"""The stored form of a generation."""

import pytest

from cluster.topology.generation import Generation, GenerationInvalid, GenerationTooNew, Node
from cluster.topology.ring import Ring
from tests.support.seed import seeded_random
from tests.support.topologies import make_generation, make_random_generation

GENERATION = Generation(
    number=3,
    starts_at=1_700_000_000_000_000,
    prompt_ms=3_000,
    nodes=(
        Node(name="b", shard_count=3, ignore_msb=12),
        Node(name="a", shard_count=2, ignore_msb=11),
        Node(name="without-tokens", shard_count=1, ignore_msb=12),
    ),
    ring=Ring.of({"a": [7, -9_223_372_036_854_775_808], "b": [9_223_372_036_854_775_807]}),
)
FORM_1 = (
    b'{"version":1,"number":3,"starts_at":1700000000000000,"prompt_ms":3000,"nodes":['
    b'{"name":"a","shard_count":2,"ignore_msb":11,"tokens":[-9223372036854775808,7]},'
    b'{"name":"b","shard_count":3,"ignore_msb":12,"tokens":[9223372036854775807]},'
    b'{"name":"without-tokens","shard_count":1,"ignore_msb":12,"tokens":[]}]}'
)


def test_the_form_stays_the_same_in_every_version() -> None:
    assert GENERATION.encode() == FORM_1
    assert Generation.decode(FORM_1) == GENERATION


def test_a_generation_comes_back_as_it_was() -> None:
    for generation in (
        make_generation(),
        make_random_generation(seeded_random(), node_count=6, vnodes_per_node_max=30),
    ):
        back = Generation.decode(generation.encode())
        assert back == generation
        assert back.encode() == generation.encode()


def test_the_form_of_a_later_program_is_refused_by_its_version() -> None:
    later = FORM_1.replace(b'"version":1', b'"version":2').replace(b'"nodes"', b'"places"')
    with pytest.raises(GenerationTooNew, match="form 2, this program reads up to 1") as caught:
        Generation.decode(later)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"{}",
        FORM_1[:-1],
        FORM_1.replace(b'"version":1,', b""),
        FORM_1.replace(b'"version":1', b'"version":0'),
        FORM_1.replace(b'"version":1', b'"version":"1"'),
        FORM_1.replace(b'"number":3', b'"number":0'),
        FORM_1.replace(b'"number":3', b'"number":3.5'),
        FORM_1.replace(b'"prompt_ms":3000,', b""),
        FORM_1.replace(b'"prompt_ms":3000', b'"prompt_ms":3000,"stranger":1'),
        FORM_1.replace(b'"ignore_msb":11', b'"ignore_msb":64'),
        FORM_1.replace(b'"ignore_msb":11', b'"ignore_msb":11,"stranger":1'),
        FORM_1.replace(b'"name":"a"', b'"name":"b"'),
        FORM_1.replace(b'"name":"a"', b'"name":"a.b"'),
        FORM_1.replace(b",7]", b",9223372036854775807]"),
        FORM_1.replace(b",7]", b",9223372036854775808]"),
    ],
)
def test_bytes_that_are_no_generation_are_refused(encoded: bytes) -> None:
    with pytest.raises(GenerationInvalid) as caught:
        Generation.decode(encoded)
    assert isinstance(caught.value, ValueError)
