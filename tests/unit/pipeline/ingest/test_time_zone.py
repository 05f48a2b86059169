from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from phonenumbers import timezone as library

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.time_zone import zone_name_of, zone_named

DEFAULT = "Etc/GMT+5"


@pytest.mark.parametrize(
    ("recipient", "zone"),
    [
        ("+4915112345678", "Europe/Berlin"),
        ("+33612345678", "Europe/Paris"),
        ("+819012345678", "Asia/Tokyo"),
        ("+919876543210", "Asia/Calcutta"),
        pytest.param("+447700900123", "Europe/London", id="islands with the same time"),
        pytest.param("+393123456789", "Europe/Rome", id="a city within a city"),
        pytest.param("+12125550123", DEFAULT, id="an area code is no place"),
        pytest.param("+79161234567", DEFAULT, id="eleven zones"),
        pytest.param("+34612345678", DEFAULT, id="islands with another time"),
        pytest.param("+80012345678", DEFAULT, id="a number of no country"),
        pytest.param("+99912345678", DEFAULT, id="no country code"),
        pytest.param("+1@example.com", DEFAULT, id="an address"),
        pytest.param("https://example.com/49", DEFAULT, id="a URL"),
    ],
)
def test_a_number_tells_its_zone_only_where_its_country_has_one(recipient: str, zone: str) -> None:
    assert zone_name_of(recipient, explicit=None, default=DEFAULT) == zone


def test_what_is_said_explicitly_counts() -> None:
    assert zone_name_of("+4915112345678", explicit="Asia/Tokyo", default=DEFAULT) == "Asia/Tokyo"
    assert zone_name_of("+4915112345678", explicit="", default=DEFAULT) == "Europe/Berlin"


def test_every_zone_of_a_country_is_one_that_the_library_names_and_python_knows() -> None:
    found = 0
    for region in phonenumbers.SUPPORTED_REGIONS:
        number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if number is None:
            continue
        text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        zone = zone_name_of(text, explicit=None, default="")
        if zone:
            found += 1
            assert zone_named(zone).key == zone
            assert zone in library.time_zones_for_number(number)
    assert found > 150


@pytest.mark.parametrize("name", ["Europe/Paris", "UTC", "America/Argentina/Buenos_Aires"])
def test_a_zone_has_its_name(name: str) -> None:
    assert zone_named(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Paris", "europe/paris", "Europe/Atlantis", "Europe", "../../etc/localtime"),
        *("/etc/localtime", "Europe/../Europe/Paris", "Factory", "localtime", "EST5EDT", "CET"),
        *("Europe/Paris\0", "A" * 100, "posixrules"),
    ],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(SubmissionInvalid, match="write it like Europe/Paris"):
        zone_named(name)
