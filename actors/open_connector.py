"""Opens a way out, by its kind, in the process where it is used."""

from typing import assert_never

from cluster.egress.file_connector import FileConnector
from cluster.egress.file_outbox import FileOutbox
from cluster.runtime.connector_settings import (
    ConnectorSettings,
    FileConnectorSettings,
    WebhookConnectorSettings,
)
from pipeline.ports import Connector


def open_connector(name: str, settings: ConnectorSettings, *, outbox: FileOutbox) -> Connector:
    """Return the connector; the outbox is shared by those that write files.

    Raises `SettingInvalid` if a secret that it names cannot be read.
    """
    match settings:
        case FileConnectorSettings():
            return FileConnector(name=name, outbox=outbox)
        case WebhookConnectorSettings():
            raise NotImplementedError("webhooks")
        case _:
            assert_never(settings)
