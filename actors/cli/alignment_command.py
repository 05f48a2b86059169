"""`shardpost alignment`: which share of the statements the owning core served."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer

from actors.cli.home import find_home
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import write_fields, write_json, write_line, write_table
from actors.cli.platform_watch import PlatformWatch
from cluster.local.platform_lock import read_platform, takes_messages
from cluster.runtime.logging import configure_logging
from cluster.runtime.ray_environment import prepare_ray_environment
from cluster.runtime.settings import LogLevel, Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from pipeline.errors import InputInvalid

_LOOK_AGAIN_S = 0.5


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What one process saw, of the statements that it looked at."""

    process: str
    own: int
    elsewhere: int


class AlignmentReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    looked_at: int
    own: int
    share: float | None  # None: nothing was looked at
    elsewhere: dict[str, int]  # by statement
    processes: list[Served]


Counts = Mapping[str, tuple[int, Mapping[str, int]]]  # by process


def report_of(counts: Counts, *, before: Counts) -> AlignmentReport:
    """Return what was counted since `before`; processes that came later are whole in it."""
    processes, elsewhere = [], Counter[str]()
    for process, (own, others) in sorted(counts.items()):
        own_before, others_before = before.get(process, (0, {}))
        new = Counter(others)
        new.subtract(others_before)
        processes.append(Served(process=process, own=own - own_before, elsewhere=sum(new.values())))
        elsewhere.update({name: count for name, count in new.items() if count > 0})
    own_all = sum(one.own for one in processes)
    looked_at = own_all + sum(one.elsewhere for one in processes)
    return AlignmentReport(
        looked_at=looked_at,
        own=own_all,
        share=own_all / looked_at if looked_at else None,
        elsewhere=dict(elsewhere.most_common()),
        processes=processes,
    )


def show_alignment(report: AlignmentReport) -> None:
    """Write the report for a person."""
    share = "-" if report.share is None else f"{report.share:.4%}"
    write_fields(
        {
            "statements looked at": report.looked_at,
            "served by the owner": report.own,
            "share": share,
        }
    )
    write_line()
    write_table(
        ("process", "own", "elsewhere"),
        [(one.process, one.own, one.elsewhere) for one in report.processes],
    )
    if report.elsewhere:
        write_line()
        write_table(("served elsewhere", "count"), list(report.elsewhere.items()))


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("alignment")
    def _command(
        seconds: Annotated[
            float | None,
            typer.Option(
                min=1,
                max=3_600,
                help="Count for so long.",
                show_default="since each process started",
            ),
        ] = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show which share of its statements the owning core of ScyllaDB served.

        One of eleven is looked at.  What another core served took a detour: it is as right, and
        cost more.
        """
        settings = load_settings(data=data)
        if settings.store is not StoreKind.SCYLLA:
            raise InputInvalid("an embedded store has no cores to be served by: nothing to measure")
        report = _measure(settings, seconds)
        if as_json:
            write_json(report)
        else:
            show_alignment(report)


def _measure(settings: Settings, seconds: float | None) -> AlignmentReport:
    path = find_home(settings)
    address = read_platform(path)
    prepare_ray_environment(path, niceness=0)
    configure_logging(LogLevel.WARNING, settings.log_format)
    from cluster.runtime.embedded_ray import join_embedded_ray, stop_ray

    join_embedded_ray(address=address.ray_address, namespace=address.namespace)
    watch = PlatformWatch(
        lambda: takes_messages(path), advice="start it with `shardpost up`, then measure again"
    )
    try:
        return asyncio.run(watch.keep(_counted(seconds)))
    finally:
        stop_ray()


async def _counted(seconds: float | None) -> AlignmentReport:
    before: Counts = {}
    if seconds is not None:
        before = await _counts()
        await asyncio.sleep(seconds)
    return report_of(await _counts(), before=before)


async def _counts() -> Counts:
    from actors.handles import ActorGone, find_registry

    while True:
        registry = find_registry()
        try:
            if registry is not None:
                status = await registry.status()
                return {
                    place: served
                    for place, name in status["running"].items()
                    if (served := _served_of(status["reports"].get(name))) is not None
                }
        except ActorGone:
            pass
        # Ray starts one that died again; the watch ends it where there will be none.
        await asyncio.sleep(_LOOK_AGAIN_S)


def _served_of(report: Mapping[str, Any] | None) -> tuple[int, Mapping[str, int]] | None:
    return None if report is None else report.get("served")
