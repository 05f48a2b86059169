"""The schema: made once, brought up to date by version, and looked at before it is used.

Rows age by their time to live and are never deleted.  Where a table's rows all live equally long
and come in the order of time, whole files age out together: time windows, 20 to 30 of them in a
life, as fewer keep what is dead for long and more cost a read.  Tables whose rows have lives of
their own are compacted as the server likes.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from string import Template
from typing import Final
from uuid import UUID

from cassandra import ConsistencyLevel
from cassandra.query import SimpleStatement

from cluster.scylla.driver import Host, Session, Strategy
from pipeline.errors import ShardpostError
from pipeline.limits import Windows

# One file for each version, from the first on.
_MIGRATIONS: Final = ("schema.cql", "schema_2.cql")
SCHEMA_VERSION: Final = len(_MIGRATIONS)

_ONLY: Final = UUID(int=0)
_WINDOWS_PER_LIFE: Final = 24
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_GC_GRACE_S: Final = 3 * 3_600  # of tables whose rows all end by themselves


class SchemaUnusable(ShardpostError):
    """The operator must make the schema, bring it up to date, or run another release."""


def time_window(life_ms: int) -> tuple[str, int]:
    """Return unit and size of the windows of a table whose rows live so long."""
    size_ms = life_ms / _WINDOWS_PER_LIFE
    if size_ms >= 4 * _HOUR_MS:
        return "HOURS", round(size_ms / _HOUR_MS)
    return "MINUTES", max(1, round(size_ms / _MINUTE_MS))


def migration(version: int, windows: Windows) -> list[str]:
    """Return the statements that bring a schema from version - 1 to version."""
    source = files("cluster.scylla").joinpath(_MIGRATIONS[version - 1])
    text = re.sub(r"^---.*\n", "", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = Template(text).substitute(_options(windows))
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def keyspace_statement(keyspace: str, replicas: Mapping[str, int]) -> str:
    """Return the statement that makes the keyspace, with so many replicas in each data centre.

    Without tablets: only where all tables share the ring does a formula say which core owns a key.
    """
    where = ", ".join(f"'{datacenter}': {count}" for datacenter, count in replicas.items())
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = "
        f"{{'class': 'NetworkTopologyStrategy', {where}}} AND tablets = {{'enabled': false}}"
    )


def create_keyspace(session: Session, keyspace: str, replicas: Mapping[str, int]) -> None:
    """Make the keyspace if it is not there."""
    session.execute(keyspace_statement(keyspace, replicas))


def migrate(session: Session, windows: Windows) -> list[int]:
    """Bring the session's keyspace up to date; return the versions that were applied.

    To be run by one person at a time: servers do not agree well on tables that two make at once.
    A migration that was broken off may be run again.
    """
    done = applied_versions(session)
    missing = [version for version in range(1, SCHEMA_VERSION + 1) if version not in done]
    for version in missing:
        for statement in migration(version, windows):
            session.execute(statement)
        session.execute(
            SimpleStatement(
                "INSERT INTO schema_versions (only, version, applied_at) VALUES (%s, %s, %s)",
                consistency_level=ConsistencyLevel.QUORUM,
            ),
            (_ONLY, version, datetime.now(UTC)),
        )
    return missing


def align_lives(session: Session, windows: Windows) -> list[str]:
    """Let rows live as long as the windows say from now on; return the tables that were changed.

    Rows that are there keep the life that they were written with.
    """
    tables = session.cluster.metadata.keyspaces[session.keyspace].tables
    changed = []
    for table, wanted_ms in _lives_ms(windows).items():
        if tables[table].options["default_time_to_live"] != wanted_ms // 1_000:
            session.execute(f"ALTER TABLE {table} WITH {_windowed(wanted_ms)}")
            changed.append(table)
    return changed


def applied_versions(session: Session) -> set[int]:
    """Return the versions that the session's keyspace has had, none where it is empty."""
    keyspace = session.cluster.metadata.keyspaces[session.keyspace]
    if "schema_versions" not in keyspace.tables:
        return set()
    found = session.execute(
        SimpleStatement(
            "SELECT version FROM schema_versions WHERE only = %s",
            consistency_level=ConsistencyLevel.QUORUM,
        ),
        (_ONLY,),
    )
    return {row[0] for row in found}


def check(session: Session, windows: Windows) -> None:
    """Raise `SchemaUnusable` unless the session's keyspace can be used with these windows."""
    name = session.keyspace
    keyspace = session.cluster.metadata.keyspaces[name]
    refuse_strategy(name, keyspace.replication_strategy, session.cluster.metadata.all_hosts())
    refuse_tablets(name, _initial_tablets(session, name))
    versions = applied_versions(session)
    refuse_newer(name, versions)
    if versions != set(range(1, SCHEMA_VERSION + 1)):
        raise SchemaUnusable(
            f"keyspace {name} has an older schema, or none: bring it up to date with"
            " `shardpost schema migrate`"
        )
    lives = {table: meta.options["default_time_to_live"] for table, meta in keyspace.tables.items()}
    refuse_lives(name, lives, windows)


def refuse_newer(name: str, versions: Collection[int]) -> None:
    """Raise `SchemaUnusable` if a keyspace was brought up to date by a later release."""
    if versions and max(versions) > SCHEMA_VERSION:
        raise SchemaUnusable(
            f"keyspace {name} has schema {max(versions)}, this release reads up to"
            f" {SCHEMA_VERSION}: run the release that made it, or a newer one"
        )


def refuse_strategy(name: str, strategy: Strategy, hosts: Sequence[Host]) -> None:
    """Raise `SchemaUnusable` if a keyspace is replicated in a way that nobody planned."""
    if strategy.name != "NetworkTopologyStrategy":
        raise SchemaUnusable(
            f"keyspace {name} has {strategy.name}: make one with NetworkTopologyStrategy, which"
            " spreads replicas over racks"
        )
    datacenters = [host.datacenter for host in hosts]
    for datacenter, factor in strategy.dc_replication_factors.items():
        if (count := datacenters.count(datacenter)) < factor:
            raise SchemaUnusable(
                f"keyspace {name} wants {factor} replicas in {datacenter}, which has {count} nodes:"
                " add nodes, or lower the replication factor"
            )


def refuse_tablets(name: str, initial_tablets: int | None) -> None:
    """Raise `SchemaUnusable` if a keyspace has tablets; None: it has none."""
    if initial_tablets is not None:
        raise SchemaUnusable(
            f"keyspace {name} has tablets, which give every table owners of its own that move:"
            " lanes need one core for all tables.  Make a keyspace with"
            " tablets = {'enabled': false}; this one cannot be changed"
        )


def refuse_lives(name: str, lives: Mapping[str, int], windows: Windows) -> None:
    """Raise `SchemaUnusable` if rows would end earlier or later than the windows say."""
    for table, wanted_ms in _lives_ms(windows).items():
        wanted = wanted_ms // 1_000
        if lives.get(table) != wanted:
            raise SchemaUnusable(
                f"rows of {name}.{table} live for {lives.get(table)} s and the settings say"
                f" {wanted} s: set them alike, with `shardpost schema migrate` or in the settings"
            )


def _lives_ms(windows: Windows) -> dict[str, int]:
    return {
        "messages": windows.messages_ttl_ms,
        "by_group": windows.messages_ttl_ms,
        "placed": windows.messages_ttl_ms,
        "drafts": windows.messages_ttl_ms,
        "results": windows.messages_ttl_ms,
        "idem": windows.idem_life_ms,
        "timeline": windows.timeline_ttl_ms,
        "open_questions": windows.timeline_ttl_ms,
        "message_refs": windows.timeline_ttl_ms,
        "receipts": windows.timeline_ttl_ms,
        "buffer": windows.buffer_ttl_ms,
        "commands": windows.buffer_ttl_ms,
    }


def _windowed(life_ms: int) -> str:
    unit, size = time_window(life_ms)
    return (
        f"default_time_to_live = {life_ms // 1_000} AND gc_grace_seconds = {_GC_GRACE_S}"
        " AND compaction = {'class': 'TimeWindowCompactionStrategy',"
        f" 'compaction_window_unit': '{unit}', 'compaction_window_size': {size}}}"
        " AND tombstone_gc = {'mode': 'timeout'}"
    )


def _options(windows: Windows) -> dict[str, str]:
    return {
        "messages_rows": _windowed(windows.messages_ttl_ms),
        "idem_rows": _windowed(windows.idem_life_ms),
        "timeline_rows": _windowed(windows.timeline_ttl_ms),
        "buffer_rows": _windowed(windows.buffer_ttl_ms),
        "own_life": (f"gc_grace_seconds = {_GC_GRACE_S} AND tombstone_gc = {{'mode': 'timeout'}}"),
    }


def _initial_tablets(session: Session, keyspace: str) -> int | None:
    """Return how many tablets a keyspace begins with, None where it or the server has none."""
    tables = session.cluster.metadata.keyspaces["system_schema"].tables
    if "scylla_keyspaces" not in tables:
        return None
    row = session.execute(
        "SELECT initial_tablets FROM system_schema.scylla_keyspaces WHERE keyspace_name = %s",
        (keyspace,),
    ).one()
    return None if row is None else row[0]
