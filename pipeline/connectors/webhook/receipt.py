"""Callbacks of a provider: who sent them, and what they say of which messages.

A callback is JSON: an object, or a list of objects, or either under `data`.  Each names a message,
by `reference` (the provider's own name) or `message_id` (our id), and tells its `status`.  Words
for a status are many; one that is not known settles nothing and is no error, as providers add some
at will.

Who sent it is proven as Standard Webhooks has it, with a secret of its own; the instant that is
signed keeps what was heard once from being played back for ever.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.connectors.webhook.request import hook_of, moment_of
from pipeline.errors import InputInvalid
from pipeline.instant import DurationMs, Instant, elapsed_ms
from pipeline.limits import (
    OUTCOME_DETAIL_CHARS_MAX,
    RECEIPTS_PER_CALLBACK_MAX,
    REFERENCE_CHARS_MAX,
)
from pipeline.outcome import ReceiptsBy
from pipeline.route.receipts import ReceiptTerms, Word, normal_reference

SIGNATURE_AGE_MS_MAX: Final = DurationMs(300_000)

_US_PER_S: Final = 1_000_000
_SIGNATURES_MAX: Final = 16
_KEY_CHARS_MAX: Final = 256

_seconds: Final = re.compile(r"[0-9]{1,12}", re.ASCII).fullmatch
_hex_id: Final = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch
_decode: Final = msgspec.json.Decoder().decode

_WORDS: Final[Mapping[str, Word]] = {
    **dict.fromkeys(
        ("accepted", "queued", "submitted", "processing", "buffered", "enroute", "sent"), Word.TAKE
    ),
    **dict.fromkeys(("delivered", "read", "seen", "opened", "clicked"), Word.DELIVER),
    **dict.fromkeys(
        ("failed", "undelivered", "undeliverable", "rejected", "bounced", "expired", "deleted"),
        Word.REFUSE,
    ),
    **dict.fromkeys(("gone", "unknown_recipient", "unregistered"), Word.GONE),
    **dict.fromkeys(("complained", "complaint", "spam"), Word.COMPLAINT),
    **dict.fromkeys(("opted_out", "opt_out", "unsubscribed", "stopped"), Word.OPT_OUT),
}


class ReceiptUnreadable(InputInvalid):
    """The provider must send what the page about receipts says; a repeat helps nobody."""


class Receipt(NamedTuple):
    """What is said of one message; `word` None: nothing that settles anything."""

    reference: str  # in its normal form
    word: Word | None
    detail: str  # the status as it came, and a reason if there is one


def read_receipts(content: bytes, terms: ReceiptTerms) -> list[Receipt]:
    """Return what a callback says.  Raises `ReceiptUnreadable`, and nothing else."""
    try:
        told = _decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ReceiptUnreadable("the body should be JSON") from None
    if isinstance(told, dict) and isinstance(told.get("data"), dict | list):
        told = told["data"]
    items = told if isinstance(told, list) else [told]
    if not 1 <= len(items) <= RECEIPTS_PER_CALLBACK_MAX:
        raise ReceiptUnreadable(f"a callback should hold 1 to {RECEIPTS_PER_CALLBACK_MAX} receipts")
    return [_receipt(item, terms) for item in items]


def _receipt(item: object, terms: ReceiptTerms) -> Receipt:
    if not isinstance(item, dict):
        raise ReceiptUnreadable("a receipt should be an object")
    status = item.get("status")
    if not isinstance(status, str) or not status.strip():
        raise ReceiptUnreadable("a receipt should tell a status")
    word = _WORDS.get(status.strip().casefold().replace("-", "_").replace(" ", "_"))
    return Receipt(_reference(item, terms), word, _detail(status, item))


def _reference(item: Mapping[str, Any], terms: ReceiptTerms) -> str:
    told = item.get(terms.by.value)
    if terms.by is ReceiptsBy.MESSAGE_ID:
        text = told.strip().casefold().replace("-", "") if isinstance(told, str) else ""
        if not _hex_id(text):
            raise ReceiptUnreadable("message_id should be 32 hexadecimal digits: our webhook-id")
        return text
    name = str(told) if type(told) is int else told
    if not isinstance(name, str) or not name.strip() or len(name) > REFERENCE_CHARS_MAX:
        raise ReceiptUnreadable(
            f"reference should be the name that the answer gave, 1 to {REFERENCE_CHARS_MAX}"
            " characters"
        )
    return normal_reference(name, terms.form)


def _detail(status: str, item: Mapping[str, Any]) -> str:
    reason = next(
        (text for name in ("detail", "reason", "error") if isinstance(text := item.get(name), str)),
        "",
    )
    plain = "".join(c if c.isprintable() else " " for c in f"{status} {reason}")
    return " ".join(plain.split())[:OUTCOME_DETAIL_CHARS_MAX]


class SignatureCheck:
    """Knows who may call back: who signs with one of the secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Raise `SettingInvalid` if one is no secret of a webhook; it is not shown."""
        assert secrets, "without a secret anybody could call"
        self._hooks = [hook_of(secret) for secret in secrets]

    def is_signed(self, headers: Mapping[str, str], content: bytes, *, now: Instant) -> bool:
        """Return whether a request is signed, and not long ago; names of headers are small."""
        key, at_text = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not 1 <= len(key) <= _KEY_CHARS_MAX or not _seconds(at_text):
            return False
        at = Instant(int(at_text) * _US_PER_S)
        if abs(elapsed_ms(since=at, until=now)) > SIGNATURE_AGE_MS_MAX:
            return False
        given = headers.get("webhook-signature", "").split(" ")[:_SIGNATURES_MAX]
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return False
        signed = [hook.sign(key, moment_of(at), text).encode() for hook in self._hooks]
        return any(
            # Of text that is not ASCII the library of Python compares nothing.
            hmac.compare_digest(one, other.encode("utf-8", "replace"))
            for one in signed
            for other in given
        )
