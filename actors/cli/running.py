"""`shardpost up`, and what runs a platform in the foreground.

Ray is imported only inside, after its environment is prepared, so that a query starts at once.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from actors.cli.exit_codes import ExitCode
from actors.cli.home import make_home
from actors.cli.options import DataOption, HostsOption, JsonOption, StoreOption
from cluster.local.platform_lock import is_held, read_platform
from cluster.runtime.logging import configure_logging
from cluster.runtime.ray_environment import prepare_ray_environment
from cluster.runtime.settings import Settings, load_settings
from cluster.runtime.store_kind import StoreKind

if TYPE_CHECKING:
    from actors.head_watch import HeadWatch
    from actors.platform import Platform


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    from actors.cli.demo import demo

    app.command()(demo)


# --- up -------------------------------------------------------------------------------------------


def up(
    data: DataOption = None,
    store: StoreOption = None,
    hosts: HostsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the platform in the foreground until Ctrl-C, which drains it."""
    settings = load_settings(data=data, store=store, hosts=hosts)
    asyncio.run(_up(settings, as_json=as_json))


async def _up(settings: Settings, *, as_json: bool) -> None:
    console = Console(soft_wrap=True)
    async with running_platform(settings) as (platform, watch):
        told = {
            "data": str(settings.data.absolute()),
            "store": settings.store.value,
            "dashboard": platform.dashboard_url,
            "pid": os.getpid(),
            "logs": platform.logs,
        }
        if as_json:
            print(json.dumps(told), flush=True)  # noqa: T201
        else:
            console.print(f"The platform runs on {_shown_store(settings)}.", highlight=False)
            if platform.dashboard_url:
                token = settings.data.absolute() / "ray-token"
                console.print(
                    f"Ray dashboard: {platform.dashboard_url} (it asks for the token in {token})",
                    highlight=False,
                )
            console.print(f"Its processes log to {platform.logs}.", highlight=False)
            console.print("Send with `shardpost send FILE`.  Ctrl-C drains and stops.")
        await watch.keep(stop_asked())
        lanes = await lane_reports(platform)
        if as_json:
            print(json.dumps({"lanes": lanes}), flush=True)  # noqa: T201
        else:
            console.print("Draining: what is claimed is finished, nothing new begins.")


def _shown_store(settings: Settings) -> str:
    folder = str(settings.data.absolute())
    if settings.store is StoreKind.LOCAL:
        return folder
    section = settings.scylla
    return (
        f"ScyllaDB at {', '.join(section.hosts)}, keyspace {section.keyspace}; its folder: {folder}"
    )


@asynccontextmanager
async def running_platform(settings: Settings) -> "AsyncIterator[tuple[Platform, HeadWatch]]":
    """Start the platform of a folder, wait until it is ready; at the end drain and stop it.

    Whatever waits for long while it runs is to be kept by the watch, which raises `PlatformBroken`.
    """
    home = await make_home(settings)
    if not is_held(home.path):
        from actors.ways_out import try_ways_out

        await try_ways_out(settings)
    prepare_ray_environment(settings.data.absolute(), niceness=settings.niceness)
    configure_logging(settings.log_level, settings.log_format)
    from actors.head_watch import HeadWatch
    from actors.platform import Platform
    from cluster.runtime.ray_head import is_head_there

    platform: Platform | None = None
    try:
        platform = Platform.start(settings, home.path, machines=home.machines)
        # From here on a signal asks; it does not break off what is half done.
        listen_for_stop()
    except SystemExit:
        # Ray takes SIGTERM for itself while it starts.  Nothing is claimed yet.
        if platform is not None:
            platform.stop()
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    watch = HeadWatch(partial(is_head_there, read_platform(home.path).ray_address))
    try:
        try:
            await watch.keep(platform.ready())
            yield platform, watch
        finally:
            if not watch.is_head_gone:
                await watch.keep(platform.drain())
    finally:
        platform.stop()


async def lane_reports(platform: "Platform") -> dict[str, Any]:
    """Return what each scheduler says of its lanes; empty if the registry does not answer."""
    from actors.handles import ActorGone

    try:
        reports = (await platform.status())["reports"]
    except ActorGone:
        return {}
    return {
        name: report["lanes"]
        for name, report in reports.items()
        if isinstance(report, dict) and "lanes" in report
    }


_stop = asyncio.Event()


def listen_for_stop() -> None:
    """Take SIGINT and SIGTERM as the wish to stop."""
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, _stop.set)


async def stop_asked() -> None:
    """Wait until somebody wants the platform to stop."""
    await _stop.wait()
