"""`shardpost generations`: the pictures of the ring that messages are placed by."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import typer

from actors.cli.open_queries import open_queries
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import shown_instant, write_json, write_table
from cluster.runtime.clock import SystemClock
from cluster.topology.generation import Generation
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.ports import ClockReading
from pipeline.turnover import Picture


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One node, as a generation has it."""

    node: str
    address: str  # its name where it has none, or is gone
    cores: int
    share: float  # of all tokens
    lanes: int  # that were announced on it


class GenerationReport(msgspec.Struct, frozen=True, kw_only=True):
    """One generation."""

    generation: int
    starts_at: str
    in_force: bool
    prompt_ms: int
    nodes: list[NodeReport]


class GenerationsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All generations, oldest first."""

    generations: list[GenerationReport]


def report_of(
    generations: Sequence[Generation],
    lanes: Sequence[LaneId],
    *,
    addresses: Mapping[str, str],
    now: ClockReading,
) -> GenerationsReport:
    """Return what is told of generations that were read just now; raises `GenerationsAltered`."""
    picture = Picture.of(generations, began_boot_us=now.boot_us, ended_boot_us=now.boot_us)
    in_force = picture.generation_by_clock(now.wall).number
    announced = Counter((lane.generation, lane.node) for lane in lanes)
    return GenerationsReport(
        generations=[
            GenerationReport(
                generation=one.number,
                starts_at=shown_instant(Instant(one.starts_at)),
                in_force=one.number == in_force,
                prompt_ms=one.prompt_ms,
                nodes=[
                    NodeReport(
                        node=node.name,
                        address=addresses.get(node.name, node.name),
                        cores=node.shard_count,
                        share=one.ring.share_of(node.name),
                        lanes=announced[one.number, node.name],
                    )
                    for node in one.nodes
                ],
            )
            for one in picture.generations
        ]
    )


def show_generations(report: GenerationsReport) -> None:
    """Write the report for a person: a line for each node of each generation."""
    write_table(
        ("generation", "from", "in force", "node", "cores", "share", "lanes"),
        [
            (
                one.generation,
                one.starts_at,
                "yes" if one.in_force else "no",
                node.address,
                node.cores,
                f"{node.share:.1%}",
                node.lanes,
            )
            for one in report.generations
            for node in one.nodes
        ],
    )


async def _generations(data: Path | None, *, as_json: bool) -> None:
    async with open_queries(data) as queries:
        lanes = await queries.store.list_lanes()
        # Read after the lanes: none of them is of a generation that is not there.
        generations = await queries.store.read_generations()
        now = SystemClock().reading()
        report = report_of(generations, lanes, addresses=queries.addresses, now=now)
    if as_json:
        write_json(report)
    else:
        show_generations(report)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("generations")
    def _command(data: DataOption = None, as_json: JsonOption = False) -> None:
        """Show the generations: the nodes, cores and ring that messages are placed by."""
        asyncio.run(_generations(data, as_json=as_json))
