"""A way out by webhook, made of what an operator set."""

import base64
from pathlib import Path
from typing import Any

import pytest

from actors.open_connector import open_connector
from cluster.egress.file_outbox import FileOutbox
from cluster.egress.webhook_connector import WebhookConnector
from cluster.runtime.connector_settings import WebhookConnectorSettings
from pipeline.errors import SettingInvalid
from pipeline.outcome import ProviderClass

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def opened(folder: Path, **set_: Any) -> WebhookConnector:
    connector = open_connector("hooks", WebhookConnectorSettings(**set_), outbox=FileOutbox(folder))
    assert isinstance(connector, WebhookConnector)
    return connector


def test_its_class_is_the_one_that_was_declared(tmp_path: Path) -> None:
    url = "https://gateway.example/"
    assert opened(tmp_path, url=url).provider_class is ProviderClass.KEYED
    connector = opened(tmp_path, url=url, provider_class=ProviderClass.NONE)
    assert connector.provider_class is ProviderClass.NONE
    assert not connector.has_receipts


def test_the_port_of_its_own_url_is_allowed_and_no_other(tmp_path: Path) -> None:
    rules = opened(tmp_path, url="https://gateway.example:8443/")._sender._network._rules
    assert rules.allows_port(8443)
    assert not rules.allows_port(8080)


def test_its_secrets_are_read_where_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    with pytest.raises(
        SettingInvalid, match="secret env:HOOK_SECRET: set the variable HOOK_SECRET"
    ):
        opened(tmp_path, channels=("webhook",), secrets=("env:HOOK_SECRET",))
    monkeypatch.setenv("HOOK_SECRET", "no secret of a webhook")
    with pytest.raises(SettingInvalid, match="should be base64"):
        opened(tmp_path, channels=("webhook",), secrets=("env:HOOK_SECRET",))
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    assert opened(tmp_path, channels=("webhook",), secrets=("env:HOOK_SECRET",)).name == "hooks"


def test_one_of_class_q_can_be_asked_also_at_another_port(tmp_path: Path) -> None:
    connector = opened(
        tmp_path,
        url="https://gateway.example/",
        query_url="https://gateway.example:8443/{id}",
        provider_class=ProviderClass.QUERYABLE,
    )
    assert connector._query_writer is not None
    assert connector._sender._network._rules.allows_port(8443)
    assert opened(tmp_path, url="https://gateway.example/")._query_writer is None
