"""`shardpost status`: is it running, what became of the messages, what lags."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from actors.cli.lane_reading import look_at_lanes, sum_of
from actors.cli.open_queries import OpenQueries, open_queries
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import (
    shown_instant,
    shown_span,
    write_fields,
    write_json,
    write_line,
    write_table,
)
from cluster.runtime.clock import SystemClock
from pipeline.instant import Instant, earlier, elapsed_ms
from pipeline.lifecycle import MessageState

_DAY_BOOKS: Final = "day:"
# A beat may be late; who was not heard of for this many is not counted as alive.
_BEATS_MISSED_MAX: Final = 3
_WATCH_S: Final = 1.0
_CLEAR_SCREEN: Final = "\x1b[H\x1b[2J"

# A message enters the books when it is named; before, it is part of the lag.
BOOKED_STATES: Final = tuple(state for state in MessageState if state != MessageState.ACCEPTED)


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the platform stands."""

    data: str
    is_running: bool
    pid: int | None
    dashboard_url: str | None
    accepted: int  # named by a journal, over all states
    states: dict[str, int]
    lag: int  # in a buffer, not yet named
    not_due: int  # in the timers, wait for their time
    oldest_in_lag_at: str | None
    oldest_in_lag_ms: int | None
    lanes: int
    lanes_lagging: int
    rows_missed: int  # below an offset, found and taken up later; there should be none
    lanes_set_aside: list[str]  # that cannot be read
    owners_alive: int
    troubles: list[str]  # of the running platform: what somebody should look at
    warnings: list[str]  # and what though work goes on


async def read_status(queries: OpenQueries, *, now: Instant) -> StatusReport:
    """Return how the platform stands."""
    platform = queries.platform()
    view = await look_at_lanes(queries.store, book_prefix=_DAY_BOOKS)
    counts = sum_of(view.books)
    alive: set[bytes] = set()
    if platform is not None:
        heartbeat_ms = queries.settings.windows.heartbeat_ms
        for core in queries.generation.cores:
            heard = await queries.store.heard(core)
            since = earlier(now, (_BEATS_MISSED_MAX + 1) * heartbeat_ms)
            alive |= {owner for owner, at in heard.items() if at >= since}
    oldest = min(
        (lane.oldest_unnamed for lane in view.lanes if lane.oldest_unnamed is not None),
        default=None,
    )
    return StatusReport(
        data=str(queries.path),
        is_running=platform is not None,
        pid=None if platform is None else platform.pid,
        dashboard_url=(platform.dashboard_url or None) if platform is not None else None,
        accepted=counts.total(),
        states={state.value: counts[state] for state in BOOKED_STATES},
        lag=view.unnamed_count,
        not_due=await _count_not_due(queries),
        oldest_in_lag_at=None if oldest is None else shown_instant(oldest),
        oldest_in_lag_ms=None if oldest is None else elapsed_ms(since=oldest, until=now),
        lanes=len(view.lanes),
        lanes_lagging=sum(lane.unnamed_count > 0 for lane in view.lanes),
        rows_missed=sum(lane.missed_count for lane in view.lanes),
        lanes_set_aside=[str(lane.lane) for lane in view.lanes if lane.fault is not None],
        owners_alive=len(alive),
        troubles=[] if platform is None else list(platform.troubles),
        warnings=[] if platform is None else list(platform.warnings),
    )


async def _count_not_due(queries: OpenQueries) -> int:
    count = 0
    for lane in await queries.store.list_lanes():
        count += sum((await queries.store.count_untold_timers(lane)).values())
    return count


def show_status(report: StatusReport) -> None:
    """Write the report for a person."""
    running = f"running, process {report.pid}" if report.is_running else "not running"
    if report.dashboard_url:
        running += f", dashboard {report.dashboard_url}"
    lag = f"{report.lag:,}"
    if report.oldest_in_lag_ms is not None:
        lag += f", the oldest for {shown_span(report.oldest_in_lag_ms * 1_000)}"
    lanes = f"{report.lanes:,}, {report.lanes_lagging:,} of them lag"
    if report.lanes_set_aside:
        lanes += (
            f", {len(report.lanes_set_aside):,} set aside as they cannot be read:"
            " `shardpost lanes` says why"
        )
    write_fields(
        {
            "data": report.data,
            "platform": running,
            "owners alive": report.owners_alive,
            "lanes": lanes,
            "lag": lag,
            **({"not due yet": report.not_due} if report.not_due else {}),
        }
    )
    if report.troubles or report.warnings:
        write_line()
        for trouble in report.troubles:
            write_line(f"TROUBLE: {trouble}")
        for warning in report.warnings:
            write_line(f"WARNING: {warning}")
    if report.rows_missed:
        write_line()
        write_line(
            f"{report.rows_missed:,} rows were missed and taken up later: `shardpost lanes` says"
            " where."
        )
    write_line()
    rows: list[tuple[str, int]] = [(state, n) for state, n in report.states.items() if n]
    write_table(("state", "messages"), [*rows, ("accepted", report.accepted)])


async def watch(
    look: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]], *, clear: bool
) -> None:
    """Look, wait, look again, until somebody interrupts."""
    while True:
        if clear:
            sys.stdout.write(_CLEAR_SCREEN)
        await look()
        sys.stdout.flush()
        await pause()


async def _status(data: Path | None, *, is_watching: bool, as_json: bool) -> None:
    async with open_queries(data) as queries:
        clock = SystemClock()

        async def look() -> None:
            report = await read_status(queries, now=clock.now())
            if as_json:
                write_json(report)
            else:
                show_status(report)

        if not is_watching:
            await look()
            return
        clear = sys.stdout.isatty() and not as_json
        await watch(look, lambda: asyncio.sleep(_WATCH_S), clear=clear)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("status")
    def _command(
        data: DataOption = None,
        is_watching: Annotated[
            bool, typer.Option("--watch", help="Look every second until Ctrl-C.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Show whether the platform runs, the books of all messages, and the lag."""
        asyncio.run(_status(data, is_watching=is_watching, as_json=as_json))
