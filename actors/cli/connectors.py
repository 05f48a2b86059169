"""`shardpost connectors`: the ways out that the settings name.

They are read when a platform starts.  One that is switched off (`enabled = false`) takes nothing
from the next start on; what it is given is in the settings alone.
"""

from collections import Counter

import msgspec
import typer

from actors.cli.options import DataOption, JsonOption
from actors.cli.output import write_json, write_line, write_table
from cluster.runtime.connector_settings import ConnectorSettings
from cluster.runtime.settings import Settings, load_settings
from pipeline.ingest.recipient import CHANNELS
from pipeline.outcome import ProviderClass


class ConnectorReport(msgspec.Struct, frozen=True, kw_only=True):
    """One connector; limits that are None do not hold."""

    name: str
    kind: str
    channels: list[str]
    provider_class: str = msgspec.field(name="class")
    has_receipts: bool
    is_enabled: bool
    weight: int
    share_percent: dict[str, int]  # of the messages of each channel
    fallback: list[str]
    rate: float | None
    burst: int | None
    in_flight_max: int | None
    sender_rate: float | None
    destination_rate: float | None
    destination_in_flight_max: int | None
    at_once: int | None  # messages that a process hands over at once


class ConnectorsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and the channels that have no way out."""

    connectors: list[ConnectorReport]
    channels_without: list[str]


def read_connectors(settings: Settings) -> ConnectorsReport:
    """Return what the settings say."""
    serving = {name: _channels(name, settings) for name in settings.connectors}
    weights: Counter[str] = Counter()
    for name, channels in serving.items():
        if settings.connectors[name].enabled:
            weights.update(dict.fromkeys(channels, settings.connectors[name].weight))
    return ConnectorsReport(
        connectors=[
            _report(name, connector, serving[name], weights)
            for name, connector in settings.connectors.items()
        ],
        channels_without=[one for one in CHANNELS if not weights[one]],
    )


def _channels(name: str, settings: Settings) -> list[str]:
    named = settings.connectors[name].channels
    if named:
        return list(named)
    taken = {
        one for other in settings.connectors.values() if other.weight for one in other.channels
    }
    return [one for one in CHANNELS if one not in taken]


def _report(
    name: str, connector: ConnectorSettings, channels: list[str], weights: Counter[str]
) -> ConnectorReport:
    provider_class: ProviderClass = getattr(connector, "provider_class", ProviderClass.NONE)
    return ConnectorReport(
        name=name,
        kind=connector.kind.value,
        channels=channels,
        provider_class=provider_class.value,
        has_receipts=connector.receipt_terms is not None,
        is_enabled=connector.enabled,
        weight=connector.weight,
        share_percent={
            one: round(100 * connector.weight / weights[one])
            if connector.enabled and weights[one]
            else 0
            for one in channels
        },
        fallback=list(connector.fallback),
        rate=connector.rate,
        burst=connector.burst,
        in_flight_max=connector.in_flight_max,
        sender_rate=connector.sender_rate,
        destination_rate=connector.destination_rate,
        destination_in_flight_max=connector.destination_in_flight_max,
        at_once=connector.at_once,
    )


def show_connectors(report: ConnectorsReport) -> None:
    """Write the report for a person."""
    write_table(
        ("name", "kind", "channels", "class", "on", "weight", "rate", "in flight", "fallback"),
        [
            (
                one.name,
                one.kind,
                " ".join(one.channels),
                one.provider_class,
                "yes" if one.is_enabled else "NO",
                one.weight,
                None if one.rate is None else f"{one.rate:g}/s",
                one.in_flight_max,
                " ".join(one.fallback),
            )
            for one in report.connectors
        ],
    )
    if report.channels_without:
        write_line()
        write_line(f"Without a way out: {', '.join(report.channels_without)}.")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("connectors")
    def _command(data: DataOption = None, as_json: JsonOption = False) -> None:
        """Show the ways out: channels, provider class, on or off, weight, limits."""
        report = read_connectors(load_settings(data=data))
        if as_json:
            write_json(report)
        else:
            show_connectors(report)
