"""What the settings say of routes and limits."""

from typing import Any

import pytest
from pydantic import ValidationError

from cluster.runtime.connector_settings import FileConnectorSettings
from cluster.runtime.routing import connector_routes, limit_book, limited_connectors
from cluster.runtime.settings import Settings
from pipeline.errors import SettingInvalid
from pipeline.route.connector_choice import ConnectorRoute
from pipeline.route.permits import Limit


def _connector(**fields: Any) -> FileConnectorSettings:
    return FileConnectorSettings(**fields)


def test_a_connector_that_says_nothing_has_no_limit() -> None:
    connectors = {"file": _connector()}
    assert limit_book(connectors).limits == {}
    assert connector_routes(connectors) == [ConnectorRoute(name="file", channels=frozenset())]


def test_every_limit_has_its_key() -> None:
    book = limit_book(
        {
            "a": _connector(rate=100, in_flight_max=7, sender_rate=2.5),
            "b": _connector(in_flight_max=3, destination_rate=0.001),
            "c": _connector(rate=5, burst=20, destination_in_flight_max=2),
        }
    )
    assert book.limits == {
        "connector:a": Limit(rate_milli=100_000, burst=10, concurrency=7),
        "sender:a|*": Limit(rate_milli=2_500, burst=1),
        "connector:b": Limit(concurrency=3),
        "destination:b|*": Limit(rate_milli=1, burst=1),
        "connector:c": Limit(rate_milli=5_000, burst=20),
        "destination:c|*": Limit(concurrency=2),
    }
    assert limited_connectors(book) == ["connector:a", "connector:b", "connector:c"]


def test_a_route_says_what_the_settings_say() -> None:
    routes = connector_routes(
        {
            "a": _connector(channels=("rcs",), weight=3, enabled=False, fallback=("b",)),
            "b": _connector(channels=("sms",)),
        }
    )
    assert routes[0] == ConnectorRoute(
        name="a", channels=frozenset({"rcs"}), weight=3, is_enabled=False, fallback=("b",)
    )


@pytest.mark.parametrize(
    ("channels", "fallback", "is_taken"),
    [
        (("rcs",), ("sms",), True),
        (("whatsapp", "sms"), ("rcs",), True),
        (("email",), ("email",), True),
        (("email",), (), True),
        (("email",), ("sms",), False),
        (("email", "sms"), ("sms",), False),
        ((), ("sms",), False),
    ],
)
def test_a_fallback_takes_the_same_recipients(
    channels: tuple[str, ...], fallback: tuple[str, ...], is_taken: bool
) -> None:
    connectors = {
        "a": _connector(channels=channels, fallback=("b",)),
        "b": _connector(channels=fallback),
    }
    if is_taken:
        assert len(connector_routes(connectors)) == 2
    else:
        with pytest.raises(SettingInvalid, match=r"connectors\.a\.fallback names 'b'"):
            connector_routes(connectors)


@pytest.mark.parametrize("name", ["a", "nobody"])
def test_a_fallback_is_another_connector(name: str) -> None:
    with pytest.raises(SettingInvalid, match="no other connector"):
        connector_routes({"a": _connector(fallback=(name,))})


@pytest.mark.parametrize(
    "fields",
    [
        *({"rate": 0}, {"rate": -1}, {"rate": True}, {"rate": 2_000_000}, {"rate": float("nan")}),
        *({"burst": 5}, {"rate": 1, "burst": 0}, {"in_flight_max": 0}, {"in_flight_max": 1.5}),
        *({"weight": -1}, {"weight": 1_001}, {"fallback": ("Not A Name",)}, {"sender_rate": 0}),
        *({"fallback": tuple("abcdefghi")}, {"destination_in_flight_max": 0}),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _connector(**fields)


def test_settings_with_a_fallback_that_cannot_be_are_refused_at_the_door() -> None:
    with pytest.raises(ValidationError, match=r"connectors\.a\.fallback names 'b'"):
        Settings(connectors={"a": _connector(fallback=("b",))})


def test_one_without_weight_must_be_a_fallback_of_another() -> None:
    spare = _connector(weight=0)
    assert len(connector_routes({"a": _connector(fallback=("b",)), "b": spare})) == 2
    with pytest.raises(SettingInvalid, match=r"connectors\.b\.weight is 0, and no connector"):
        connector_routes({"a": _connector(), "b": spare})
