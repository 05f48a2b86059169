"""Tries what the settings say of connectors and receipts before anything is started with it.

What is wrong there is told at once, by whoever can change it, instead of by a process that ends
again and again.  It may go wrong later all the same; then the running platform tells of it.
"""

from collections.abc import AsyncIterator
from pathlib import Path

from actors.open_connector import open_check, open_connector
from cluster.egress.file_outbox import FileOutbox
from cluster.egress.receipt_endpoint import refuse_taken
from cluster.runtime.connector_settings import ConnectorSettings, WebhookConnectorSettings
from cluster.runtime.settings import Settings
from pipeline.errors import SettingInvalid


async def try_ways_out(settings: Settings) -> None:
    """Raise `SettingInvalid` for the first thing that is wrong."""
    async for refusal in refused_ways_out(settings):
        raise refusal


async def refused_ways_out(settings: Settings) -> AsyncIterator[SettingInvalid]:
    """Yield what is wrong with connectors and receipts; nothing is sent, and nothing stays open."""
    has_callbacks = False
    for name, connector in settings.connectors.items():
        has_callbacks |= _has_callbacks(connector)
        try:
            await _try_connector(name, connector)
        except SettingInvalid as refusal:
            yield refusal
    if has_callbacks:
        try:
            refuse_taken(settings.receipts.host, settings.receipts.port)
        except SettingInvalid as refusal:
            yield refusal


async def _try_connector(name: str, connector: ConnectorSettings) -> None:
    # An outbox makes its folder with its first line.
    opened = open_connector(name, connector, outbox=FileOutbox(Path()))
    await opened.close()
    if isinstance(connector, WebhookConnectorSettings) and _has_callbacks(connector):
        open_check(name, connector)


def _has_callbacks(connector: ConnectorSettings) -> bool:
    return isinstance(connector, WebhookConnectorSettings) and connector.receipts
