"""Settings that cannot be are refused in one line that says what to change."""

import re

import pytest

from cluster.runtime.settings import Settings, load_settings
from tests.support.settings_place import EMAIL, MAIL, Place


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
        pytest.param(
            "store = 'redis'", "store = 'redis': should be 'local' or 'scylla'", id="store"
        ),
        pytest.param(
            "[scylla]\nkeyspace = 'Big-One'",
            "scylla.keyspace = 'Big-One': should be small",
            id="ks",
        ),
        pytest.param(
            "[scylla]\nreplication = 0",
            "scylla.replication = 0: should be greater than or equal to 1",
            id="replication",
        ),
        pytest.param(
            "[scylla]\npassword = 'hidden'",
            "scylla.password: should name where the secret stands, as env:VARIABLE or file:PATH",
            id="a password",
        ),
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
