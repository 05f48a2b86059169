"""`shardpost generations`: what it tells of rings and of what lies on them."""

from dataclasses import replace

from actors.cli.generations_command import report_of
from cluster.topology.generation import Node
from cluster.topology.ring import Ring
from cluster.topology.token import TOKEN_MAX, TOKEN_MIN
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.ports import ClockReading
from tests.support.cli_answer import Fill, Shardpost
from tests.support.everything import everything
from tests.support.fake_clock import NOW
from tests.support.topologies import make_generation

FIRST = make_generation(starts_at=NOW)
QUARTER = TOKEN_MIN + (TOKEN_MAX - TOKEN_MIN) // 4
SECOND = replace(
    FIRST,
    number=2,
    starts_at=NOW + 1_000,
    nodes=tuple(Node(name=name, shard_count=3, ignore_msb=12) for name in ("a", "b")),
    ring=Ring.of({"a": [QUARTER], "b": [TOKEN_MAX]}),
)


def test_the_one_in_force_is_the_newest_that_started() -> None:
    def in_force(wall: int) -> list[bool]:
        now = ClockReading(wall=Instant(wall), boot_us=7)
        report = report_of((FIRST, SECOND), (), addresses={}, now=now)
        return [one.in_force for one in report.generations]

    assert in_force(NOW + 999) == [True, False]
    assert in_force(NOW + 1_000) == [False, True]


def test_nodes_tell_their_cores_their_share_and_the_lanes_of_their_generation() -> None:
    lanes = [
        LaneId(2, "a", 0, "sms", "bulk-2"),
        LaneId(2, "a", 2, "sms", "bulk-2"),
        LaneId(1, "a", 0, "sms", "bulk-2"),
    ]
    now = ClockReading(wall=NOW, boot_us=7)
    report = report_of((FIRST, SECOND), lanes, addresses={"a": "10.0.0.1"}, now=now)
    nodes = report.generations[1].nodes
    assert [(one.node, one.address, one.cores, one.lanes) for one in nodes] == [
        ("a", "10.0.0.1", 3, 2),
        ("b", "b", 3, 0),
    ]
    assert [round(one.share, 6) for one in nodes] == [0.25, 0.75]


def test_a_folder_has_the_generation_that_it_was_made_with(
    shardpost: Shardpost, fill: Fill
) -> None:
    data = fill(everything).path
    [told] = shardpost("generations", "--data", data, "--json").json["generations"]
    assert (told["generation"], told["in_force"]) == (1, True)
    lanes = shardpost("lanes", "--data", data, "--json").json["lanes"]
    assert sum(node["lanes"] for node in told["nodes"]) == len(lanes) == 4
    assert round(sum(node["share"] for node in told["nodes"]), 9) == 1
