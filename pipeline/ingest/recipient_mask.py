"""What a log, a refusal or a terminal may show of a recipient.

Enough to find it again beside its line or its id, not enough to write to it.
"""

import re
from typing import Final

NUMBER_CHANNELS: Final = frozenset({"sms", "rcs", "whatsapp"})

_MANY: Final = "•••••"
_SOME: Final = "•••"
# Fewer characters would leave fewer hidden than shown.
_NUMBER_CHARS_MIN: Final = 12
_TOKEN_CHARS_MIN: Final = 16

# What stands before the host may be credentials; they are skipped, not shown.
_url_of_host: Final = re.compile(
    r"(https?://)(?:[^/?#@]*@)?([a-z0-9.-]{1,253}(?::[0-9]{1,5})?)(?:[/?#].*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
).fullmatch


def _printable(text: str) -> str:
    # A recipient that is refused may hold anything, also what no output can encode.
    return "".join(character if character.isprintable() else "?" for character in text)


def mask_number(text: str) -> str:
    """Return `+4479•••••12`; of what is too short for a number, nothing."""
    if len(text) < _NUMBER_CHARS_MIN:
        return _MANY
    return _printable(f"{text[:5]}{_MANY}{text[-2:]}")


def mask_address(text: str) -> str:
    """Return `a•••@example.com`; of what has no two sides of an @, nothing."""
    local, _, domain = text.rpartition("@")
    if not local or not domain or len(domain) > 253:
        return _SOME
    return _printable(f"{local[0]}{_SOME}@{domain}")


def mask_url(text: str) -> str:
    """Return `https://example.com/•••`: paths and credentials of a webhook are secrets."""
    match = _url_of_host(text)
    return f"{match[1]}{match[2]}/{_SOME}" if match else _SOME


def mask_token(text: str) -> str:
    """Return `dGhp•••`; of what is too short for a token, nothing."""
    return _printable(f"{text[:4]}{_SOME}") if len(text) >= _TOKEN_CHARS_MIN else _SOME


def mask_recipient(channel: str, text: str) -> str:
    """Return what may be shown of a recipient of the channel, whether it is valid or not."""
    if channel in NUMBER_CHANNELS:
        return mask_number(text)
    if channel == "email":
        return mask_address(text)
    if channel == "webhook":
        return mask_url(text)
    return mask_token(text)
