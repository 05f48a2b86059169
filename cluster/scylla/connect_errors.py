"""What an operator is told where no session came about: one line that says what to change."""

import re

from cassandra import RequestValidationException
from cassandra.cluster import NoHostAvailable

from cluster.scylla.schema import SchemaUnusable
from cluster.scylla.settings import ScyllaSettings
from pipeline.errors import SettingInvalid, ShardpostError, StoreUnavailable


def keyspace_missing(settings: ScyllaSettings) -> SchemaUnusable:
    """Return what is raised where the keyspace is not there."""
    return SchemaUnusable(
        f"{', '.join(settings.hosts)}: there is no keyspace {settings.keyspace}: make it with"
        " `shardpost schema init`, or name another"
    )


def cannot_connect(settings: ScyllaSettings, error: Exception) -> ShardpostError:
    """Return what is raised where no session came about; its line says what to change."""
    if isinstance(error, ShardpostError):
        return error
    hosts = ", ".join(settings.hosts)
    reasons = [error]
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):
        reasons += error.errors.values()
    text = " ".join(" ".join(str(reason).split()) for reason in reasons)
    if "uthentication" in text or "redentials" in text:
        return SettingInvalid(
            f"{hosts}: wrong username or password, or none given: set scylla.username and"
            " scylla.password"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return SettingInvalid(
            f"{hosts}: the certificate of a node is not trusted: set scylla.tls_ca to the authority"
            f" that signed it ({_certificate_reason(text)})"
        )
    if "unconfigured table" in text or "does not exist" in text or "Undefined name" in text:
        return SchemaUnusable(
            f"{hosts}: keyspace {settings.keyspace} has an older schema, or none: bring it up to"
            " date with `shardpost schema migrate`"
        )
    if isinstance(error, RequestValidationException):
        return StoreUnavailable(
            f"{hosts}: the cluster refuses: {' '.join(str(error).split())}: give"
            f" {settings.username or 'everybody'} that right, or do as it says"
        )
    tls = "with TLS" if settings.tls is not None else "without TLS"
    return StoreUnavailable(
        f"no node of {hosts} answers at port {settings.port} {tls}: start the cluster, or name"
        " other nodes"
    )


def _certificate_reason(text: str) -> str:
    found = re.search(r"erify failed: ([^(\]]*)", text)
    return found[1].strip() if found else "it could not be verified"
