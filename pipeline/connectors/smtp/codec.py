"""From a claimed message to the mail that is handed over: envelope, header, text.

The header is written here, line by line, and not by `email.message`: that takes more than a
millisecond for a mail, gives some subjects back changed, and lets a NUL through.  Nothing here is
more than RFC 5322 with encoded words (RFC 2047); the tests read it back with that library.

The id of the message is in the Message-ID, which readers use to drop a second copy, and in the
envelope's sender (VERP), where bounces go, so that one is known by the address it comes to.  Both
are the same at every attempt.
"""

import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final, NamedTuple

from email_validator import EmailNotValidError, validate_email

from pipeline.errors import InputInvalid
from pipeline.ingest.header_text import has_control_character
from pipeline.instant import Instant
from pipeline.message import MessageId, Submission

ID_HEADER: Final = "X-Shardpost-Message"
BOUNCE_LOCAL_PART: Final = "bounce"

_DOMAINS_REMEMBERED: Final = 16_384
_ADDRESS_BYTES_MAX: Final = 254
_LINE_BYTES_MAX: Final = 998
_HEADER_LINE_CHARS_MAX: Final = 78
# 39 bytes are 52 characters of base64; with `Subject: =?utf-8?b?` and `?=` a line stays below 76.
_WORD_BYTES_MAX: Final = 39
_US_PER_S: Final = 1_000_000

# Whatever could end an address on a command line, or begin something else there.
_ends_an_address: Final = re.compile(r"[\s<>()\[\],;:\\\"]").search
_plain_phrase: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
)
_domain_name: Final = re.compile(
    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
)


class MailInvalid(InputInvalid):
    """The message can never be a mail; another attempt fails the same way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who mail is from.  Raises `MailInvalid` if a part could not stand in a header."""

    address: str
    domain: str  # of Message-IDs, and of the addresses that bounces come to
    name: str = ""
    default_subject: str = ""

    def __post_init__(self) -> None:
        _check_address("the sender", self.address)
        if not self.address.isascii():
            raise MailInvalid("the sender's address should be ASCII; write its domain as xn--...")
        if not _domain_name.fullmatch(self.domain) or len(self.domain) > 190:
            raise MailInvalid(f"{self.domain!r} should be a domain in small ASCII letters")
        for text in (self.name, self.default_subject):
            if has_control_character(text):
                raise MailInvalid("a name and a subject hold no control characters")


class Mail(NamedTuple):
    """What goes over the wire."""

    sender: str
    recipient: str
    needs_utf8: bool  # the server must offer SMTPUTF8
    content: bytes  # lines end with CR LF, dots at their beginnings are doubled


def bounce_address(message_id: MessageId, domain: str) -> str:
    """Return the envelope's sender of a message: where its bounces go."""
    return f"{BOUNCE_LOCAL_PART}+{message_id.hex()}@{domain}"


def render(submission: Submission, *, message_id: MessageId, sender: Sender, now: Instant) -> Mail:
    """Return the mail; the same but for its date at every attempt.  Raises `MailInvalid`."""
    recipient, needs_utf8 = _envelope_recipient(submission.recipient)
    key = message_id.hex()
    subject = submission.metadata.get("subject") or sender.default_subject
    if has_control_character(subject):
        raise MailInvalid("the subject holds a control character")
    encoding, text = _encode_text(submission.content)
    date = datetime.fromtimestamp(now // _US_PER_S, tz=UTC)
    lines = [
        f"From: {_mailbox(sender)}",
        f"To: {recipient}",
        *(
            [f"Subject: {_encode_words(subject, room=_HEADER_LINE_CHARS_MAX - 9)}"]
            if subject
            else ()
        ),
        f"Date: {format_datetime(date)}",
        f"Message-ID: <{key}@{sender.domain}>",
        f"{ID_HEADER}: {key}",
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        f"Content-Transfer-Encoding: {encoding}",
        "",
        "",
    ]
    content = "\r\n".join(lines).encode() + text
    # Some servers take a lone CR or LF for the end of a line, and so a dot behind one for the end
    # of the mail, and the rest for another mail (smuggling).
    if not content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n"):
        raise MailInvalid("a line of the mail ends with half of CR LF")
    return Mail(
        bounce_address(message_id, sender.domain),
        recipient,
        needs_utf8,
        content.replace(b"\r\n.", b"\r\n.."),
    )


def _check_address(what: str, address: str) -> None:
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or "@" in local or _ends_an_address(address):
        raise MailInvalid(f"{what} should be one address like name@example.com")
    if has_control_character(address):
        raise MailInvalid(f"{what} holds a control character")
    if len(address.encode()) > _ADDRESS_BYTES_MAX:
        raise MailInvalid(f"{what} has more than {_ADDRESS_BYTES_MAX} bytes")


def _envelope_recipient(address: str) -> tuple[str, bool]:
    """Return the recipient for the command line, and whether it stays outside of ASCII there."""
    _check_address("the recipient", address)
    if address.isascii():
        return address, False
    local, _, domain = address.rpartition("@")
    address = f"{local}@{_ascii_domain(domain)}"
    _check_address("the recipient", address)
    return address, not local.isascii()


@lru_cache(maxsize=_DOMAINS_REMEMBERED)
def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        ascii_domain = validate_email(f"a@{domain}", check_deliverability=False).ascii_domain
    except EmailNotValidError:
        ascii_domain = None
    if ascii_domain is None:
        raise MailInvalid("the recipient's domain cannot be written in ASCII")
    return ascii_domain


def _mailbox(sender: Sender) -> str:
    if not sender.name:
        return sender.address
    if _plain_phrase.fullmatch(sender.name) and "=?" not in sender.name:
        return f"{sender.name} <{sender.address}>"
    return f"{_encode_words(sender.name, room=0)}\r\n <{sender.address}>"


def _encode_words(text: str, *, room: int) -> str:
    """Return the text as it stands if it fits and is plain, else as encoded words (RFC 2047)."""
    if text.isascii() and len(text) <= room and "=?" not in text and text.strip() == text:
        return text
    return "\r\n ".join(f"=?utf-8?b?{b64encode(part).decode()}?=" for part in _parts(text))


def _parts(text: str) -> Iterator[bytes]:
    """Cut the text into parts that are whole characters and fit in an encoded word."""
    part = bytearray()
    for character in text:
        encoded = character.encode()
        if len(part) + len(encoded) > _WORD_BYTES_MAX:
            yield bytes(part)
            part.clear()
        part += encoded
    yield bytes(part)


def _encode_text(text: str) -> tuple[str, bytes]:
    """Return the text's transfer encoding and itself in it, ended by CR LF."""
    if "\0" in text:
        raise MailInvalid("the text holds a NUL character")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    try:
        plain = text.encode()
    except UnicodeEncodeError:
        raise MailInvalid("the text holds half of a surrogate pair") from None
    if text.isascii() and _longest_line(plain) <= _LINE_BYTES_MAX:
        return "7bit", plain.replace(b"\n", b"\r\n")
    # Of mostly foreign letters base64 is the shorter one, of mostly ours the other can be read.
    if 3 * sum(map((127).__lt__, plain)) > len(plain):
        return "base64", _base64_lines(plain.replace(b"\n", b"\r\n"))
    return "quoted-printable", b2a_qp(plain).replace(b"\n", b"\r\n")


def _longest_line(text: bytes) -> int:
    return max(map(len, text.split(b"\n")))


def _base64_lines(data: bytes) -> bytes:
    encoded = b64encode(data)
    return b"".join(encoded[start : start + 76] + b"\r\n" for start in range(0, len(encoded), 76))
