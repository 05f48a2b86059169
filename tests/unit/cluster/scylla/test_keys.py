"""Keys of lanes and cores: where they lie, and that no two meet."""

import pytest

from cluster.scylla.keys import Keys, Kind
from cluster.topology.generation import CoreUnknown
from pipeline.lane_id import LaneId
from tests.support.topologies import make_generation

GENERATION = make_generation()


def test_every_key_of_a_lane_lies_on_its_core_and_is_its_own() -> None:
    keys = Keys(GENERATION)
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
    keys = Keys(GENERATION)
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
    assert Keys(GENERATION).of_lane(lane, Kind.SEGMENT, 7).hex == "12efa01412647f6288668c3884befbaa"


def test_a_lane_of_another_generation_is_refused() -> None:
    core = GENERATION.cores[0]
    with pytest.raises(CoreUnknown, match="not of generation 1"):
        Keys(GENERATION).of_lane(LaneId(2, core.node, core.shard, "sms", "urgent"), Kind.BUFFER)
