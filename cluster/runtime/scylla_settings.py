"""How to reach a ScyllaDB cluster, as an operator sets it: the section `[scylla]`.

Secrets are named, not written, as for connectors: settings travel to other processes as arguments,
which Ray shows and logs.
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from cluster.runtime.connector_settings import HostName, Listed, Port, SecretName, WholeNumber

_NAME_CHARS_MAX: Final = 48  # the server's own bound
_REPLICAS_MAX: Final = 9

_keyspace: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch


def _refuse_odd_keyspace(name: str) -> str:
    if not _keyspace(name) or len(name) > _NAME_CHARS_MAX:
        raise ValueError(
            f"should be small letters, digits and _, a letter first, at most {_NAME_CHARS_MAX}"
        )
    return name


KeyspaceName = Annotated[str, AfterValidator(_refuse_odd_keyspace)]
PathName = Annotated[str, StringConstraints(max_length=4_096)]


class ScyllaSection(BaseModel):
    """Where the cluster is, who we are there, and what our keyspace is like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Some of its nodes; the others are told by these.
    hosts: Annotated[tuple[HostName, ...], *Listed] = ()
    port: Port = 9042
    keyspace: KeyspaceName = "shardpost"
    datacenter: str = ""  # empty: that of the first host that answers
    # Of a keyspace that is made; one that is there keeps its own.
    replication: WholeNumber = Field(default=3, ge=1, le=_REPLICAS_MAX)
    username: str = ""
    password: SecretName | None = None
    # Any of these means TLS: whom to trust, and who we are where servers ask for that.
    tls: bool = False
    tls_ca: PathName = ""
    tls_certificate: PathName = ""
    tls_key: PathName = ""
    # Off where certificates name hosts and nodes are reached by address.
    tls_check_hosts: bool = True
