"""Recipients: who a message is for, in the one form that its channel's providers expect.

Every spelling of a recipient becomes one canonical text before anything is stored, so that limits,
suppressions and repeats see one person as one.  Numbers and addresses are judged by libraries that
know the numbering plans and the RFCs; `phone_number.py` and `email_address.py` make that cheap.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from phonenumbers import SUPPORTED_REGIONS

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.email_address import canonical_address
from pipeline.ingest.phone_number import canonical_number
from pipeline.ingest.recipient_mask import NUMBER_CHANNELS, mask_recipient
from pipeline.limits import RECIPIENT_BYTES_MAX

__all__ = ["CHANNELS", "Canonicalize", "canonical_recipient", "canonicalizer", "mask_recipient"]

CHANNELS: Final = ("email", "sms", "rcs", "whatsapp", "push", "webhook")

Canonicalize = Callable[[str], str]
"""One recipient in, its canonical form out; raises `SubmissionInvalid("recipient", ...)`."""

_token: Final = re.compile(rf"[!-~]{{1,{RECIPIENT_BYTES_MAX}}}").fullmatch
# Already canonical: scheme and host in small letters, no credentials, no port that is out of range.
_canonical_url: Final = re.compile(
    r"https?://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,3})?(?:[/?][!-~]*)?"
).fullmatch


def _invalid(reason: str) -> SubmissionInvalid:
    return SubmissionInvalid("recipient", reason)


def _canonical_url_of(text: str) -> str:
    if _canonical_url(text) and "#" not in text and len(text) <= RECIPIENT_BYTES_MAX:
        return text
    text = text.strip()
    if not _token(text):
        raise _invalid(
            f"a webhook's URL has 1 to {RECIPIENT_BYTES_MAX} visible ASCII characters;"
            " write others as %XX"
        )
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise _invalid(f"not a URL: {error}") from None
    if port == 0:
        raise _invalid("a webhook's URL has no port 0")
    if url.scheme not in ("http", "https") or not host:
        raise _invalid("a webhook's URL begins with https:// or http:// and a host")
    if url.username is not None or url.password is not None:
        raise _invalid("a webhook's URL holds no user or password; the connector has credentials")
    if url.fragment or text.endswith("#"):
        raise _invalid("a webhook's URL has no #fragment: it would never be sent")
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port is None else f":{port}"
    query = f"?{url.query}" if url.query else ""
    return f"{url.scheme}://{shown_host}{shown_port}{url.path}{query}"


def _canonical_token(text: str) -> str:
    token = text.strip()
    if not _token(token):
        raise _invalid(
            f"a push token has 1 to {RECIPIENT_BYTES_MAX} visible ASCII characters and no space"
        )
    return token


_BY_CHANNEL: Final[dict[str, Canonicalize]] = {
    "email": canonical_address,
    "push": _canonical_token,
    "webhook": _canonical_url_of,
}


def canonicalizer(channel: str, default_region: str | None = None) -> Canonicalize:
    """Return the function that canonicalizes recipients of a channel, for use on many of them.

    `default_region` (`GB`) is where numbers without a country code are at home.  Raises
    `SubmissionInvalid`, for field `channel` or `region` if it is not known.
    """
    if channel in NUMBER_CHANNELS:
        if default_region is None:
            return canonical_number
        if default_region not in SUPPORTED_REGIONS:
            raise SubmissionInvalid(
                "region", f"{default_region[:32]!r} is not a region; write two letters, like GB"
            )
        return partial(canonical_number, default_region=default_region)
    try:
        return _BY_CHANNEL[channel]
    except KeyError:
        raise SubmissionInvalid(
            "channel", f"{channel[:32]!r} is not a channel; one of {', '.join(CHANNELS)}"
        ) from None


def canonical_recipient(channel: str, text: str, *, default_region: str | None = None) -> str:
    """Return the recipient in the channel's canonical form.

    Raises `SubmissionInvalid`, which says what to change.  The canonical form of a canonical form
    is itself.
    """
    return canonicalizer(channel, default_region)(text)
