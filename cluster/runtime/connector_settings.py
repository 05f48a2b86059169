"""Ways out, as an operator sets them: one section `[connectors.<name>]` each, told apart by `kind`.

What its provider does about repeats is declared, not guessed: only the operator knows whether the
other side looks at the key (docs/protocol.md, 5.4).  Secrets are named, not written: where one
stands in the environment or in a file.  Settings travel to other processes as arguments, which Ray
shows and logs, and the process that signs is the only one that needs to read them.
"""

import re
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_settings import NoDecode

from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.connectors.webhook.query import ID_PLACE
from pipeline.errors import SubmissionInvalid
from pipeline.limits import (
    CONNECTOR_CONCURRENCY_MAX,
    CONNECTOR_WEIGHT_MAX,
    FALLBACKS_MAX,
    PERMIT_RATE_MAX,
    PERMITS_AT_ONCE_MAX,
)
from pipeline.outcome import ProviderClass, ReceiptsBy
from pipeline.route.receipts import ReceiptTerms, ReferenceForm

# Their values are never shown, not even in a refusal.
SECRET_SETTINGS: Final = frozenset({"authorization", "password", "receipt_secrets", "secrets"})

_host: Final = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}").fullmatch


class ConnectorKind(StrEnum):
    """What kind of way out a connector is."""

    FILE = "file"  # JSON lines in the data folder's outbox
    WEBHOOK = "webhook"  # a signed POST
    SMTP = "smtp"  # a mail


def refuse_bool(value: object) -> object:
    """Refuse true and false where Python would take them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("should be a whole number")
    return value


def _split_commas(value: object) -> object:
    """A variable may hold `sms,email` where the file has a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _refuse_unknown_channel(name: str) -> str:
    # Imported only here, as it brings the numbering plans of the world: a tenth of a second.
    from pipeline.ingest.recipient import CHANNELS

    if name not in CHANNELS:
        raise ValueError(f"should be one of {', '.join(CHANNELS)}")
    return name


def _refuse_odd_network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"should be networks like 10.20.0.0/16: {error}") from None


def _refuse_odd_url(url: str) -> str:
    from pipeline.ingest.recipient import canonical_recipient

    try:
        return canonical_recipient("webhook", url)
    except SubmissionInvalid as invalid:
        raise ValueError(invalid.reason) from None


def _refuse_odd_query_url(url: str) -> str:
    if url.count(ID_PLACE) != 1:
        raise ValueError(f"should hold {ID_PLACE} once, where the id of a message goes")
    _refuse_odd_url(url.replace(ID_PLACE, "0" * 32))
    return url


def _refuse_odd_host(host: str) -> str:
    if not _host(host):
        raise ValueError("should be a host's name or address")
    return host


WholeNumber = Annotated[int, BeforeValidator(refuse_bool)]
ConnectorName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
ChannelName = Annotated[str, AfterValidator(_refuse_unknown_channel)]
Listed = (NoDecode, BeforeValidator(_split_commas))
SecretName = Annotated[str, StringConstraints(pattern=r"^(?:env|file):[^\s,]+$")]
Port = Annotated[WholeNumber, Field(ge=1, le=65_535)]
Rate = Annotated[float, BeforeValidator(refuse_bool), Field(ge=0.001, le=PERMIT_RATE_MAX)]
AtOnce = Annotated[WholeNumber, Field(ge=1, le=PERMITS_AT_ONCE_MAX)]
HostName = Annotated[str, AfterValidator(_refuse_odd_host)]
OneLine = Annotated[str, StringConstraints(max_length=254)]
Network = Annotated[str, AfterValidator(_refuse_odd_network)]
Url = Annotated[str, AfterValidator(_refuse_odd_url)]
QueryUrl = Annotated[str, AfterValidator(_refuse_odd_query_url)]


class _Connector(BaseModel):
    """What every kind has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Empty: every channel that no other connector names.
    channels: Annotated[tuple[ChannelName, ...], *Listed] = ()
    # The kill switch: nothing goes out by a connector that is switched off.
    enabled: bool = True
    # Its part of what the connectors of a channel share.
    weight: WholeNumber = Field(default=1, ge=0, le=CONNECTOR_WEIGHT_MAX)
    # Where what it certainly did not take may go, in this order.
    fallback: Annotated[tuple[ConnectorName, ...], *Listed] = Field(
        default=(), max_length=FALLBACKS_MAX
    )
    # Messages a second, and at once, over all processes; None: no limit.
    rate: Rate | None = None
    burst: AtOnce | None = None  # None: a tenth of a second's
    in_flight_max: AtOnce | None = None
    sender_rate: Rate | None = None  # of each tenant
    destination_rate: Rate | None = None  # of each mail domain, country code or host
    destination_in_flight_max: AtOnce | None = None

    @property
    def at_once(self) -> int | None:
        """How many messages a process hands over at once, None for as many as it is given."""
        return None

    @property
    def receipt_terms(self) -> ReceiptTerms | None:
        """Return how receipts name messages, None if none come."""
        return None

    @model_validator(mode="after")
    def _a_burst_needs_a_rate(self) -> Self:
        if self.burst is not None and self.rate is None:
            raise ValueError("burst should stand beside a rate")
        return self


class FileConnectorSettings(_Connector):
    """Lines of JSON in a folder."""

    kind: Literal[ConnectorKind.FILE] = ConnectorKind.FILE


class WebhookConnectorSettings(_Connector):
    """A signed POST, to the recipient's own URL or to a provider's."""

    kind: Literal[ConnectorKind.WEBHOOK] = ConnectorKind.WEBHOOK
    # Where everything goes; None: the recipient is the URL.
    url: Url | None = None
    # The first signs first; a receiver accepts any, so that one can be replaced by the next.
    secrets: Annotated[tuple[SecretName, ...], *Listed] = ()
    authorization: SecretName | None = None  # what the header of that name holds
    provider_class: ProviderClass = ProviderClass.KEYED
    query_url: QueryUrl | None = None  # where a provider of class Q is asked
    key_life_ms: WholeNumber = Field(default=86_400_000, ge=1_000)
    receipts: bool = False
    # Who calls back with receipts signs with one of these.
    receipt_secrets: Annotated[tuple[SecretName, ...], *Listed] = ()
    receipts_by: ReceiptsBy | None = None  # None: our id for class C, else the provider's name
    reference_form: ReferenceForm = ReferenceForm.TEXT
    concurrency: WholeNumber = Field(default=64, ge=1, le=CONNECTOR_CONCURRENCY_MAX)
    connect_timeout_ms: WholeNumber = Field(default=5_000, ge=1, le=60_000)
    answer_timeout_ms: WholeNumber = Field(default=20_000, ge=1, le=120_000)
    allow_networks: Annotated[tuple[Network, ...], *Listed] = ()
    allow_ports: Annotated[tuple[Port, ...], *Listed] = (80, 443)

    @property
    def at_once(self) -> int | None:
        """How many messages a process hands over at once."""
        return self.concurrency

    @model_validator(mode="after")
    def _without_a_url_recipients_are_urls(self) -> Self:
        if self.url is None and self.channels != ("webhook",):
            raise ValueError('without a url, channels should be ["webhook"]: recipients are URLs')
        if self.url is None and not self.secrets:
            raise ValueError("without a url, secrets should hold one: recipients verify with it")
        return self

    @model_validator(mode="after")
    def _asking_needs_somewhere_to_ask(self) -> Self:
        is_asked = self.provider_class is ProviderClass.QUERYABLE
        if is_asked and (self.query_url is None or self.url is None):
            raise ValueError('with provider_class "Q", url and query_url should be set')
        if self.query_url is not None and not is_asked:
            raise ValueError('with a query_url, provider_class should be "Q"')
        return self

    @model_validator(mode="after")
    def _correlation_needs_receipts(self) -> Self:
        if self.provider_class is ProviderClass.CORRELATED and not self.receipts:
            raise ValueError('with provider_class "C", receipts should be true')
        if self.receipts and not self.receipt_secrets:
            raise ValueError("with receipts, receipt_secrets should hold one: callbacks are signed")
        if (
            self.provider_class is ProviderClass.CORRELATED
            and self.receipts_by is ReceiptsBy.REFERENCE
        ):
            raise ValueError('with provider_class "C", receipts_by should be "message_id"')
        return self

    @property
    def receipt_terms(self) -> ReceiptTerms | None:
        """Return how receipts name messages, None if none come."""
        if not self.receipts:
            return None
        is_by_id = self.provider_class is ProviderClass.CORRELATED
        by = self.receipts_by or (ReceiptsBy.MESSAGE_ID if is_by_id else ReceiptsBy.REFERENCE)
        return ReceiptTerms(by=by, form=self.reference_form)


class SmtpConnectorSettings(_Connector):
    """A mail to each recipient, by one server that passes them on."""

    kind: Literal[ConnectorKind.SMTP] = ConnectorKind.SMTP
    host: HostName
    port: Port | None = None  # None: the usual one of `tls`
    tls: TlsMode = TlsMode.STARTTLS
    verify_certificate: bool = True
    ca_file: Path | None = None  # None: the authorities that the system trusts
    username: OneLine | None = None
    password: SecretName | None = None
    from_address: OneLine
    from_name: OneLine = ""
    # Of Message-IDs and of the addresses that bounces come to; None: that of `from_address`.
    mail_domain: OneLine | None = None
    bounces: Path | None = None  # a maildir that what comes to these addresses is delivered to
    subject: OneLine = ""  # of mails whose metadata names none
    connections: WholeNumber = Field(default=8, ge=1, le=CONNECTOR_CONCURRENCY_MAX)
    mails_per_connection: WholeNumber = Field(default=100, ge=1)
    idle_timeout_ms: WholeNumber = Field(default=30_000, ge=1, le=600_000)
    connect_timeout_ms: WholeNumber = Field(default=5_000, ge=1, le=60_000)
    command_timeout_ms: WholeNumber = Field(default=30_000, ge=1, le=600_000)
    # RFC 5321, 4.5.3.2.6: what is given up too early is in doubt, and often delivered.
    acceptance_timeout_ms: WholeNumber = Field(default=600_000, ge=1, le=1_800_000)

    @property
    def sender_domain(self) -> str:
        """Return the domain of Message-IDs and of bounces."""
        return self.mail_domain or self.from_address.rpartition("@")[2].lower()

    @property
    def at_once(self) -> int | None:
        """How many messages a process hands over at once."""
        return self.connections

    @property
    def receipt_terms(self) -> ReceiptTerms | None:
        """Return how receipts name messages, None if none come."""
        return None if self.bounces is None else ReceiptTerms(by=ReceiptsBy.MESSAGE_ID)

    @model_validator(mode="after")
    def _recipients_are_mail_addresses(self) -> Self:
        if self.channels != ("email",):
            raise ValueError('channels should be ["email"]: recipients are mail addresses')
        return self

    @model_validator(mode="after")
    def _a_log_in_is_whole_and_encrypted(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password should stand together")
        if self.username is not None and self.tls is TlsMode.NONE:
            raise ValueError('with a password, tls should be "starttls" or "implicit"')
        return self

    @model_validator(mode="after")
    def _the_sender_can_stand_in_a_header(self) -> Self:
        from pipeline.connectors.smtp.codec import MailInvalid, Sender

        try:
            Sender(
                address=self.from_address,
                domain=self.sender_domain,
                name=self.from_name,
                default_subject=self.subject,
            )
        except MailInvalid as invalid:
            raise ValueError(str(invalid)) from None
        return self


ConnectorSettings = Annotated[
    FileConnectorSettings | WebhookConnectorSettings | SmtpConnectorSettings,
    Field(discriminator="kind"),
]
