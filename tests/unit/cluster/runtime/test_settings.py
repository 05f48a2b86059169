import os
import pickle
import re
from pathlib import Path

import pytest

from cluster.runtime.connector_settings import (
    FileConnectorSettings,
    SmtpConnectorSettings,
    WebhookConnectorSettings,
)
from cluster.runtime.settings import LogLevel, Settings, StoreKind, load_settings
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.errors import SettingInvalid
from pipeline.instant import DurationMs
from pipeline.limits import Windows
from pipeline.outcome import ProviderClass

MAIL = """
[connectors.a]
kind = "smtp"
host = "mx.example"
from_address = "news@b.example"
"""
EMAIL = f"{MAIL}channels = ['email']"


class Place:
    """A working directory and an environment that hold nothing but what a test puts there."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch

    def file(self, text: str, name: str = "shardpost.toml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def variable(self, name: str, value: str) -> None:
        self._patch.setenv(name, value)

    def refusal(self) -> str:
        with pytest.raises(SettingInvalid) as caught:
            load_settings()
        text = str(caught.value)
        assert "\n" not in text
        return text


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in os.environ:
        if name.upper().startswith("SHARDPOST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, monkeypatch)


def test_with_nothing_set_everything_has_a_default(place: Place) -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.data == Path("shardpost-data")
    assert settings.store is StoreKind.LOCAL
    assert settings.windows == Windows()
    assert settings.ingesters == 1


def test_a_file_sets_every_kind_of_value(place: Place) -> None:
    place.file(
        """
        data = "elsewhere"
        ingesters = 3
        dashboard = false
        dashboard_port = 9000
        log_level = "debug"
        log_format = "json"
        niceness = 5
        [windows]
        steal_after_ms = 20_000
        [local]
        nodes = 1
        shards = 4
        [connectors.a]
        kind = "file"
        channels = ["sms", "email"]
        [connectors.b]
        kind = "file"
        """
    )
    settings = load_settings()
    assert settings.data == Path("elsewhere")
    assert (settings.ingesters, settings.dashboard, settings.dashboard_port) == (3, False, 9000)
    assert (settings.log_level, settings.log_format, settings.niceness) == ("debug", "json", 5)
    assert settings.windows == Windows(steal_after_ms=DurationMs(20_000))
    assert (settings.local.nodes, settings.local.shards) == (1, 4)
    assert settings.connectors == {
        "a": FileConnectorSettings(channels=("sms", "email")),
        "b": FileConnectorSettings(),
    }


def test_a_variable_beats_the_file_and_leaves_its_neighbours(place: Place) -> None:
    place.file("ingesters = 3\n[windows]\nsteal_after_ms = 20_000\nheartbeat_ms = 500\n")
    place.variable("SHARDPOST_INGESTERS", "4")
    place.variable("SHARDPOST_WINDOWS__STEAL_AFTER_MS", "30000")
    settings = load_settings()
    assert settings.ingesters == 4
    assert settings.windows == Windows(
        steal_after_ms=DurationMs(30_000), heartbeat_ms=DurationMs(500)
    )


@pytest.mark.parametrize("channels", ["sms,email", "sms, email"])
def test_a_variable_can_set_a_connector(place: Place, channels: str) -> None:
    place.variable("SHARDPOST_CONNECTORS__OUT__KIND", "file")
    place.variable("SHARDPOST_CONNECTORS__OUT__CHANNELS", channels)
    assert load_settings().connectors == {"out": FileConnectorSettings(channels=("sms", "email"))}


def test_a_variable_can_set_a_connector_of_any_kind(place: Place) -> None:
    place.file("[connectors.out]\nkind = 'webhook'\nurl = 'https://old.example/'")
    for name, value in (
        ("URL", "https://Gateway.Example:8443/messages"),
        ("SECRETS", "env:NEW, file:old"),
        ("ALLOW_NETWORKS", "10.20.0.0/16,fd00::/8"),
        ("ALLOW_PORTS", "8443"),
        ("CONCURRENCY", "8"),
        ("PROVIDER_CLASS", "0"),
    ):
        place.variable(f"SHARDPOST_CONNECTORS__OUT__{name}", value)
    assert load_settings().connectors == {
        "out": WebhookConnectorSettings(
            url="https://gateway.example:8443/messages",
            secrets=("env:NEW", "file:old"),
            allow_networks=("10.20.0.0/16", "fd00::/8"),
            allow_ports=(8443,),
            concurrency=8,
            provider_class=ProviderClass.NONE,
        )
    }


def test_mail_goes_out_as_the_file_says(place: Place) -> None:
    place.file(EMAIL)
    place.variable("SHARDPOST_CONNECTORS__A__TLS", "implicit")
    mail = load_settings().connectors["a"]
    assert isinstance(mail, SmtpConnectorSettings)
    assert (mail.tls, mail.tls.usual_port, mail.port) == (TlsMode.IMPLICIT, 465, None)
    assert mail.sender_domain == "b.example"
    place.variable("SHARDPOST_CONNECTORS__A__MAIL_DOMAIN", "bounces.b.example")
    mail = load_settings().connectors["a"]
    assert isinstance(mail, SmtpConnectorSettings)
    assert mail.sender_domain == "bounces.b.example"


def test_a_kind_that_is_not_known_is_told_with_its_variable(place: Place) -> None:
    place.variable("SHARDPOST_CONNECTORS__A__KIND", "pigeon")
    told = "SHARDPOST_CONNECTORS__A__KIND = 'pigeon': should be 'file' or 'webhook' or 'smtp'"
    assert place.refusal() == told


@pytest.mark.parametrize("name", ["secrets", "authorization", "password"])
def test_a_secret_that_stands_where_its_name_belongs_is_not_shown(place: Place, name: str) -> None:
    told = "should name where the secret stands, as env:VARIABLE or file:PATH"
    value = "['hidden']" if name == "secrets" else "'hidden'"
    head = (
        EMAIL
        if name == "password"
        else "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'"
    )
    place.file(f"{head}\n{name} = {value}")
    assert place.refusal().endswith(f"{told}")
    assert "hidden" not in place.refusal()
    place.variable(f"SHARDPOST_CONNECTORS__A__{name.upper()}", "hidden")
    assert place.refusal() == f"SHARDPOST_CONNECTORS__A__{name.upper()}: {told}"


def test_the_folder_of_the_command_line_beats_both(place: Place) -> None:
    place.file('data = "from-file"')
    place.variable("SHARDPOST_DATA", "from-variable")
    assert load_settings().data == Path("from-variable")
    assert load_settings(data=Path("from-argument")).data == Path("from-argument")


def test_a_variable_names_another_file(place: Place) -> None:
    place.file("ingesters = 3")
    place.file("ingesters = 5", name="other.toml")
    place.variable("SHARDPOST_CONFIG", str(place.folder / "other.toml"))
    assert load_settings().ingesters == 5


def test_what_was_set_is_known_beside_what_it_was_set_to(place: Place) -> None:
    assert load_settings().model_fields_set == set()
    place.file("[local]\nnodes = 2")
    place.variable("SHARDPOST_INGESTERS", "1")
    settings = load_settings(data=Path("elsewhere"))
    assert settings.model_fields_set == {"local", "ingesters", "data"}
    assert pickle.loads(pickle.dumps(settings)).model_fields_set == settings.model_fields_set


def test_settings_are_frozen_and_travel(place: Place) -> None:
    place.variable("SHARDPOST_INGESTERS", "2")
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.ingesters = 3
    assert type(settings) is Settings
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_making_settings_by_hand_reads_nothing(place: Place) -> None:
    place.file("ingesters = 3")
    place.variable("SHARDPOST_DASHBOARD", "false")
    settings = Settings(log_level=LogLevel.ERROR)
    assert (settings.ingesters, settings.dashboard) == (1, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "ingester = 3", "unknown setting ingester; did you mean ingesters?", id="misspelt"
        ),
        pytest.param(
            "[windows]\nsteal_after = 3",
            "unknown setting windows.steal_after; did you mean windows.steal_after_ms?",
            id="misspelt in a section",
        ),
        pytest.param(
            "steal_after_ms = 3",
            "unknown setting steal_after_ms; did you mean windows.steal_after_ms?",
            id="in the wrong section",
        ),
        pytest.param(
            "[window]\nsteal_after_ms = 3",
            "unknown setting window; did you mean windows?",
            id="section misspelt",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'file'\nchannel = ['sms']",
            "unknown setting connectors.a.channel; did you mean connectors.<name>.channels?",
            id="misspelt below a name of the operator's",
        ),
        pytest.param(
            "colour = 'red'",
            "unknown setting colour; known are: connectors, dashboard, dashboard_port, data,",
            id="nothing like it",
        ),
        pytest.param("windows = 5", "windows should be a table of settings", id="not a table"),
        pytest.param(
            "[connectors]\nfile = 'file'",
            "connectors.file should be a table of settings, as [connectors.file]",
            id="not a table below",
        ),
    ],
)
def test_an_unknown_name_in_the_file_is_refused_with_the_nearest(
    place: Place, text: str, told: str
) -> None:
    place.file(text)
    assert place.refusal().startswith(f"shardpost.toml: {told}")


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("SHARDPOST_INGESTER", "SHARDPOST_INGESTERS"),
        ("SHARDPOST_WINDOWS_STEAL_AFTER_MS", "SHARDPOST_WINDOWS__STEAL_AFTER_MS"),
        ("SHARDPOST_WINDOWS", "SHARDPOST_WINDOWS__"),
        ("SHARDPOST_WINDOWS__STEAL_AFTER_MS__X", "SHARDPOST_WINDOWS__STEAL_AFTER_MS"),
        ("SHARDPOST_CONNECTORS__A", "SHARDPOST_CONNECTORS__"),
        ("shardpost_confg", "SHARDPOST_CONFIG"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(
    place: Place, variable: str, near: str
) -> None:
    place.variable(variable, "1")
    refusal = place.refusal()
    assert refusal.startswith(f"unknown setting {variable.upper()}; did you mean {near}")


def test_a_variable_that_is_not_ours_is_left_alone(place: Place) -> None:
    place.variable("SHARDPOSTAL_CODE", "12345")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "ingesters = 'many'",
            r"ingesters = 'many': should be a valid integer",
            id="not a number",
        ),
        pytest.param("ingesters = true", "ingesters = True: should be a whole number", id="a bool"),
        pytest.param(
            "ingesters = 0", "ingesters = 0: should be greater than or equal to 1", id="0"
        ),
        pytest.param(
            "ingesters = 65", "ingesters = 65: should be less than or equal to 64", id="65"
        ),
        pytest.param(
            "dashboard = 'perhaps'", "dashboard = 'perhaps': should be a valid bool", id="b"
        ),
        pytest.param("store = 'scylla'", "store = 'scylla': should be 'local'", id="store"),
        pytest.param(
            "log_level = 'loud'",
            "log_level = 'loud': should be 'debug', 'info', 'warning' or 'error'",
            id="one of several",
        ),
        pytest.param("data = ''", "data = '': should name a folder", id="no folder"),
        pytest.param(
            "[windows]\nsteal_after_ms = 'soon'",
            "windows.steal_after_ms = 'soon': should be a valid integer",
            id="a window",
        ),
        pytest.param(
            "[windows]\nsteal_after_ms = true", "should be a whole number", id="bool window"
        ),
        pytest.param(
            "[windows]\nsteal_after_ms = 1",
            "the windows must keep: steal_after_ms >= 5 x heartbeat_ms",
            id="windows that do not fit together",
        ),
        pytest.param(
            "[local]\nnodes = 9", "local.nodes = 9: should be less than or equal to 8", id="n"
        ),
        pytest.param("[connectors.a]", "connectors.a.kind is missing", id="no kind"),
        pytest.param(
            "[connectors.a]\nkind = 'pigeon'",
            "connectors.a.kind = 'pigeon': should be 'file' or 'webhook' or 'smtp'",
            id="a kind that is not known",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'file'\nurl = 'https://a.example'",
            "connectors.a.url = 'https://a.example': is a setting of another kind of connector",
            id="a setting of another kind",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'",
            'without a url, channels should be ["webhook"]',
            id="a webhook to recipients that are no URLs",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://user:hidden@a.example'",
            "a webhook's URL holds no user or password",
            id="a password in a URL",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\nprovider_class = 'C'",
            'with provider_class "C", receipts should be true',
            id="correlation without receipts",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\nreceipts = true",
            "with receipts, receipt_secrets should hold one: callbacks are signed",
            id="receipts that anybody may send",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\nprovider_class = 'C'\n"
            "receipts = true\nreceipt_secrets = ['env:X']\nreceipts_by = 'reference'",
            'with provider_class "C", receipts_by should be "message_id"',
            id="correlation by what an answer tells",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\nreceipts = true\n"
            "receipt_secrets = ['hunter2']",
            "should name where the secret stands, as env:VARIABLE or file:PATH",
            id="a secret of callbacks in the file",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\nprovider_class = 'Q'",
            'with provider_class "Q", url and query_url should be set',
            id="nowhere to ask",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\n"
            "query_url = 'https://a.example/{id}'",
            'with a query_url, provider_class should be "Q"',
            id="asked for nothing",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\nprovider_class = 'Q'\n"
            "query_url = 'https://a.example/'",
            "connectors.a.query_url = 'https://a.example/': should hold {id} once",
            id="asked for nobody",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\nprovider_class = 'P'",
            "connectors.a.provider_class = 'P': should be 'K', 'Q', 'C' or '0'",
            id="a class that no provider has",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'webhook'\nurl = 'https://a.example'\n"
            "allow_networks = ['10.0.0.1/8']",
            "'10.0.0.1/8': should be networks like 10.20.0.0/16",
            id="no network",
        ),
        pytest.param(
            "[connectors.a]\nkind = 'smtp'\nchannels = ['email']\nfrom_address = 'a@b.example'",
            "connectors.a.host is missing",
            id="mail to nowhere",
        ),
        pytest.param(
            f"{MAIL}\nchannels = []",
            'channels should be ["email"]: recipients are mail addresses',
            id="mail to numbers",
        ),
        pytest.param(
            f"{EMAIL}\nusername = 'acme'",
            "username and password should stand together",
            id="half a log-in",
        ),
        pytest.param(
            f"{EMAIL}\ntls = 'none'\nusername = 'acme'\npassword = 'env:X'",
            'with a password, tls should be "starttls" or "implicit"',
            id="a password in clear",
        ),
        pytest.param(
            f'{EMAIL}\nsubject = "a\\nb"',
            "a name and a subject hold no control characters",
            id="a subject of two lines",
        ),
        pytest.param(
            f"{EMAIL}\nmail_domain = 'b..example'",
            "'b..example' should be a domain in small ASCII letters",
            id="no domain",
        ),
        pytest.param(
            EMAIL.replace("mx.example", "mx example"),
            "connectors.a.host = 'mx example': should be a host's name or address",
            id="no host",
        ),
        pytest.param("[connectors]", "connectors = {}: ", id="no connector"),
        pytest.param(
            "[connectors.'A B']\nkind = 'file'", "connectors.A B", id="a connector's name is plain"
        ),
        pytest.param(
            "[connectors.a]\nkind='file'\nchannels=['e-mail']",
            "connectors.a.channels.0 = 'e-mail': should be one of email, sms,",
            id="no such channel",
        ),
        pytest.param("ingesters = ", "is not TOML: Invalid value (at ", id="not TOML"),
        pytest.param("ingesters = 3\ningesters = 4", "is not TOML: ", id="twice"),
    ],
)
def test_a_wrong_value_in_the_file_is_told_in_one_line(place: Place, text: str, told: str) -> None:
    place.file(text)
    refusal = place.refusal()
    assert refusal.startswith("shardpost.toml: ")
    assert told in refusal


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SHARDPOST_INGESTERS", "many", " = 'many': should be a valid integer"),
        ("SHARDPOST_INGESTERS", "", " = '': should be a valid integer"),
        ("SHARDPOST_DATA", "", " = '': should name a folder"),
        ("SHARDPOST_WINDOWS__STEAL_AFTER_MS", "soon", " = 'soon': should be a valid integer"),
        ("SHARDPOST_WINDOWS__STEAL_AFTER_MS", "true", " = 'true': should be a valid integer"),
        ("SHARDPOST_WINDOWS__STEAL_AFTER_MS", "7", ": the windows must keep: steal_after_ms"),
        ("SHARDPOST_CONNECTORS__A__KIND", "pigeon", " = 'pigeon': should be 'file'"),
        (
            "SHARDPOST_CONNECTORS__FILE__CHANNELS",
            "sms,e-mail",
            " = 'sms,e-mail': should be one of email",
        ),
    ],
)
def test_a_wrong_value_in_a_variable_is_told_by_the_variables_name(
    place: Place, variable: str, value: str, told: str
) -> None:
    place.file("dashboard = true\n[connectors.file]\nkind = 'file'")
    place.variable(variable, value)
    assert place.refusal().startswith(f"{variable}{told}")


def test_what_a_variables_section_lacks_is_told_by_a_variables_name(place: Place) -> None:
    place.variable("SHARDPOST_CONNECTORS__B__CHANNELS", "sms")
    assert place.refusal() == "SHARDPOST_CONNECTORS__B__KIND is missing"


def test_a_long_value_is_cut_and_its_line_ends_are_escaped(place: Place) -> None:
    place.variable("SHARDPOST_INGESTERS", "x\n" * 10_000)
    assert len(place.refusal()) < 300


def test_a_file_that_is_named_must_be_there(place: Place) -> None:
    place.variable("SHARDPOST_CONFIG", "nowhere.toml")
    assert place.refusal() == "SHARDPOST_CONFIG = 'nowhere.toml': there is no such file"


def test_a_folder_or_other_text_is_no_file(place: Place) -> None:
    place.variable("SHARDPOST_CONFIG", ".")
    assert re.fullmatch(r"\.: cannot be read: .+", place.refusal())
    (place.folder / "latin.toml").write_bytes(b'data = "\xe9"')
    place.variable("SHARDPOST_CONFIG", "latin.toml")
    assert place.refusal() == "latin.toml: should be UTF-8 text"


def test_a_channel_goes_out_by_connectors_that_name_it_or_that_name_none() -> None:
    named = FileConnectorSettings(channels=("sms",))
    rest = FileConnectorSettings()
    assert Settings(connectors={"texts": named}).has_way_out("sms")
    assert not Settings(connectors={"texts": named}).has_way_out("email")
    assert Settings(connectors={"rest": rest, "texts": named}).has_way_out("email")
    assert Settings().has_way_out("email")
