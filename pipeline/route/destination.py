"""Where a recipient is at home, as limits see it: a mail domain, a country code, a host.

What is limited is the place that many recipients share: the mail servers of a domain, the networks
of a country, the machine behind a webhook.  A push token tells none.
"""

from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from pipeline.limits import DESTINATIONS_REMEMBERED

NOWHERE: Final = ""

_CODES: Final = frozenset(map(str, COUNTRY_CODE_TO_REGION_CODE))


def destination_of(recipient: str) -> str:
    """Return the place of a recipient in its channel's canonical form, `NOWHERE` if it has none."""
    if recipient.startswith("+") and recipient[1:].isdecimal():
        # No country code is the beginning of another.
        return next((recipient[:end] for end in (2, 3, 4) if recipient[1:end] in _CODES), NOWHERE)
    if recipient.startswith(("https://", "http://")):
        return _host(recipient)
    _, at, domain = recipient.rpartition("@")
    return domain.lower() if at else NOWHERE


@lru_cache(maxsize=DESTINATIONS_REMEMBERED)
def _host(url: str) -> str:
    return urlsplit(url).hostname or NOWHERE
