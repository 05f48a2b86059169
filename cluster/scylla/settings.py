"""How to reach a ScyllaDB cluster."""

import ssl
from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import SettingInvalid
from pipeline.limits import Windows

# Of one process; the driver itself would take 32,767 for each connection.
REQUESTS_IN_FLIGHT_MAX: Final = 512
# A batch that has more is refused by the server at 1 MiB; it warns at 128 KiB.
BATCH_BYTES_MAX: Final = 96 * 1024
BATCH_ROWS_MAX: Final = 200
READ_PAGE_ROWS: Final = 2_000
# More in one IN are refused by a ScyllaDB server as it is delivered.
PARTITIONS_A_READ_MAX: Final = 100

# A server gives up after 2 s for a write and 5 s for a read; then its answer says more than ours.
REQUEST_TIMEOUT_S: Final = 6.0
# A connection whose socket is full takes nothing more for a moment; less than a request may take.
BUSY_PAUSES_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
CONNECT_TIMEOUT_S: Final = 5.0
RECONNECT_INTERVAL_S: Final = 0.5
# Until it is noticed that a shard's connection is closed its requests go to other shards.
HEARTBEAT_INTERVAL_S: Final = 5
# How long a connect waits for the connections to all shards before it goes on without.
SHARDS_WAIT_S: Final = 5.0
# The driver opens shard connections on these threads; two, its default, take seconds.
DRIVER_THREADS: Final = 8

# A server's writes end before this, and a client's request after it (docs/protocol.md, 5.1).
assert Windows().write_deadline_ms < REQUEST_TIMEOUT_S * 1_000
# Whoever waits for a full socket all along still has time for an answer within W.
assert sum(BUSY_PAUSES_S) * 1_000 < Windows().write_deadline_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ScyllaSettings:
    """Where the cluster is and who we are there; raises `SettingInvalid` if that cannot be."""

    hosts: tuple[str, ...]
    keyspace: str = "shardpost"
    port: int = 9042
    datacenter: str | None = None  # None: that of the first host
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.hosts:
            raise SettingInvalid("hosts: name at least one node of the ScyllaDB cluster")
        if not self.keyspace.isidentifier() or self.keyspace != self.keyspace.lower():
            raise SettingInvalid(
                f"keyspace: {self.keyspace!r} is not made of small letters, digits and _"
            )
        if (self.username is None) != (self.password is None):
            raise SettingInvalid("a username and a password go together: give both, or neither")
