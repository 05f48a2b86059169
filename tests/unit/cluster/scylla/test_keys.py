"""Keys of lanes and cores: where they lie, and that no two meet."""

from dataclasses import replace

import pytest

from cluster.scylla.keys import Keys, Kind
from cluster.topology.generation import Core, CoreUnknown, Generation
from pipeline.lane_id import LaneId
from tests.support.topologies import make_generation

GENERATION = make_generation()
# One node more, other tokens, and another number of cores.
NEXT = replace(
    make_generation(node_names=("node-a", "node-b", "node-c"), shard_count=3, seed=2), number=2
)


def test_every_key_of_a_lane_lies_on_its_core_and_is_its_own() -> None:
    keys = Keys([GENERATION])
    found = set()
    for core in GENERATION.cores:
        for band in ("urgent", "bulk-3"):
            lane = LaneId(GENERATION.number, core.node, core.shard, "sms", band)
            for kind in Kind:
                for number in (0, 1, 28_333_333, 1 << 40):
                    key = keys.of_lane(lane, kind, number)
                    assert GENERATION.core_of(key.bytes) == core
                    found.add(key)
    assert len(found) == len(GENERATION.cores) * 2 * len(Kind) * 4


def test_every_key_of_a_core_lies_on_it_and_is_its_own() -> None:
    keys = Keys([GENERATION])
    found = {
        core: [
            keys.of_core(core, what, part) for what in ("lanes", "owners") for part in (b"", b"a")
        ]
        for core in GENERATION.cores
    }
    for core, mine in found.items():
        assert {GENERATION.core_of(key.bytes) for key in mine} == {core}
    assert len({key for mine in found.values() for key in mine}) == len(GENERATION.cores) * 4


def test_a_lane_keeps_its_keys() -> None:
    core = GENERATION.cores[0]
    lane = LaneId(1, core.node, core.shard, "sms", "urgent")
    # Rows lie under it in every cluster that there is.
    assert (
        Keys([GENERATION]).of_lane(lane, Kind.SEGMENT, 7).hex == "12efa01412647f6288668c3884befbaa"
    )


def test_a_lane_of_a_generation_that_is_not_known_is_refused() -> None:
    core = GENERATION.cores[0]
    with pytest.raises(CoreUnknown, match="not known"):
        Keys([GENERATION]).of_lane(LaneId(2, core.node, core.shard, "sms", "urgent"), Kind.BUFFER)


def test_each_lane_lies_in_the_ring_of_its_own_generation() -> None:
    keys = Keys([GENERATION, NEXT])
    for generation in (GENERATION, NEXT):
        alone = Keys([generation])
        for core in generation.cores:
            lane = LaneId(generation.number, core.node, core.shard, "sms", "urgent")
            key = keys.of_lane(lane, Kind.BUFFER, 5)
            assert generation.core_of(key.bytes) == core
            assert key == alone.of_lane(lane, Kind.BUFFER, 5)


def test_what_belongs_to_a_core_stays_when_a_generation_follows() -> None:
    before, after = Keys([GENERATION]), Keys([NEXT, GENERATION])
    for core in GENERATION.cores:
        assert after.of_core(core, "owners") == before.of_core(core, "owners")
    for core in set(NEXT.cores) - set(GENERATION.cores):
        assert NEXT.core_of(after.of_core(core, "owners").bytes) == core
        with pytest.raises(CoreUnknown, match="owns nothing in any generation"):
            before.of_core(core, "owners")


def test_a_core_that_owned_nothing_lies_where_it_owned_something_first() -> None:
    empty = Generation(
        number=1,
        starts_at=0,
        prompt_ms=GENERATION.prompt_ms,
        nodes=NEXT.nodes,
        ring=GENERATION.ring,
    )
    core = Core("node-c", 0)
    assert empty.owns_nothing(core)
    key = Keys([empty, NEXT]).of_core(core, "owners")
    assert NEXT.core_of(key.bytes) == core
