"""Encrypted or not at all: certificates, log-ins, and what is kept for oneself."""

from pathlib import Path

import pytest
import trustme

from cluster.egress.smtp_session import tls_context
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.lifecycle import Event
from tests.support.mail_office import hand_over, open_office, submitted

ANN = ["ann@example.org"]
T, D = Event.TAKE, Event.DEFER


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
async def test_a_trusted_server_gets_mail_on_few_connections(
    tmp_path: Path, authority: trustme.CA, ca_file: Path, mode: TlsMode
) -> None:
    tls = (authority.issue_cert("127.0.0.1"), mode is TlsMode.IMPLICIT)
    async with open_office(tmp_path, tls=tls) as office:
        connector = office.connector(
            tls=mode, tls_context=tls_context(ca_file=ca_file), connections_max=2
        )
        handed = hand_over([f"a{n}@example.org" for n in range(20)], content="x" * 50_000)
        reports = await submitted(connector, handed)
        await connector.close()
        assert office.provider.connections_count == 2
    assert reports.events == [T] * 20


@pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        pytest.param("127.0.0.1", False, id="unknown"),
        pytest.param("mx.example", True, id="another"),
    ],
)
async def test_a_server_that_cannot_prove_who_it_is_gets_nothing(
    tmp_path: Path,
    authority: trustme.CA,
    ca_file: Path,
    mode: TlsMode,
    host: str,
    is_known: bool,
) -> None:
    issuer = authority if is_known else trustme.CA()
    tls = (issuer.issue_cert(host), mode is TlsMode.IMPLICIT)
    async with open_office(tmp_path, tls=tls) as office:
        connector = office.connector(tls=mode, tls_context=tls_context(ca_file=ca_file))
        reports = await submitted(connector, hand_over(ANN))
        await connector.close()
        assert not office.provider.commands
    assert reports.events == [D]
    assert "certificate" in reports.by_position[0].detail


async def test_an_operator_may_do_without_proof(tmp_path: Path, authority: trustme.CA) -> None:
    async with open_office(tmp_path, tls=(authority.issue_cert("mx.example"), False)) as office:
        connector = office.connector(
            tls=TlsMode.STARTTLS, tls_context=tls_context(is_verified=False)
        )
        assert (await submitted(connector, hand_over(ANN))).events == [T]
        await connector.close()


async def test_where_encryption_is_wanted_there_is_no_mail_in_clear(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        connector = office.connector(tls=TlsMode.STARTTLS, tls_context=tls_context())
        reports = await submitted(connector, hand_over(ANN))
        await connector.close()
        assert not office.provider.commands
    assert reports.events == [D]
    assert "STARTTLS" in reports.by_position[0].detail


@pytest.mark.parametrize(("password", "event"), [("s3cret-right", T), ("s3cret-wrong", D)])
async def test_a_log_in_is_right_or_nothing_is_sent(
    tmp_path: Path, authority: trustme.CA, ca_file: Path, password: str, event: Event
) -> None:
    tls = (authority.issue_cert("127.0.0.1"), False)
    async with open_office(tmp_path, tls=tls, users={"acme": "s3cret-right"}) as office:
        connector = office.connector(
            tls=TlsMode.STARTTLS,
            tls_context=tls_context(ca_file=ca_file),
            username="acme",
            password=password,
        )
        reports = await submitted(connector, hand_over(ANN))
        await connector.close()
    assert reports.events == [event]
    assert "s3cret" not in reports.by_position[0].detail
    assert bool(office.seen) == (event is T)


async def test_a_server_that_wants_a_log_in_refuses_no_message_for_good(
    tmp_path: Path, authority: trustme.CA, ca_file: Path
) -> None:
    tls = (authority.issue_cert("127.0.0.1"), False)
    async with open_office(tmp_path, tls=tls, users={"acme": "x"}) as office:
        connector = office.connector(tls=TlsMode.STARTTLS, tls_context=tls_context(ca_file=ca_file))
        reports = await submitted(connector, hand_over(ANN))
        await connector.close()
    assert reports.events == [Event.DEFER]
    assert reports.by_position[0].detail.startswith("MAIL: 530")
