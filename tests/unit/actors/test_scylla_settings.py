"""What is told of settings by which no session could ever be opened."""

from pathlib import Path

import pytest
import trustme

from actors.scylla_store import scylla_settings
from cluster.runtime.scylla_settings import ScyllaSection
from pipeline.errors import SettingInvalid


def test_a_cluster_without_passwords_and_tls_needs_its_hosts_alone() -> None:
    named = scylla_settings(ScyllaSection(hosts=("a",)))
    assert (named.hosts, named.port, named.keyspace) == (("a",), 9042, "shardpost")
    assert (named.datacenter, named.username, named.password, named.tls) == (None,) * 4


def test_without_hosts_it_is_said_where_they_are_named() -> None:
    with pytest.raises(SettingInvalid, match=r"scylla\.hosts: name some nodes.*--hosts a,b,c"):
        scylla_settings(ScyllaSection())


def test_a_password_is_read_from_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    section = ScyllaSection(hosts=("a",), username="ali", password=f"file:{tmp_path / 'password'}")
    named = scylla_settings(section)
    assert (named.username, named.password) == ("ali", "open sesame")
    assert "sesame" not in repr(named)


def test_a_password_that_is_not_there_is_named(tmp_path: Path) -> None:
    section = ScyllaSection(hosts=("a",), username="ali", password=f"file:{tmp_path / 'none'}")
    with pytest.raises(SettingInvalid, match=r"secret file:.*none"):
        scylla_settings(section)


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    """Return an authority, with its file and those of a certificate."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = ca.issue_cert("platform.example")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return ca


def test_files_mean_tls(ca: trustme.CA, tmp_path: Path) -> None:
    section = ScyllaSection(
        hosts=("a",),
        tls_ca=str(tmp_path / "ca.pem"),
        tls_certificate=str(tmp_path / "cert.pem"),
        tls_key=str(tmp_path / "key.pem"),
    )
    context = scylla_settings(section).tls
    assert context is not None
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    unchecked = scylla_settings(section.model_copy(update={"tls_check_hosts": False})).tls
    assert unchecked is not None
    assert not unchecked.check_hostname


def test_tls_alone_trusts_whom_the_system_trusts() -> None:
    assert scylla_settings(ScyllaSection(hosts=("a",), tls=True)).tls is not None


def test_half_a_certificate_is_refused() -> None:
    section = ScyllaSection(hosts=("a",), tls_key="key.pem")
    with pytest.raises(SettingInvalid, match="go together: set both, or neither"):
        scylla_settings(section)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    section = ScyllaSection(hosts=("a",), tls_ca=str(tmp_path / "ca.pem"))
    with pytest.raises(SettingInvalid, match=r"ca\.pem cannot be used: "):
        scylla_settings(section)
