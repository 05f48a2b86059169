"""What comes back: bounces and confirmations (RFC 3464), and complaints (RFC 5965).

A report is matched to its message by the address it was sent to (VERP), else by what it returns of
the original mail, else by the envelope id it repeats (ENVID).  A report that names no message of
ours, and mail that is no report, such as an answer of somebody on holiday, is `NotOurs`.

Ids cannot be guessed, so a report can be forged only by who got the mail; it speaks for that
message and for nothing else.  Its size and its parts are bounded (`mime_parts`).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipeline.connectors.smtp.codec import BOUNCE_LOCAL_PART, ID_HEADER
from pipeline.connectors.smtp.mime_parts import Header, Part, read_fields, split_mail, split_parts
from pipeline.errors import InputInvalid
from pipeline.lifecycle import Event
from pipeline.limits import OUTCOME_DETAIL_CHARS_MAX
from pipeline.message import MessageId

REPORT_BYTES_MAX: Final = 1024 * 1024
_RECIPIENTS_MAX: Final = 64
_ADDRESSES_SEARCHED: Final = ("delivered-to", "x-original-to", "envelope-to", "to")
_ORIGINALS: Final = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global"}
    | {"message/global-headers"}
)
_STATUSES: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})

_unseen: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]+").sub
_blank_line: Final = re.compile(rb"(?:\r?\n[ \t]*){2,}").split
_status_code: Final = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b").search
_hex_id: Final = re.compile(r"[0-9a-f]{32}").fullmatch
# No such mailbox, host or form of address; moved; takes no mail; disabled: none will fare better.
_GONE: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})


class ReportUnreadable(InputInvalid):
    """Whoever keeps the mailbox must look at the mail: it calls itself a report and is none."""


class Feedback(StrEnum):
    """What a recipient said by way of the provider."""

    COMPLAINT = "complaint"  # marked as unwanted
    OPT_OUT = "opt_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReceipt:
    """What became of a message that had been taken."""

    message_id: MessageId
    event: Event  # DELIVER or REFUSE
    detail: str
    is_hard: bool = False  # with REFUSE: refused for good, and not only tried in vain
    is_address_gone: bool = False  # so that nothing more should be sent to it


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionHint:
    """The recipient of a message wants no more; the message itself was delivered."""

    message_id: MessageId
    feedback: Feedback
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOurs:
    """Nothing to record: no report, about none of our messages, or one that settles nothing."""

    why: str


def parse_report(
    raw: bytes, *, domain: str, envelope_recipient: str = ""
) -> DeliveryReceipt | SuppressionHint | NotOurs:
    """Return what a mail that came to a bounce address says.

    `domain` is the sender's (`codec.Sender`); `envelope_recipient` the address it was delivered to,
    where that is known.  Raises `ReportUnreadable`, and nothing else, whatever the bytes.
    """
    if len(raw) > REPORT_BYTES_MAX:
        raise ReportUnreadable(f"has {len(raw)} bytes, at most {REPORT_BYTES_MAX}")
    mail = split_mail(raw)
    if mail.media_type != "multipart/report":
        return NotOurs(why="no report")
    parts = split_parts(mail)
    feedback = next((part for part in parts if part.media_type == "message/feedback-report"), None)
    status = next((part for part in parts if part.media_type in _STATUSES), None)
    if feedback is None and status is None:
        raise ReportUnreadable("is a multipart/report without a status")
    blocks = _blocks(status) if status is not None else []
    message_id = _message_of(
        mail.header, envelope_recipient, blocks, _original(parts), domain=domain
    )
    if message_id is None:
        return NotOurs(why="names no message of ours")
    if feedback is not None:
        return _hint(message_id, read_fields(feedback.decoded()))
    return _receipt(message_id, blocks[1:])


def _blocks(status: Part) -> list[Header]:
    """Return the fields about the mail, then those about each recipient."""
    blocks = _blank_line(status.decoded().strip(), _RECIPIENTS_MAX + 1)
    fields = [read_fields(block) for block in blocks[: _RECIPIENTS_MAX + 1]]
    # Some leave out the first, which has to be there.
    return fields if fields and "action" not in fields[0] else [{}, *fields]


def _original(parts: list[Part]) -> Header:
    """Return the header of the original mail, as far as it came back."""
    for part in parts:
        if part.media_type in _ORIGINALS:
            return split_mail(part.decoded()).header
    return {}


def _message_of(
    header: Header, envelope_recipient: str, blocks: list[Header], original: Header, *, domain: str
) -> MessageId | None:
    domain = re.escape(domain)
    bounce = re.compile(
        rf"(?<![\w.+-]){BOUNCE_LOCAL_PART}\+([0-9a-f]{{32}})@{domain}(?![\w.-])", re.IGNORECASE
    )
    for text in (envelope_recipient, *(header.get(name, "") for name in _ADDRESSES_SEARCHED)):
        if found := bounce.search(text):
            return _id(found[1])
    # Some providers put another Message-ID in the place of ours; our own header they leave alone.
    if found := re.search(
        rf"<([0-9a-f]{{32}})@{domain}>", original.get("message-id", ""), re.IGNORECASE
    ):
        return _id(found[1])
    envelope_id = blocks[0].get("original-envelope-id", "") if blocks else ""
    for text in (original.get(ID_HEADER.lower(), ""), envelope_id):
        if _hex_id(text):
            return _id(text)
    return None


def _id(text: str) -> MessageId:
    return MessageId(bytes.fromhex(text))


def _hint(message_id: MessageId, fields: Header) -> SuppressionHint | NotOurs:
    kind = fields.get("feedback-type", "").lower()
    agent = fields.get("user-agent", "") or fields.get("reported-domain", "")
    detail = _told(f"{kind} {agent}")
    match kind:
        case "abuse" | "fraud" | "virus" | "complaint":
            return SuppressionHint(
                message_id=message_id, feedback=Feedback.COMPLAINT, detail=detail
            )
        case "opt-out" | "opt-out-list":
            return SuppressionHint(message_id=message_id, feedback=Feedback.OPT_OUT, detail=detail)
        case _:
            return NotOurs(why=f"feedback of the type {kind[:32]!r}")


def _receipt(message_id: MessageId, recipients: list[Header]) -> DeliveryReceipt | NotOurs:
    """Fold what is said of the recipients: an alias of one address may have become many."""
    failed: Header | None = None
    for fields in recipients:
        match _first_word(fields.get("action", "")):
            case "delivered":
                return DeliveryReceipt(
                    message_id=message_id,
                    event=Event.DELIVER,
                    detail=_detail_of(fields),
                )
            case "failed":
                failed = failed or fields
            case _:
                # Delayed, relayed and expanded settle nothing.
                continue
    if failed is None:
        return NotOurs(why="reports no end of the delivery")
    status = _status_of(failed)
    return DeliveryReceipt(
        message_id=message_id,
        event=Event.REFUSE,
        is_hard=status.startswith("5"),
        is_address_gone=status in _GONE,
        detail=_detail_of(failed),
    )


def _first_word(text: str) -> str:
    return text.lower().replace("(", " ").partition(" ")[0]


def _status_of(fields: Header) -> str:
    """Return the enhanced status; that of the last server's own reply, if there is no other."""
    for name in ("status", "diagnostic-code"):
        if found := _status_code(fields.get(name, "")):
            return found[0]
    return ""


def _detail_of(fields: Header) -> str:
    diagnostic = fields.get("diagnostic-code", "")
    _, _, said = diagnostic.partition(";")
    return _told(f"{fields.get('action', '')} {fields.get('status', '')} {said or diagnostic}")


def _told(text: str) -> str:
    return " ".join(_unseen(" ", text).split())[:OUTCOME_DETAIL_CHARS_MAX]
