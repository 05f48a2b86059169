"""Opens a way out, by its kind, in the process where it is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never
from urllib.parse import urlsplit

from cluster.egress.file_connector import FileConnector
from cluster.egress.file_outbox import FileOutbox
from cluster.egress.http_addresses import AddressRules
from cluster.egress.http_sender import HttpSender
from cluster.egress.smtp_connector import SmtpConnector
from cluster.egress.smtp_pool import PoolLimits, SmtpPool
from cluster.egress.smtp_session import SmtpServer, tls_context
from cluster.egress.webhook_connector import WebhookConnector
from cluster.runtime.clock import SystemClock
from cluster.runtime.connector_settings import (
    ConnectorSettings,
    FileConnectorSettings,
    SmtpConnectorSettings,
    WebhookConnectorSettings,
)
from cluster.runtime.secrets import read_secret
from pipeline.connectors.smtp.codec import Sender
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.connectors.webhook.query import QueryWriter
from pipeline.connectors.webhook.receipt import SignatureCheck
from pipeline.connectors.webhook.request import RequestWriter, Signer
from pipeline.errors import SettingInvalid
from pipeline.instant import DurationMs
from pipeline.ports import Connector


def open_connector(name: str, settings: ConnectorSettings, *, outbox: FileOutbox) -> Connector:
    """Return the connector; the outbox is shared by those that write files.

    Raises `SettingInvalid` if a secret or a file that it names cannot be read.
    """
    with _naming(name):
        match settings:
            case FileConnectorSettings():
                return FileConnector(name=name, outbox=outbox)
            case WebhookConnectorSettings():
                return _open_webhook(name, settings)
            case SmtpConnectorSettings():
                return _open_smtp(name, settings)
            case _:
                assert_never(settings)


def open_check(name: str, settings: WebhookConnectorSettings) -> SignatureCheck:
    """Return what knows who may call back for a connector that has receipts.

    Raises `SettingInvalid` if a secret cannot be read.
    """
    with _naming(name):
        return SignatureCheck([read_secret(secret) for secret in settings.receipt_secrets])


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except SettingInvalid as invalid:
        raise SettingInvalid(f"connectors.{name}: {invalid}") from None


def _open_webhook(name: str, settings: WebhookConnectorSettings) -> WebhookConnector:
    ports = set(settings.allow_ports)
    for own in (settings.url, settings.query_url):
        if own is not None:
            url = urlsplit(own)
            ports.add(url.port or (443 if url.scheme == "https" else 80))
    clock = SystemClock()
    authorization = "" if settings.authorization is None else read_secret(settings.authorization)
    writer = RequestWriter(
        url=settings.url,
        signer=Signer([read_secret(secret) for secret in settings.secrets]),
        authorization=authorization,
    )
    query_writer = None
    if settings.query_url is not None:
        query_writer = QueryWriter(url=settings.query_url, authorization=authorization)
    sender = HttpSender(
        clock=clock,
        rules=AddressRules.allowing(settings.allow_networks, ports),
        connect_timeout_ms=DurationMs(settings.connect_timeout_ms),
        answer_timeout_ms=DurationMs(settings.answer_timeout_ms),
        idle_max=settings.concurrency,
    )
    return WebhookConnector(
        name=name,
        provider_class=settings.provider_class,
        has_receipts=settings.receipts,
        url=settings.url,
        writer=writer,
        sender=sender,
        clock=clock,
        concurrency=settings.concurrency,
        query_writer=query_writer,
    )


def _open_smtp(name: str, settings: SmtpConnectorSettings) -> SmtpConnector:
    context = None
    if settings.tls is not TlsMode.NONE:
        try:
            context = tls_context(ca_file=settings.ca_file, is_verified=settings.verify_certificate)
        except OSError as error:
            raise SettingInvalid(
                f"ca_file = {str(settings.ca_file)!r}: {error.strerror or error}"
            ) from None
    server = SmtpServer(
        host=settings.host,
        port=settings.port or settings.tls.usual_port,
        tls=settings.tls,
        tls_context=context,
        hello=settings.sender_domain,
        username=settings.username or "",
        password="" if settings.password is None else read_secret(settings.password),
        connect_timeout_ms=DurationMs(settings.connect_timeout_ms),
        command_timeout_ms=DurationMs(settings.command_timeout_ms),
        answer_timeout_ms=DurationMs(settings.acceptance_timeout_ms),
    )
    limits = PoolLimits(
        connections_max=settings.connections,
        mails_per_connection_max=settings.mails_per_connection,
        idle_ms_max=DurationMs(settings.idle_timeout_ms),
    )
    sender = Sender(
        address=settings.from_address,
        domain=settings.sender_domain,
        name=settings.from_name,
        default_subject=settings.subject,
    )
    return SmtpConnector(
        name=name,
        pool=SmtpPool(server, limits),
        sender=sender,
        clock=SystemClock(),
        has_receipts=settings.receipt_terms is not None,
    )
