"""`shardpost lanes`: every lane, who owns it and how far it came."""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import typer

from actors.cli.lane_reading import LaneView, look_at_lanes
from actors.cli.open_queries import open_queries
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import shown_instant, write_json, write_line, write_table

_OWNER_DIGITS_SHOWN: Final = 8
WHAT_TO_DO: Final = (
    "Nothing of it is handed over, the other lanes go on: run `shardpost audit`, then stop the"
    " platform and restore the data folder from a backup, or run the release that wrote it."
)


class LaneReport(msgspec.Struct, frozen=True, kw_only=True):
    """One lane."""

    lane: str
    generation: int
    node: str
    address: str  # of the node: its name where it has none
    core: int
    channel: str
    band: str
    epoch: int | None  # None: nobody owned it so far; negative: closed
    owner: str | None
    offset_at: str
    lag: int
    entries_unretired: int
    rows_missed: int
    fault: str | None = None  # why it cannot be read: it was set aside, and stands still


class LanesReport(msgspec.Struct, frozen=True, kw_only=True):
    """All lanes."""

    lanes: list[LaneReport]


def lane_report(view: LaneView, *, address: str) -> LaneReport:
    """Return what is told of a lane."""
    lane, ownership = view.lane, view.ownership
    return LaneReport(
        lane=str(lane),
        generation=lane.generation,
        node=lane.node,
        address=address,
        core=lane.shard,
        channel=lane.channel,
        band=lane.band,
        # Of a segment that is closed it is negative.
        epoch=None if ownership is None else abs(ownership.epoch),
        owner=None if ownership is None else ownership.owner.hex(),
        offset_at=shown_instant(view.offset),
        lag=view.unnamed_count,
        entries_unretired=view.unretired_count,
        rows_missed=view.missed_count,
        fault=view.fault,
    )


def show_lanes(report: LanesReport) -> None:
    """Write the report for a person."""
    if not report.lanes:
        write_line("No lanes: nothing was accepted so far.")
        return
    write_table(
        ("node", "core", "channel", "band", "epoch", "owner", "offset", "lag", "un-retired"),
        [
            (
                lane.address,
                lane.core,
                lane.channel,
                lane.band,
                lane.epoch,
                # The first digits are the platform's, the last ones tell its processes apart.
                None if lane.owner is None else "…" + lane.owner[-_OWNER_DIGITS_SHOWN:],
                lane.offset_at,
                lane.lag,
                lane.entries_unretired,
            )
            for lane in report.lanes
        ],
    )
    for lane in report.lanes:
        if lane.rows_missed:
            write_line()
            write_line(
                f"{lane.lane} missed {lane.rows_missed:,} rows and took them up later: that should"
                " never happen.  Run `shardpost audit`."
            )
        if lane.fault is not None:
            write_line()
            write_line(f"{lane.lane} is set aside: {lane.fault}.  {WHAT_TO_DO}")


async def _lanes(data: Path | None, *, as_json: bool) -> None:
    async with open_queries(data) as queries:
        view = await look_at_lanes(queries.store, book_prefix=None)
        lanes = sorted(view.lanes, key=lambda one: one.lane)
        report = LanesReport(
            lanes=[lane_report(one, address=queries.address_of(one.lane.node)) for one in lanes]
        )
    if as_json:
        write_json(report)
    else:
        show_lanes(report)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("lanes")
    def _command(data: DataOption = None, as_json: JsonOption = False) -> None:
        """Show every lane: who owns it, how far it came, its lag."""
        asyncio.run(_lanes(data, as_json=as_json))
