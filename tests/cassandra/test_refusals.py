"""What speaks against using a cluster is told in one line, by the program as its operator has it.

The server of these tests wants a password, and speaks TLS as well as not.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cluster.scylla.session import make_cluster
from cluster.scylla.settings import ScyllaSettings
from tests.cassandra.conftest import Cluster, running_cluster
from tests.cassandra.scylla_platform import VARIABLES
from tests.cassandra.servers import BACKEND_PORT, BY_PASSWORD, FIRST_PASSWORD, FIRST_USER
from tests.support.free_port import free_port
from tests.support.office import told_in_one_line
from tests.support.platform_process import eventually, shardpost

KEYSPACE = "guarded"
SECRET = {
    "CLUSTER_PASSWORD": FIRST_PASSWORD,
    "SHARDPOST_SCYLLA__USERNAME": FIRST_USER,
    "SHARDPOST_SCYLLA__PASSWORD": "env:CLUSTER_PASSWORD",
    "SHARDPOST_SCYLLA__KEYSPACE": KEYSPACE,
}


pytestmark = pytest.mark.stand_in


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of who signed the server's certificate; what else it takes lies beside."""
    folder = tmp_path_factory.mktemp("authority")
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    return folder / "ca.pem"


@pytest.fixture(scope="module")
def guarded(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster that wants a password, and speaks TLS to whoever begins with it."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(authority))

    def security_of(address: str) -> str:
        issued = ca.issue_cert(address)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        store = authority.parent / f"{address}.pem"
        store.write_bytes(pem + b"".join(one.bytes() for one in issued.cert_chain_pems))
        return "\n".join(
            [
                BY_PASSWORD,
                "client_encryption_options:",
                "  enabled: true",
                "  optional: true",
                f"  keystore: {store}",
                f"  truststore: {authority}",
                "  ssl_context_factory:",
                "    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory",
            ]
        )

    with running_cluster(
        tmp_path_factory.mktemp("guarded"), node_count=1, security_of=security_of
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def made(guarded: Cluster) -> Cluster:
    """Return the cluster with its keyspace, once it has made its first role."""

    def is_made() -> bool:
        asked = ("schema", "init", "--replication", "1", "--hosts", *guarded.hosts)
        return shardpost(*asked, **SECRET).returncode == 0

    eventually("the first role may come in", is_made, seconds=60, every_s=1)
    return guarded


def refused(*words: str, exit_code: int, **variables: str) -> str:
    return told_in_one_line(shardpost(*words, **SECRET | variables), exit_code=exit_code)


def up(cluster: Cluster, tmp_path: Path, *, exit_code: int, **variables: str) -> str:
    """Return the line with which the platform refuses to start."""
    return refused(
        *("up", "--store", "scylla", "--hosts", ",".join(cluster.hosts)),
        *("--data", str(tmp_path / "data")),
        exit_code=exit_code,
        **VARIABLES | variables,
    )


def test_a_cluster_that_is_down_is_told_by_its_hosts_and_port(tmp_path: Path) -> None:
    port = str(free_port())
    told = refused(
        *("up", "--hosts", "127.0.0.1", "--data", str(tmp_path / "data")),
        exit_code=10,
        SHARDPOST_SCYLLA__PORT=port,
    )
    assert f"no node of 127.0.0.1 answers at port {port} without TLS: start the cluster" in told


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"CLUSTER_PASSWORD": "wrong"}, id="wrong"),
        pytest.param(
            {"SHARDPOST_SCYLLA__USERNAME": "nobody", "CLUSTER_PASSWORD": "any"}, id="no such user"
        ),
    ],
)
def test_a_wrong_password_is_told_with_the_settings(
    made: Cluster, tmp_path: Path, variables: Mapping[str, str]
) -> None:
    told = up(made, tmp_path, exit_code=4, **variables)
    assert "wrong username or password, or none given: set scylla.username" in told
    assert FIRST_PASSWORD not in told.removeprefix("shardpost")


def test_no_password_where_one_is_wanted_is_told_too(made: Cluster) -> None:
    asked = ("schema", "check", "--hosts", *made.hosts)
    told = told_in_one_line(shardpost(*asked), exit_code=4)
    assert "wrong username or password, or none given" in told


def test_with_the_password_the_schema_can_be_used(made: Cluster) -> None:
    looked = shardpost("schema", "check", "--hosts", *made.hosts, **SECRET)
    assert looked.returncode == 0, looked.stderr


def by_tls(ca: Path) -> dict[str, str]:
    return {"SHARDPOST_SCYLLA__TLS_CA": str(ca), "SHARDPOST_SCYLLA__PORT": str(BACKEND_PORT)}


def test_tls_is_spoken_with_a_server_that_is_trusted(made: Cluster, authority: Path) -> None:
    asked = ("schema", "check", "--hosts", *made.hosts)
    looked = shardpost(*asked, **SECRET | by_tls(authority))
    assert looked.returncode == 0, looked.stderr


def test_a_server_that_is_not_trusted_is_refused(made: Cluster, authority: Path) -> None:
    told = refused(
        *("schema", "check", "--hosts", *made.hosts),
        exit_code=4,
        **by_tls(authority.parent / "other.pem"),
    )
    assert "the certificate of a node is not trusted: set scylla.tls_ca" in told


@pytest.fixture
def session(made: Cluster) -> Iterator[Any]:
    """Return a session of the driver in the keyspace."""
    cluster = make_cluster(
        ScyllaSettings(hosts=tuple(made.hosts), username=FIRST_USER, password=FIRST_PASSWORD)
    )
    yield cluster.connect(KEYSPACE)
    cluster.shutdown()


def test_a_newer_schema_is_told_with_the_release_that_reads_it(
    made: Cluster, tmp_path: Path, session: Any
) -> None:
    version = (UUID(int=0), 999)
    session.execute("INSERT INTO schema_versions (only, version) VALUES (%s, %s)", version)
    try:
        told = up(made, tmp_path, exit_code=5)
        migrating = refused("schema", "migrate", "--hosts", *made.hosts, exit_code=5)
    finally:
        session.execute("DELETE FROM schema_versions WHERE only = %s AND version = %s", version)
    for line in (told, migrating):
        assert "keyspace guarded has schema 999, this release reads up to" in line
        assert "run the release that made it, or a newer one" in line


def test_an_older_schema_is_told_with_what_brings_it_up_to_date(
    made: Cluster, tmp_path: Path, session: Any
) -> None:
    session.execute(
        "CREATE KEYSPACE bare WITH replication ="
        " {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}"
    )
    told = up(made, tmp_path, exit_code=5, SHARDPOST_SCYLLA__KEYSPACE="bare")
    assert "bare has an older schema, or none: bring it up to date with `shardpost sch" in told


def test_more_replicas_than_nodes_are_told_with_both_numbers(
    made: Cluster, tmp_path: Path, session: Any
) -> None:
    session.execute(
        "CREATE KEYSPACE wide WITH replication ="
        " {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}"
    )
    told = up(made, tmp_path, exit_code=5, SHARDPOST_SCYLLA__KEYSPACE="wide")
    assert "wants 3 replicas in datacenter1, which has 1 nodes: add nodes, or lower" in told
    told = refused(
        *("schema", "init", "--hosts", *made.hosts, "--replication", "3"),
        exit_code=4,
        SHARDPOST_SCYLLA__KEYSPACE="new",
    )
    assert "data centre datacenter1 has 1 nodes, scylla.replication is 3" in told


def test_rows_of_another_life_are_told_and_migrate_sets_them_alike(
    made: Cluster, tmp_path: Path
) -> None:
    shorter = {"SHARDPOST_WINDOWS__MESSAGES_TTL_MS": str(80 * 24 * 3600 * 1000)}
    told = up(made, tmp_path, exit_code=5, **shorter)
    assert "rows of guarded.messages live for 7776000 s and the settings say 6912000 s" in told
    assert "`shardpost schema migrate`" in told
    asked = ("schema", "migrate", "--hosts", *made.hosts)
    assert shardpost(*asked, **SECRET | shorter).returncode == 0
    looked = shardpost("schema", "check", "--hosts", *made.hosts, **SECRET | shorter)
    assert looked.returncode == 0, looked.stderr
    assert shardpost(*asked, **SECRET).returncode == 0


def test_a_folder_of_an_embedded_store_is_not_made_another(made: Cluster, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "format.json").write_text("{}")
    assert "is the folder of an embedded store" in up(made, tmp_path, exit_code=5)
