"""`shardpost version`: what runs here."""

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version

import msgspec
import typer

from actors.cli.options import JsonOption
from actors.cli.output import write_fields, write_json


class VersionReport(msgspec.Struct, frozen=True, kw_only=True):
    """The versions; None: not installed."""

    shardpost: str | None
    python: str
    ray: str | None
    scylla_driver: str | None
    sqlite: str


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution without importing it, None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def read_versions() -> VersionReport:
    """Return the versions of what runs here."""
    return VersionReport(
        shardpost=installed_version("shardpost"),
        python=platform.python_version(),
        ray=installed_version("ray"),
        scylla_driver=installed_version("scylla-driver"),
        sqlite=sqlite3.sqlite_version,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("version")
    def _version(as_json: JsonOption = False) -> None:
        """Show the versions of the program and of what it runs on."""
        report = read_versions()
        if as_json:
            write_json(report)
        else:
            write_fields(
                {
                    "shardpost": report.shardpost,
                    "python": report.python,
                    "ray": report.ray,
                    "scylla-driver": report.scylla_driver,
                    "sqlite": report.sqlite,
                }
            )
