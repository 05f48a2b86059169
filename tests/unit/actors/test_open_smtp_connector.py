"""A way out by mail, made of what an operator set."""

from pathlib import Path
from typing import Any

import pytest

from actors.open_connector import open_connector
from cluster.egress.file_outbox import FileOutbox
from cluster.egress.smtp_connector import SmtpConnector
from cluster.runtime.connector_settings import SmtpConnectorSettings
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.errors import SettingInvalid
from pipeline.outcome import ProviderClass


def opened(folder: Path, **set_: Any) -> SmtpConnector:
    settings = SmtpConnectorSettings(
        channels=("email",), host="mx.example", from_address="news@acme.example", **set_
    )
    connector = open_connector("mail", settings, outbox=FileOutbox(folder))
    assert isinstance(connector, SmtpConnector)
    return connector


def test_mail_is_of_class_0(tmp_path: Path) -> None:
    connector = opened(tmp_path)
    assert connector.name == "mail"
    assert connector.provider_class is ProviderClass.NONE


@pytest.mark.parametrize(
    ("tls", "port", "is_encrypted"),
    [(TlsMode.STARTTLS, 587, True), (TlsMode.IMPLICIT, 465, True), (TlsMode.NONE, 25, False)],
)
def test_the_port_is_the_usual_one(
    tmp_path: Path, tls: TlsMode, port: int, is_encrypted: bool
) -> None:
    server = opened(tmp_path, tls=tls)._pool._server
    assert server.port == port
    assert (server.tls_context is not None) == is_encrypted
    assert opened(tmp_path, tls=tls, port=2525)._pool._server.port == 2525


def test_a_certificate_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    checked = opened(tmp_path)._pool._server.tls_context
    assert checked is not None
    assert checked.check_hostname
    unchecked = opened(tmp_path, verify_certificate=False)._pool._server.tls_context
    assert unchecked is not None
    assert not unchecked.check_hostname


def test_the_password_is_read_where_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "s3cret")
    connector = opened(tmp_path, username="acme", password="env:MAIL_PASSWORD")
    assert connector._pool._server.password == "s3cret"
    monkeypatch.delenv("MAIL_PASSWORD")
    with pytest.raises(SettingInvalid, match="env:MAIL_PASSWORD"):
        opened(tmp_path, username="acme", password="env:MAIL_PASSWORD")


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match=r"connectors\.mail: ca_file"):
        opened(tmp_path, ca_file=tmp_path / "missing.pem")
    (tmp_path / "none.pem").write_text("nothing")
    with pytest.raises(SettingInvalid, match=r"connectors\.mail: ca_file"):
        opened(tmp_path, ca_file=tmp_path / "none.pem")
