"""`shardpost schema`: the keyspace on ScyllaDB, made, looked at, brought up to date."""

import asyncio
import logging
from typing import Annotated

import msgspec
import typer

from actors.cli.options import DataOption, HostsOption, JsonOption
from actors.cli.output import shown_instant, write_json, write_line
from cluster.runtime.settings import Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from pipeline.errors import SettingInvalid
from pipeline.instant import Instant


class SchemaReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a keyspace stands; `applied`: the versions that this command brought."""

    keyspace: str
    version: int
    applied: list[int]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The keyspace on ScyllaDB.")
    group.command("init")(_init)
    group.command("check")(_check)
    group.command("migrate")(_migrate)
    group.command("restored")(_restored)
    app.add_typer(group, name="schema")


ReplicationOption = Annotated[
    int | None,
    typer.Option(
        "--replication",
        min=1,
        help="Copies of each row in the data centre.",
        show_default="scylla.replication, which is 3",
    ),
]


def _init(
    data: DataOption = None,
    hosts: HostsOption = None,
    replication: ReplicationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the keyspace and its tables; what is there already stays as it is.

    One person at a time, and while all nodes are up.
    """
    settings = _on_scylla(load_settings(data=data, hosts=hosts))
    applied = asyncio.run(_make(settings, replication or settings.scylla.replication))
    _tell(settings, applied, as_json=as_json, nothing="is there already and up to date")


def _check(data: DataOption = None, hosts: HostsOption = None, as_json: JsonOption = False) -> None:
    """Look whether the platform can use the keyspace with these settings."""
    settings = _on_scylla(load_settings(data=data, hosts=hosts))
    asyncio.run(_look(settings))
    _tell(settings, [], as_json=as_json, nothing="can be used")


def _migrate(
    data: DataOption = None, hosts: HostsOption = None, as_json: JsonOption = False
) -> None:
    """Bring the tables of a keyspace up to date, after an upgrade and before the platform starts.

    Rows stay.  The lives of rows follow the settings.  One person at a time, and while all nodes
    are up.
    """
    settings = _on_scylla(load_settings(data=data, hosts=hosts))
    applied = asyncio.run(_bring_up_to_date(settings))
    _tell(settings, applied, as_json=as_json, nothing="was up to date")


class RestoredReport(msgspec.Struct, frozen=True, kw_only=True):
    """Since when a keyspace may be trusted; what waited by then is not sent by itself."""

    keyspace: str
    restored_at: str


def _restored(
    data: DataOption = None, hosts: HostsOption = None, as_json: JsonOption = False
) -> None:
    """Say that the keyspace was restored from a backup, before a platform starts on it.

    What waited in it may have been sent since the backup was taken: it becomes `uncertain` and is
    not sent by itself.  No platform may run on the keyspace meanwhile.  To be said once after each
    restore.
    """
    settings = _on_scylla(load_settings(data=data, hosts=hosts))
    report = RestoredReport(
        keyspace=settings.scylla.keyspace, restored_at=shown_instant(asyncio.run(_mark(settings)))
    )
    if as_json:
        write_json(report)
    else:
        write_line(
            f"Keyspace {report.keyspace}: restored at {report.restored_at}.  What waited by then"
            " becomes uncertain, and is not sent by itself."
        )


def _on_scylla(settings: Settings) -> Settings:
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    if settings.store is not StoreKind.SCYLLA and not settings.scylla.hosts:
        raise SettingInvalid(
            "an embedded store has no schema to look after: name a cluster with --hosts, or in the"
            " settings"
        )
    return settings


async def _make(settings: Settings, replication: int) -> list[int]:
    from actors.scylla_store import scylla_settings
    from cluster.scylla.administration import administration

    async with administration(scylla_settings(settings.scylla), settings.windows) as admin:
        return await admin.init(replication=replication)


async def _look(settings: Settings) -> None:
    from actors.scylla_store import scylla_settings
    from cluster.scylla.administration import administration

    async with administration(scylla_settings(settings.scylla), settings.windows) as admin:
        await admin.check()


async def _bring_up_to_date(settings: Settings) -> list[int]:
    from actors.scylla_store import scylla_settings
    from cluster.scylla.administration import administration

    async with administration(scylla_settings(settings.scylla), settings.windows) as admin:
        return await admin.migrate()


async def _mark(settings: Settings) -> Instant:
    from actors.scylla_store import mark_restored

    return await mark_restored(settings)


def _tell(settings: Settings, applied: list[int], *, as_json: bool, nothing: str) -> None:
    from cluster.scylla.schema import SCHEMA_VERSION

    report = SchemaReport(
        keyspace=settings.scylla.keyspace, version=SCHEMA_VERSION, applied=applied
    )
    if as_json:
        write_json(report)
    elif applied:
        versions = ", ".join(map(str, applied))
        write_line(f"Keyspace {report.keyspace}: schema {versions} applied.")
    else:
        write_line(f"Keyspace {report.keyspace} {nothing}: schema {report.version}.")
