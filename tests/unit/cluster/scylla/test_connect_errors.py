"""The one line that an operator reads where no session came about."""

import pytest
from cassandra import AuthenticationFailed, InvalidRequest, OperationTimedOut, Unauthorized
from cassandra.cluster import NoHostAvailable

from cluster.scylla.connect_errors import cannot_connect
from cluster.scylla.schema import SchemaUnusable
from cluster.scylla.settings import ScyllaSettings
from pipeline.errors import SettingInvalid, ShardpostError, StoreUnavailable

SETTINGS = ScyllaSettings(hosts=("10.0.0.1",), username="post", password="x")


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (NoHostAvailable("no host", {}), StoreUnavailable, "no node of 10.0.0.1 answers"),
        (OperationTimedOut(), StoreUnavailable, "no node of 10.0.0.1 answers"),
        (
            NoHostAvailable("no host", {"10.0.0.1": AuthenticationFailed("bad credentials")}),
            SettingInvalid,
            "wrong username or password",
        ),
        (InvalidRequest("unconfigured table lanes"), SchemaUnusable, "an older schema, or none"),
        (
            Unauthorized("User post has no CREATE permission on <all keyspaces>"),
            StoreUnavailable,
            "the cluster refuses: User post has no CREATE permission .* give post that right",
        ),
        (InvalidRequest("Unknown property"), StoreUnavailable, "refuses: Unknown property"),
    ],
)
def test_it_says_what_to_change(error: Exception, kind: type[ShardpostError], line: str) -> None:
    told = cannot_connect(SETTINGS, error)
    assert type(told) is kind
    with pytest.raises(kind, match=line):
        raise told


def test_what_is_told_already_is_told_as_it_is() -> None:
    told = SchemaUnusable("it has tablets")
    assert cannot_connect(SETTINGS, told) is told
