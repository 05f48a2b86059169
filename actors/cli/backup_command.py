"""`shardpost backup` and `shardpost restore`: copies of a data folder."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.cli.options import DataOption, JsonOption
from actors.cli.output import shown_instant, write_json, write_line
from cluster.local.backup import back_up
from cluster.local.backup import restore as bring_back
from cluster.local.data_folder import DataFolder
from cluster.runtime.clock import SystemClock
from cluster.runtime.settings import Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from pipeline.errors import InputInvalid


class BackupReport(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that was taken."""

    path: str
    taken_at: str
    length_bytes: int


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that was made of a copy; what waited up to `restored_at` is not sent by itself."""

    data: str
    restored_at: str | None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    path: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the data folder; a platform may run meanwhile."""
    settings = _embedded(load_settings(data=data))
    taken = back_up(DataFolder.open(settings.data.absolute()), path, now=SystemClock().now())
    report = BackupReport(
        path=str(taken.path),
        taken_at=shown_instant(taken.taken_at),
        length_bytes=taken.length_bytes,
    )
    if as_json:
        write_json(report)
    else:
        write_line(
            f"Copied to {report.path}: {report.length_bytes:,} bytes, as of {report.taken_at}."
        )


def _embedded(settings: Settings) -> Settings:
    if settings.store is not StoreKind.LOCAL:
        raise InputInvalid(
            "the messages lie on ScyllaDB: take and restore a backup with its own tools"
            " (docs/operating/scylladb.md)"
        )
    return settings


def restore(
    path: Annotated[Path, typer.Argument(help="A folder that `backup` made.")],
    is_nothing_sent_since: Annotated[
        bool,
        typer.Option(
            "--nothing-sent-since",
            help="You know that nothing was handed over since it was taken: send what waits in it.",
        ),
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data folder of a backup; the folder of --data must not be there, or be empty."""
    settings = _embedded(load_settings(data=data))
    folder = bring_back(
        path,
        settings.data.absolute(),
        now=SystemClock().now(),
        is_nothing_sent_since=is_nothing_sent_since,
    )
    restored_at = None if folder.restored_at is None else shown_instant(folder.restored_at)
    report = RestoreReport(data=str(folder.path), restored_at=restored_at)
    if as_json:
        write_json(report)
        return
    write_line(f"{report.data} is a data folder again.")
    if restored_at is not None:
        write_line(
            "What waits in it may have been handed over after the backup was taken, by the platform"
            " that ran then; look at its providers before you start one on this folder."
        )
