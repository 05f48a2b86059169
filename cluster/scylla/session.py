"""A session: statements by name, their consistency stated, each sent once and never repeated.

The driver's defaults are for other uses.  Its retry policy sends again what may have been done; its
load balancing spreads one partition over coordinators, and with them over clocks; it opens
connections to shards after it has said that it is connected, and loses some for good.  All of that
is set or looked after here.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
)
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import (
    BatchStatement,
    BatchType,
    dict_factory,
    tuple_factory,
)

from cluster.scylla.alignment import Alignment
from cluster.scylla.connect_errors import cannot_connect, keyspace_missing
from cluster.scylla.driver import Callback, Host, Metadata, Pool, Prepared, Request, Session
from cluster.scylla.error_map import Sends, error_of, is_busy
from cluster.scylla.row_encoding import PROTOCOL_VERSION, RowEncoder
from cluster.scylla.settings import (
    BUSY_PAUSES_S,
    CONNECT_TIMEOUT_S,
    DRIVER_THREADS,
    HEARTBEAT_INTERVAL_S,
    PARTITIONS_A_READ_MAX,
    READ_PAGE_ROWS,
    RECONNECT_INTERVAL_S,
    REQUEST_TIMEOUT_S,
    REQUESTS_IN_FLIGHT_MAX,
    SHARDS_WAIT_S,
    ScyllaSettings,
)
from cluster.scylla.statements import Statement, statements
from cluster.scylla.wake_up import WakeUp

log = structlog.get_logger(__name__)

_CONDITIONAL: Final = "conditional"  # an execution profile
_APPLIED: Final = "[applied]"
_SHARDS_LOOK_INTERVAL_S: Final = 0.02

Parameters = Sequence[Any]


class Conditional(NamedTuple):
    """What became of a conditional write."""

    is_applied: bool
    # What stood there, by column, where it was not applied; which columns differs by server.
    stood: dict[str, Any]


class ScyllaSession:
    """The session of one process, for one event loop."""

    def __init__(self, cluster: Cluster, session: Session, prepared: dict[str, Prepared]) -> None:
        self._cluster = cluster
        self._session = session
        self._prepared: dict[str, Prepared] = prepared
        self._encoders = {name: RowEncoder(each) for name, each in prepared.items()}
        self._statements = statements()
        self._wake_up = WakeUp()
        self.alignment = Alignment(cluster.metadata)
        self._in_flight = asyncio.Semaphore(REQUESTS_IN_FLIGHT_MAX)

    @classmethod
    async def connect(cls, settings: ScyllaSettings) -> "ScyllaSession":
        """Connect and prepare every statement; waits a while for the connections to all shards.

        Raises `StoreUnavailable`, `SettingInvalid` or `SchemaUnusable`, whose one line says what to
        change.
        """
        cluster = make_cluster(settings)
        try:
            session = await asyncio.to_thread(_connect, cluster, settings)
            prepared = await asyncio.to_thread(_prepare, session)
        except BaseException as error:
            await asyncio.to_thread(cluster.shutdown)
            if isinstance(error, Exception):
                raise cannot_connect(settings, error) from error
            raise
        connected = cls(cluster, session, prepared)
        await connected._wait_for_shards()
        return connected

    async def close(self) -> None:
        """Close every connection; may be called twice."""
        await asyncio.to_thread(self._cluster.shutdown)

    @property
    def metadata(self) -> Metadata:
        """Return what the driver knows of hosts, ring and schema."""
        return self._cluster.metadata

    def hosts_up(self) -> list[Host]:
        """Return the nodes that have not gone away, as far as the driver knows."""
        return [host for host in self.metadata.all_hosts() if host.is_up]

    def nodes_down(self) -> list[str]:
        """Return the addresses of the nodes that have gone away."""
        return [str(host.address) for host in self.metadata.all_hosts() if host.is_up is False]

    def addresses(self) -> dict[str, str]:
        """Return the address of each node, by its name in a generation."""
        return {str(host.host_id): str(host.address) for host in self.metadata.all_hosts()}

    # --- requests ---------------------------------------------------------------------------

    async def read(
        self, name: str, parameters: Parameters, *, host: Host | None = None
    ) -> list[tuple[Any, ...]]:
        """Return all rows; raises `StoreUnavailable`.  `host`: only that one is asked."""
        statement = self._statements[name]
        assert statement.sends in (Sends.READ, Sends.SERIAL_READ), name
        return await self._send(statement, self._prepared[name].bind(parameters), host=host)

    async def read_in(self, name: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """Return the rows of all these partitions, which are of one core; raises as `read`.

        One request for many: a request costs a client as much as a hundred rows.
        """
        statement, prepared = self._statements[name], self._prepared[name]
        requests = []
        for start in range(0, len(keys), PARTITIONS_A_READ_MAX):
            part = keys[start : start + PARTITIONS_A_READ_MAX]
            bound = prepared.bind(([UUID(bytes=key) for key in part],))
            # The owner of one is that of all; the driver looks for it only where there is no IN.
            bound._routing_key = part[0]
            requests.append(self._send(statement, bound))
        if len(requests) == 1:
            return await requests[0]
        return [row for rows in await asyncio.gather(*requests) for row in rows]

    async def write(self, name: str, parameters: Parameters) -> None:
        """Write; raises `StoreUnavailable` or `WriteUnknown`."""
        statement = self._statements[name]
        assert statement.sends is Sends.WRITE, name
        await self._send(statement, self._prepared[name].bind(_with_uuid(parameters)))

    async def write_batch(self, name: str, rows: Sequence[Parameters]) -> None:
        """Write rows in one unlogged batch: as a whole, if they are of one partition.

        Goes to the owner of the first row's partition.  Raises as `write`.
        """
        statement = self._statements[name]
        assert statement.sends is Sends.WRITE, name
        if len(rows) == 1:
            await self.write(name, rows[0])
            return
        prepared = self._prepared[name]
        batch = BatchStatement(
            batch_type=BatchType.UNLOGGED, consistency_level=prepared.consistency_level
        )
        # The driver takes keyspace and key from the first statement, and forgets the table.
        batch.add(prepared, _with_uuid(rows[0]))
        encode = self._encoders[name]
        for parameters in rows[1:]:
            batch._add_statement_and_params(True, prepared.query_id, encode(parameters))
        batch.table = prepared.column_metadata[0].table_name
        await self._send(statement, batch)

    async def write_if(self, name: str, parameters: Parameters) -> Conditional:
        """Write on a condition; raises as `write`."""
        statement = self._statements[name]
        assert statement.sends is Sends.CONDITIONAL, name
        # A condition with null would hold where the partition is missing: an absence never fences.
        assert None not in parameters, name
        [row] = await self._send(
            statement, self._prepared[name].bind(parameters), profile=_CONDITIONAL
        )
        return Conditional(row.pop(_APPLIED), row)

    async def _send(
        self,
        statement: Statement,
        request: Request,
        *,
        host: Host | None = None,
        profile: object = EXEC_PROFILE_DEFAULT,
    ) -> list[Any]:
        async with self._in_flight:
            for pause_s in (*BUSY_PAUSES_S, None):
                try:
                    response = self._session.execute_async(
                        request, host=host, execution_profile=profile
                    )
                    rows = await self._wake_up.rows_of(response)
                except Exception as error:
                    if pause_s is not None and is_busy(error):
                        await asyncio.sleep(pause_s)
                        continue
                    told = error_of(error, sends=statement.sends, statement=statement.name)
                    raise told from error
                if self.alignment.is_due():
                    self.alignment.note(statement.name, request, response)
                return rows
        raise AssertionError("the last try returns or raises")

    # --- connections to shards --------------------------------------------------------------

    def shards_ready(self) -> bool:
        """Return whether every shard of every host that is up has a connection that is open.

        The driver's own count has closed connections in it.
        """
        pools = [pool for pool in self._session.get_pools() if not pool.is_shutdown]
        return bool(pools) and all(_is_whole(pool) for pool in pools)

    async def heal_shards(self) -> None:
        """Renew the connections to hosts of which some shard has none.

        An attempt that failed once is never made again by the driver while the others live.
        """
        for pool in self._session.get_pools():
            if pool.is_shutdown or _is_whole(pool):
                continue
            log.warning("shard_connections_renewed", host=str(pool.host.endpoint))
            renewing = self._session.add_or_renew_pool(pool.host, False)
            if renewing is not None:
                await asyncio.wrap_future(renewing)

    async def _wait_for_shards(self) -> None:
        for _ in range(int(SHARDS_WAIT_S / _SHARDS_LOOK_INTERVAL_S)):
            if self.shards_ready():
                return
            await asyncio.sleep(_SHARDS_LOOK_INTERVAL_S)
        log.warning("shards_not_connected", keyspace=self._session.keyspace)


def make_cluster(settings: ScyllaSettings) -> Cluster:
    """Return the driver's cluster, not connected."""
    policy = TokenAwarePolicy(
        DCAwareRoundRobinPolicy(local_dc=settings.datacenter or ""),
        # Shuffled, a lane would have as many coordinators as replicas, and so many clocks.
        shuffle_replicas=False,
    )

    def profile(row_factory: Callback) -> ExecutionProfile:
        return ExecutionProfile(
            load_balancing_policy=policy,
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=ConsistencyLevel.QUORUM,
            serial_consistency_level=ConsistencyLevel.SERIAL,
            request_timeout=REQUEST_TIMEOUT_S,
            row_factory=row_factory,
        )

    auth = None
    if settings.username is not None:
        auth = PlainTextAuthProvider(settings.username, settings.password)
    return Cluster(
        settings.hosts,
        port=settings.port,
        protocol_version=PROTOCOL_VERSION,
        compression=False,
        auth_provider=auth,
        ssl_context=settings.tls,
        connect_timeout=CONNECT_TIMEOUT_S,
        control_connection_timeout=CONNECT_TIMEOUT_S,
        executor_threads=DRIVER_THREADS,
        idle_heartbeat_interval=HEARTBEAT_INTERVAL_S,
        reconnection_policy=ConstantReconnectionPolicy(RECONNECT_INTERVAL_S, None),
        # Without it a request of more than 4 KB waits 40 ms for an acknowledgement of its first.
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        execution_profiles={
            EXEC_PROFILE_DEFAULT: profile(tuple_factory),
            _CONDITIONAL: profile(dict_factory),
        },
    )


def _connect(cluster: Cluster, settings: ScyllaSettings) -> Session:
    session = cluster.connect(wait_for_all_pools=True)
    # With a keyspace that is not there the driver would say that no node answers.
    if settings.keyspace not in cluster.metadata.keyspaces:
        raise keyspace_missing(settings)
    session.set_keyspace(settings.keyspace)
    session.default_fetch_size = READ_PAGE_ROWS
    # Rows that are ordered by time get it from the server, which is one clock a partition.
    session.use_client_timestamp = False
    return session


def _prepare(session: Session) -> dict[str, Prepared]:
    prepared: dict[str, Prepared] = {}
    for statement in statements().values():
        ready = session.prepare(statement.cql)
        ready.consistency_level = (
            ConsistencyLevel.SERIAL
            if statement.sends is Sends.SERIAL_READ
            else ConsistencyLevel.QUORUM
        )
        ready.serial_consistency_level = ConsistencyLevel.SERIAL
        # Nobody repeats a request but who knows what it is.
        ready.is_idempotent = False
        if " IN ?" in statement.cql:
            # Else the driver would not look at the key that `read_in` names.
            ready.routing_key_indexes = [0]
        prepared[statement.name] = ready
    return prepared


def _with_uuid(parameters: Parameters) -> Parameters:
    """Return the parameters with their key, which comes first, as the driver wants it."""
    key, *others = parameters
    return (UUID(bytes=key), *others) if type(key) is bytes else parameters


def _is_whole(pool: Pool) -> bool:
    sharding = pool.host.sharding_info
    wanted = 1 if sharding is None else sharding.shards_count
    connections = list(pool._connections.values())
    return sum(not (each.is_closed or each.is_defunct) for each in connections) >= wanted
