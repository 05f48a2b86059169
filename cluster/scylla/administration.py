"""The keyspace as its operator sees it: made, brought up to date, looked at.

A connection of its own, without a keyspace and without the prepared statements of the store, which
could not be prepared before there are tables.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from cluster.scylla import schema
from cluster.scylla.connect_errors import cannot_connect, keyspace_missing
from cluster.scylla.driver import Host, Session
from cluster.scylla.session import make_cluster
from cluster.scylla.settings import ScyllaSettings
from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.limits import Windows

_AGREEMENT_S_MAX: Final = 30.0
_MEETING_S_MAX: Final = 15.0
_LOOK_S: Final = 0.2

ResultT = TypeVar("ResultT")


class Administration:
    """For one keyspace; `administration` opens it."""

    def __init__(self, session: Session, settings: ScyllaSettings, windows: Windows) -> None:
        self._session = session
        self._settings = settings
        self._windows = windows

    async def init(self, *, replication: int) -> list[int]:
        """Make the keyspace if it is not there, and its tables; return the versions applied.

        Raises `SettingInvalid` if the data centre has fewer nodes than replicas are wanted.
        """
        return await self._do(lambda: self._init(replication))

    async def migrate(self) -> list[int]:
        """Bring the keyspace up to date, and the lives of rows; return the versions applied.

        Raises `SchemaUnusable` if it is not there, or of a newer release.
        """
        return await self._do(self._migrate)

    async def check(self) -> None:
        """Raise `SchemaUnusable` unless the keyspace can be used with these windows."""

        def check() -> None:
            self._use()
            schema.check(self._session, self._windows)

        await self._do(check)

    async def versions(self) -> list[int]:
        """Return the versions that the keyspace has had; raises `SchemaUnusable` if it is none."""

        def versions() -> list[int]:
            self._use()
            return sorted(schema.applied_versions(self._session))

        return await self._do(versions)

    async def _do(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return await asyncio.to_thread(work)
        except Exception as error:
            raise cannot_connect(self._settings, error) from error

    def _init(self, replication: int) -> list[int]:
        keyspace = self._settings.keyspace
        if keyspace not in self._session.cluster.metadata.keyspaces:
            # Nodes that were just started may not have met all the others.
            _wait_until(lambda: len(self._hosts()) >= len(self._settings.hosts), _MEETING_S_MAX)
            hosts = self._hosts()
            datacenter = self._settings.datacenter or self._own_datacenter(hosts)
            count = [host.datacenter for host in hosts].count(datacenter)
            if count < replication:
                raise SettingInvalid(
                    f"data centre {datacenter} has {count} nodes, scylla.replication is"
                    f" {replication}: add nodes, or set scylla.replication to {count or 'less'}"
                )
            self._wait_for_agreement()
            schema.create_keyspace(self._session, keyspace, {datacenter: replication})
        return self._migrate()

    def _migrate(self) -> list[int]:
        self._use()
        schema.refuse_newer(self._settings.keyspace, schema.applied_versions(self._session))
        self._wait_for_agreement()
        applied = schema.migrate(self._session, self._windows)
        schema.align_lives(self._session, self._windows)
        return applied

    def _use(self) -> None:
        if self._settings.keyspace not in self._session.cluster.metadata.keyspaces:
            raise keyspace_missing(self._settings)
        self._session.set_keyspace(self._settings.keyspace)

    def _own_datacenter(self, hosts: Sequence[Host]) -> str:
        found = {host.datacenter for host in hosts}
        if len(found) > 1:
            raise SettingInvalid(
                f"the cluster has data centres {', '.join(sorted(found))}: name one with"
                " scylla.datacenter"
            )
        [datacenter] = found
        return str(datacenter)

    def _wait_for_agreement(self) -> None:
        """Wait until the nodes know each other: what is made before may be gone again."""
        if not _wait_until(self._agree, _AGREEMENT_S_MAX):
            raise StoreUnavailable(
                "the nodes do not agree on one schema yet: wait until all of them are up, then"
                " repeat the command"
            )

    def _agree(self) -> bool:
        hosts = [host for host in self._hosts() if host.is_up is not False]
        versions: set[Any] = set()
        for host in hosts:
            peers = self._ask("SELECT schema_version FROM system.peers", host)
            if len(peers) < len(hosts) - 1:
                return False
            versions |= set(self._ask("SELECT schema_version FROM system.local", host))
        return len(versions) == 1

    def _hosts(self) -> list[Host]:
        self._session.cluster.refresh_nodes()
        return list(self._session.cluster.metadata.all_hosts())

    def _ask(self, cql: str, host: Host) -> list[Any]:
        return [row[0] for row in self._session.execute(cql, host=host)]


def _wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Return whether it holds within so many seconds; for a thread that may block."""
    deadline = time.monotonic() + seconds  # noqa: TID251 -- real servers are waited for
    while not holds():
        if time.monotonic() > deadline:  # noqa: TID251
            return False
        time.sleep(_LOOK_S)  # noqa: TID251
    return True


@asynccontextmanager
async def administration(
    settings: ScyllaSettings, windows: Windows
) -> AsyncIterator[Administration]:
    """Give what an operator does with a keyspace.

    Raises `StoreUnavailable` or `SettingInvalid`, whose one line says what to change.
    """
    cluster = make_cluster(settings)
    try:
        try:
            session = await asyncio.to_thread(cluster.connect)
        except Exception as error:
            raise cannot_connect(settings, error) from error
        yield Administration(session, settings, windows)
    finally:
        await asyncio.to_thread(cluster.shutdown)
