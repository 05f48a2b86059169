"""In which time zone a recipient's day begins and ends.

Said explicitly it is that one.  Else a phone number may tell, but only by its country, and only
where the whole country has one time: an area code says where a number was issued, not where a
mobile phone is, and a guess sends at three in the morning.  Else it is the default.

The rules come from the machine's time zone database, or from the `tzdata` package where there is
none; they are read once a zone.
"""

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from pipeline.errors import SubmissionInvalid
from pipeline.limits import TIME_ZONE_CHARS_MAX

_name: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}").fullmatch
_number: Final = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_UNKNOWN: Final = "Etc/Unknown"

# Names that stand for the rules of another zone: an island's number does not make two times of one.
_SAME_RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "America/Kralendijk": "America/Curacao",
        "Arctic/Longyearbyen": "Europe/Oslo",
        "Europe/Guernsey": "Europe/London",
        "Europe/Isle_of_Man": "Europe/London",
        "Europe/Jersey": "Europe/London",
        "Europe/Mariehamn": "Europe/Helsinki",
        "Europe/Vatican": "Europe/Rome",
    }
)


def zone_named(name: str) -> ZoneInfo:
    """Return the zone of an IANA name; raises `SubmissionInvalid("time_zone", what to change)`."""
    # Judged before anything is looked for: a name is part of a path.
    if len(name) <= TIME_ZONE_CHARS_MAX and _name(name) and name in _names():
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise SubmissionInvalid(
        "time_zone", f"{name[:TIME_ZONE_CHARS_MAX]!r} is no time zone; write it like Europe/Paris"
    )


@cache
def _names() -> frozenset[str]:
    # A database of a system also holds what is no place: the machine's own zone, old rules.
    return frozenset(name for name in available_timezones() if "/" in name or name == "UTC")


def zone_name_of(recipient: str, *, explicit: str | None, default: str) -> str:
    """Return the name of the recipient's zone; `recipient` is in its channel's canonical form."""
    if explicit:
        return explicit
    return (_number(recipient) and _zone_of_number(recipient)) or default


def _zone_of_number(number: str) -> str | None:
    zones = _zones_of_codes()
    # No country code is the beginning of another.
    for end in (2, 3, 4):
        if number[1:end] in zones:
            return zones[number[1:end]]
    return None


@cache
def _zones_of_codes() -> Mapping[str, str | None]:
    """Return the only zone of each country code, None for one with several or none."""
    # Only here, as it brings a table of three thousand prefixes.
    from phonenumbers.tzdata import TIMEZONE_DATA

    zones: dict[str, str | None] = {}
    for code in map(str, COUNTRY_CODE_TO_REGION_CODE):
        names = {_SAME_RULES.get(name, name) for name in TIMEZONE_DATA.get(code, ())}
        only = names.pop() if len(names) == 1 else None
        zones[code] = None if only == _UNKNOWN else only
    return zones
