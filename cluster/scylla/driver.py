"""Names for what the driver gives, as it has no types of its own."""

from typing import Any, TypeAlias

Session: TypeAlias = Any  # cassandra.cluster.Session
Metadata: TypeAlias = Any  # cassandra.metadata.Metadata
Host: TypeAlias = Any  # cassandra.pool.Host
Pool: TypeAlias = Any  # cassandra.pool.HostConnection
Prepared: TypeAlias = Any  # cassandra.query.PreparedStatement
CqlType: TypeAlias = Any  # a class of cassandra.cqltypes
Request: TypeAlias = Any  # a bound statement, or a batch
Strategy: TypeAlias = Any  # of replication, in cassandra.metadata
Callback: TypeAlias = Any
