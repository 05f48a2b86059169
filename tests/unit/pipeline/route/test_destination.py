import pytest

from pipeline.route.destination import NOWHERE, destination_of


@pytest.mark.parametrize(
    ("recipient", "destination"),
    [
        ("+447700900123", "+44"),
        ("+12125550123", "+1"),
        ("+35312345678", "+353"),
        ("+99912345678", NOWHERE),
        ("ada@example.com", "example.com"),
        ("ada@Example.COM", "example.com"),
        ('"a@b"@example.com', "example.com"),
        ("+1@example.com", "example.com"),
        ("+@example.com", "example.com"),
        ("https://hooks.example:8443/a@b", "hooks.example"),
        ("http://[2001:db8::1]/x", "2001:db8::1"),
        ("dGhpcyBpcyBhIHRva2Vu", NOWHERE),
        ("", NOWHERE),
    ],
)
def test_where_a_recipient_is_at_home(recipient: str, destination: str) -> None:
    assert destination_of(recipient) == destination
