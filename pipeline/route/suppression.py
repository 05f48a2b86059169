"""Whom a tenant may not write to any more on a channel, and what puts a recipient on that list.

A list by tenant and channel, kept as hashes: a look-up at claim needs no recipient in the clear,
and a copy of the list is no list of addresses.  It is asked for a window at once, when messages are
claimed, so that an opt-out counts for what was accepted before it.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, NewType

from pipeline.limits import STOP_WORD_CHARS_MAX

SuppressionKey = NewType("SuppressionKey", bytes)  # 16 bytes

KEY_BYTES: Final = 16


class SuppressionReason(StrEnum):
    """Why a recipient is on the list."""

    BOUNCE = "bounce"  # the address or number does not exist, or takes nothing for good
    COMPLAINT = "complaint"  # the recipient called it spam
    OPT_OUT = "opt_out"  # the recipient said stop
    MANUAL = "manual"  # somebody put it there


def suppression_key(tenant: str, channel: str, recipient: str) -> SuppressionKey:
    """Return the key of a recipient in its channel's canonical form.

    No tenant and no channel holds a NUL, so two entries never have one text.
    """
    text = f"{tenant}\0{channel}\0{recipient}"
    return SuppressionKey(blake2b(text.encode(), digest_size=KEY_BYTES).digest())


def suppression_keys(
    channel: str, tenants: Sequence[str], recipients: Sequence[str]
) -> list[SuppressionKey]:
    """Return one key for each message of a window."""
    return [
        SuppressionKey(
            blake2b(f"{tenant}\0{channel}\0{recipient}".encode(), digest_size=KEY_BYTES).digest()
        )
        for tenant, recipient in zip(tenants, recipients, strict=True)
    ]


def suppressed_positions(
    keys: Sequence[SuppressionKey], listed: Collection[SuppressionKey]
) -> list[int]:
    """Return the positions of the messages that may not be claimed: their key is listed."""
    if not listed:
        return []
    return [position for position, key in enumerate(keys) if key in listed]


# --- what a receipt says ------------------------------------------------------------------------

_status: Final = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})").fullmatch

# RFC 3463, permanent, and about the address itself.  5.2.2 (mailbox full), 5.3.x (that system),
# 5.4.x (the way there), 5.6.x (the content) and 5.7.x (policy) speak of this message or this day.
_HARD: Final = frozenset(
    {
        *((1, detail) for detail in (0, 1, 2, 3, 6, 10)),  # no such mailbox, host, or moved
        (2, 1),  # mailbox disabled
    }
)


def reason_of_status(status: str) -> SuppressionReason | None:
    """Return BOUNCE for an enhanced status code of a hard bounce (`5.1.1`), else None.

    A soft bounce, whatever its text, and a code that is none suppress nobody: a list that is too
    long silently loses messages, one that is too short costs a bounce.
    """
    match = _status(status.strip())
    if match is None or match[1] != "5":
        return None
    return SuppressionReason.BOUNCE if (int(match[2]), int(match[3])) in _HARD else None


def reason_of_feedback(feedback_type: str) -> SuppressionReason | None:
    """Return the reason of a feedback report's type (RFC 5965), None if it suppresses nobody."""
    match feedback_type.strip().lower():
        case "abuse":
            return SuppressionReason.COMPLAINT
        case "opt-out":
            return SuppressionReason.OPT_OUT
        case _:
            return None


# --- what a recipient says ----------------------------------------------------------------------

# Without accents, as `_folded` leaves a text.
_STOP_WORDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "en": frozenset(
            {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "optout"}
            | {"opt out", "opt-out", "revoke", "remove"}
        ),
        "de": frozenset({"stopp", "abmelden", "abbestellen", "austragen", "beenden"}),
        "fr": frozenset({"arret", "arreter", "desabonner", "desinscrire"}),
        "es": frozenset({"alto", "parar", "baja", "cancelar", "darme de baja"}),
        "it": frozenset({"ferma", "fermare", "disiscrivi", "cancella", "annulla"}),
        "nl": frozenset({"afmelden", "uitschrijven", "stoppen"}),
        "pt": frozenset({"parar", "pare", "sair", "cancelar", "descadastrar"}),
        "pl": frozenset({"koniec", "rezygnuje", "wypisz"}),
        "sv": frozenset({"stoppa", "avsluta", "avregistrera"}),
        "da": frozenset({"afmeld", "frameld"}),
        "nb": frozenset({"avslutt", "avmeld", "stans"}),
        "fi": frozenset({"lopeta", "seis", "peruuta"}),
        "cs": frozenset({"odhlasit", "konec"}),
        "tr": frozenset({"dur", "iptal", "ret"}),
    }
)
LANGUAGES: Final = tuple(_STOP_WORDS)

_EDGES: Final = " \t\r\n.,!?\"'\u2018\u2019\u201c\u201d«»()[]*-_"


def is_stop_word(text: str, languages: Collection[str] = LANGUAGES) -> bool:
    """Return whether an answer to a message is, as a whole, a word for stop.

    For whoever receives answers; the platform itself hears none yet.

    English counts in every country, as operators demand.  A word in a sentence does not ("please
    don't stop"): who means it is asked, not guessed.
    """
    if len(text) > STOP_WORD_CHARS_MAX:
        return False
    word = _folded(text)
    return any(word in _STOP_WORDS[name] for name in {"en", *languages} if name in _STOP_WORDS)


def _folded(text: str) -> str:
    """Return the text in small letters, without accents and what stands around it."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(mark for mark in decomposed if not unicodedata.combining(mark))
    return " ".join(bare.strip(_EDGES).split())
