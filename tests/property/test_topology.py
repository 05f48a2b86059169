"""What holds for every ring, every shape and every key, however odd."""

from hypothesis import assume, given
from hypothesis import strategies as st

from cluster.topology.generation import Generation, Node
from cluster.topology.ring import Ring
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN

# Tokens that lie close together, and at the ends of the ring, as well as anywhere.
TOKENS = st.one_of(
    st.integers(TOKEN_MIN, TOKEN_MAX),
    st.integers(-20, 20),
    st.integers(TOKEN_MIN, TOKEN_MIN + 5),
    st.integers(TOKEN_MAX - 5, TOKEN_MAX),
)
NONCES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60, unique=True)


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    """Return a generation of up to four nodes, each of its own shape, on any ring."""
    tokens = draw(st.lists(TOKENS, min_size=1, max_size=20, unique=True))
    node_count = draw(st.integers(1, 4))
    nodes = [
        Node(
            name=f"node-{index}",
            shard_count=draw(st.integers(1, 9)),
            ignore_msb=draw(st.one_of(st.integers(0, 16), st.integers(0, 63))),
        )
        for index in range(node_count)
    ]
    tokens_by_node: dict[str, list[int]] = {}
    for token in tokens:
        owner = draw(st.sampled_from(nodes))
        tokens_by_node.setdefault(owner.name, []).append(token)
    return Generation(
        number=draw(st.integers(1, 2**63 - 1)),
        starts_at=draw(st.integers(0, 2**63 - 1)),
        prompt_ms=draw(st.integers(0, 10**6)),
        nodes=tuple(nodes),
        ring=Ring.of(tokens_by_node),
    )


@given(generations(), st.lists(st.binary(min_size=16, max_size=16), max_size=20))
def test_every_key_has_one_core_alone_and_in_batch(
    generation: Generation, keys: list[bytes]
) -> None:
    cores = [generation.core_of(key) for key in keys]
    # Few keys and many go different ways.
    for repeats in (1, 60):
        indexes = generation.core_indexes_of(keys * repeats)
        assert [generation.cores[index] for index in indexes] == cores * repeats
    assert not any(generation.owns_nothing(core) for core in cores)


@given(generations(), NONCES, st.data())
def test_a_forged_key_lies_on_its_core(
    generation: Generation, nonces: list[int], data: st.DataObject
) -> None:
    core = data.draw(st.sampled_from(generation.cores))
    assume(not generation.owns_nothing(core))
    keys = generation.forged_keys(core, nonces)
    assert {generation.core_of(key) for key in keys} == {core}
    assert len(set(keys)) == len(nonces)
    assert keys == [generation.forged_key(core, nonce) for nonce in nonces]


@given(generations())
def test_the_cores_share_all_tokens_without_rest(generation: Generation) -> None:
    counts = [generation.token_count(core) for core in generation.cores]
    assert sum(counts) == 2**64 - 1
    assert [generation.owns_nothing(core) for core in generation.cores] == [
        count == 0 for count in counts
    ]


@given(generations())
def test_a_generation_survives_its_stored_form(generation: Generation) -> None:
    assert Generation.decode(generation.encode()) == generation
