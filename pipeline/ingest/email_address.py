"""E-mail addresses: what `email_validator` says, at a fraction of its cost.

Almost every address has a plain ASCII local part, which one regular expression judges as the
library does, and one of a few thousand domains, whose verdict is remembered.  Only the sum of
their lengths connects the two, so the memory says how much room a domain leaves.  All else
(other scripts, quotes, names that are the same in every case, whatever is refused) goes to the
library, as it would without this module.
"""

import re
from functools import lru_cache
from typing import Final

from email_validator import EmailNotValidError, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES, EMAIL_MAX_LENGTH

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.recipient_mask import mask_address
from pipeline.limits import RECIPIENT_BYTES_MAX

_DOMAINS_REMEMBERED: Final = 16_384
_REASON_CHARS_MAX: Final = 120

_ATOM: Final = r"[a-zA-Z0-9_!#$%&'*+\-/=?^`{|}~]+"
_plain_local_part: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*").fullmatch

# Written in any case these are one mailbox (RFC 2142); the library returns them in small letters.
_CASELESS: Final = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)


@lru_cache(maxsize=_DOMAINS_REMEMBERED)
def _domain(domain: str) -> tuple[str, int]:
    """Return the domain as the library writes it and how long a local part may be beside it.

    A domain that is refused leaves no room.
    """
    try:
        address = validate_email(f"a@{domain}", check_deliverability=False)
    except EmailNotValidError:
        return "", 0
    longest = max(len(form.encode()) for form in (domain, address.domain, address.ascii_domain))
    return address.domain, EMAIL_MAX_LENGTH - 1 - longest


def canonical_address(text: str) -> str:
    """Return the address as it is written best, or raise `SubmissionInvalid("recipient", ...)`.

    The verdict and the result are those of `email_validator` without a look at the DNS.
    """
    if len(text) > RECIPIENT_BYTES_MAX:
        # Neither the memory of domains nor the library is made for texts without a bound.
        raise SubmissionInvalid("recipient", f"{len(text)} characters are no e-mail address")
    local, _, domain = text.partition("@")
    if _plain_local_part(local) and local.lower() not in _CASELESS:
        canonical, room = _domain(domain)
        if len(local) <= room:
            return f"{local}@{canonical}"
    return _canonical_by_library(text.strip())


def _canonical_by_library(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError as error:
        # The library quotes what it refuses, character by character: it may quote the address.
        why = str(error)[:_REASON_CHARS_MAX]
        raise SubmissionInvalid("recipient", f"{mask_address(text)}: {why}") from None
