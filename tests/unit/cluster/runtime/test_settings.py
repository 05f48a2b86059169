import pickle
from pathlib import Path

import pytest

from cluster.runtime.connector_settings import (
    FileConnectorSettings,
    SmtpConnectorSettings,
    WebhookConnectorSettings,
)
from cluster.runtime.settings import LogLevel, Settings, load_settings
from cluster.runtime.store_kind import StoreKind
from pipeline.connectors.smtp.tls_mode import TlsMode
from pipeline.instant import DurationMs
from pipeline.limits import Windows
from pipeline.outcome import ProviderClass
from tests.support.settings_place import EMAIL, Place


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


def test_a_channel_goes_out_by_connectors_that_name_it_or_that_name_none() -> None:
    named = FileConnectorSettings(channels=("sms",))
    rest = FileConnectorSettings()
    assert Settings(connectors={"texts": named}).has_way_out("sms")
    assert not Settings(connectors={"texts": named}).has_way_out("email")
    assert Settings(connectors={"rest": rest, "texts": named}).has_way_out("email")
    assert Settings().has_way_out("email")
