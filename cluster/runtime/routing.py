"""What the settings say of routes and limits, in the words of the decisions about them."""

from collections.abc import Mapping
from typing import Final

from cluster.runtime.connector_settings import ConnectorSettings
from pipeline.errors import SettingInvalid
from pipeline.ingest.recipient_mask import NUMBER_CHANNELS
from pipeline.limits import PERMITS_AT_ONCE_MAX
from pipeline.route.connector_choice import ConnectorRoute
from pipeline.route.permits import ANY, Limit, LimitBook, LimitKey

_NUMBER: Final = "number"


def connector_routes(connectors: Mapping[str, ConnectorSettings]) -> list[ConnectorRoute]:
    """Return every connector as the choice sees it.

    Raises `SettingInvalid` if a fallback is no other connector, or takes other recipients, and if
    nothing could ever go out by a connector.
    """
    fallbacks = {other for connector in connectors.values() for other in connector.fallback}
    for name, connector in connectors.items():
        if not connector.weight and name not in fallbacks:
            raise SettingInvalid(
                f"connectors.{name}.weight is 0, and no connector names it as its fallback: nothing"
                " would go out by it"
            )
        for other in connector.fallback:
            where = f"connectors.{name}.fallback"
            if other == name or other not in connectors:
                raise SettingInvalid(f"{where} names {other!r}, which is no other connector")
            if not _takes(connectors[other].channels, connector.channels):
                raise SettingInvalid(
                    f"{where} names {other!r}, which takes other recipients: both should be for"
                    " phone numbers, or for the same channels"
                )
    return [
        ConnectorRoute(
            name=name,
            channels=frozenset(connector.channels),
            weight=connector.weight,
            is_enabled=connector.enabled,
            fallback=connector.fallback,
        )
        for name, connector in connectors.items()
    ]


def _takes(channels: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Return whether every recipient of the other channels is one of these; none are all."""
    return not channels or bool(others and _kinds(others) <= _kinds(channels))


def _kinds(channels: tuple[str, ...]) -> set[str]:
    return {_NUMBER if channel in NUMBER_CHANNELS else channel for channel in channels}


def limit_book(connectors: Mapping[str, ConnectorSettings]) -> LimitBook:
    """Return every limit that the settings declare."""
    limits: dict[LimitKey, Limit] = {}
    for name, connector in connectors.items():
        for key, rate, in_flight_max, burst in (
            (f"connector:{name}", connector.rate, connector.in_flight_max, connector.burst),
            (f"sender:{name}|{ANY}", connector.sender_rate, None, None),
            (
                f"destination:{name}|{ANY}",
                connector.destination_rate,
                connector.destination_in_flight_max,
                None,
            ),
        ):
            if rate is not None or in_flight_max is not None:
                limits[key] = Limit(
                    rate_milli=None if rate is None else round(rate * 1_000),
                    burst=burst or _tenth(rate or 0),
                    concurrency=in_flight_max,
                )
    return LimitBook(limits=limits)


def _tenth(rate: float) -> int:
    return min(max(1, round(rate / 10)), PERMITS_AT_ONCE_MAX)


def limited_connectors(book: LimitBook) -> list[LimitKey]:
    """Return the keys that a scheduler asks for from the beginning: those of whole connectors."""
    return [key for key in book.limits if key.startswith("connector:")]
