"""`shardpost doctor`: is this machine, this folder and this platform as it should be?"""

import asyncio
from pathlib import Path
from typing import assert_never

import msgspec
import typer

from actors.cli.exit_codes import ExitCode
from actors.cli.health_checks import (
    Check,
    Verdict,
    check_clock,
    check_core,
    check_disk,
    check_file_system,
    check_permissions,
    check_settings,
    check_trouble,
    check_versions,
    check_warning,
    check_way_out,
    failed,
)
from actors.cli.home import find_home
from actors.cli.open_queries import platform_of
from actors.cli.options import DataOption, JsonOption
from actors.cli.output import write_json, write_line, write_table
from actors.cli.version import read_versions
from cluster.local.data_folder import DataFolder
from cluster.local.inspection import LocalInspection
from cluster.local.platform_lock import PlatformAddress
from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from pipeline.errors import DataFolderUnusable, SettingInvalid
from pipeline.instant import Instant


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All checks; `verdict` is the worst of them."""

    verdict: Verdict
    checks: list[Check]


async def examine(data: Path | None, *, now: Instant) -> DoctorReport:
    """Look at everything; what is wrong is told, not raised."""
    checks = [*check_versions(read_versions()), check_clock()]
    try:
        settings = load_settings(data=data)
    except SettingInvalid as error:
        checks.append(failed("settings", str(error)))
    else:
        checks.append(check_settings(settings))
        match settings.store:
            case StoreKind.LOCAL:
                checks += await _examine_folder(settings, now=now)
            case StoreKind.SCYLLA:
                checks += await _examine_scylla(settings, now=now)
            case other:
                assert_never(other)
    verdicts = {check.verdict for check in checks}
    worst = next((v for v in (Verdict.FAIL, Verdict.WARN) if v in verdicts), Verdict.OK)
    return DoctorReport(verdict=worst, checks=checks)


async def _examine_folder(settings: Settings, *, now: Instant) -> list[Check]:
    path = settings.data.absolute()
    if not path.exists() and path.parent.is_dir():
        checks = [
            Check(
                name="data folder",
                verdict=Verdict.WARN,
                told=f"{path} does not exist",
                advice="`shardpost up` or `shardpost demo` makes it; or name another with --data",
            )
        ]
        return [*checks, check_disk(path.parent), check_file_system(path.parent)]
    try:
        folder = DataFolder.open(path, windows=settings.windows)
    except DataFolderUnusable as error:
        return [failed("data folder", str(error))]
    shape = folder.generation.nodes
    checks = [
        Check(
            name="data folder",
            verdict=Verdict.OK,
            told=f"{path}, {len(shape)} nodes x {shape[0].shard_count} shards",
        ),
        check_permissions(path),
        check_disk(path),
        check_file_system(path),
    ]
    return checks + await _examine_platform(folder, settings, now=now)


async def _examine_scylla(settings: Settings, *, now: Instant) -> list[Check]:
    # Imported only here: it brings the driver.
    from actors.cli.scylla_checks import check_cluster

    path = settings.data.absolute()
    try:
        find_home(settings)
    except DataFolderUnusable as error:
        checks = [Check(name="data folder", verdict=Verdict.WARN, told=str(error))]
    else:
        checks = [
            Check(name="data folder", verdict=Verdict.OK, told=f"{path}, on ScyllaDB"),
            check_permissions(path),
            check_disk(path),
            check_file_system(path),
        ]
    checks += await _examine_process(platform_of(path), settings)
    is_running = platform_of(path) is not None
    return [
        *checks,
        *[one async for one in check_cluster(settings, is_running=is_running, now=now)],
    ]


async def _examine_process(platform: PlatformAddress | None, settings: Settings) -> list[Check]:
    told = "not running; queries need none" if platform is None else f"process {platform.pid}"
    if platform is not None and platform.logs:
        told += f", logs in {platform.logs}"
    checks = [Check(name="platform", verdict=Verdict.OK, told=told)]
    if platform is None:
        # What connectors are made of takes a while to load, and no other question needs it.
        from actors.ways_out import refused_ways_out

        return checks + [check_way_out(refusal) async for refusal in refused_ways_out(settings)]
    return [
        *checks,
        *map(check_trouble, platform.troubles),
        *map(check_warning, platform.warnings),
    ]


async def _examine_platform(folder: DataFolder, settings: Settings, *, now: Instant) -> list[Check]:
    platform = platform_of(folder.path)
    checks = await _examine_process(platform, settings)
    store = LocalInspection(folder)
    try:
        for core in folder.generation.cores:
            checks += await check_core(
                store,
                core,
                wal_bytes=_wal_bytes(folder.core_path(core)),
                is_running=platform is not None,
                heartbeat_ms=settings.windows.heartbeat_ms,
                now=now,
            )
    finally:
        await store.close()
    return checks


def _wal_bytes(core_path: Path) -> int:
    try:
        return core_path.with_name(core_path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def show_doctor(report: DoctorReport) -> None:
    """Write the report for a person."""
    write_table(
        ("verdict", "check", "what"),
        [(check.verdict.value, check.name, check.told) for check in report.checks],
    )
    advice = [check for check in report.checks if check.advice is not None]
    if advice:
        write_line()
        for check in advice:
            write_line(f"{check.name}: {check.advice}")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("doctor")
    def _command(data: DataOption = None, as_json: JsonOption = False) -> None:
        """Look at the machine, the data folder, the settings and the running platform."""
        report = asyncio.run(examine(data, now=SystemClock().now()))
        if as_json:
            write_json(report)
        else:
            show_doctor(report)
        if report.verdict is Verdict.FAIL:
            raise typer.Exit(ExitCode.FINDINGS)
