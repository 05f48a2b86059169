"""Bounces, confirmations and complaints, in the words of RFC 3464 and RFC 5965."""

import base64
from textwrap import dedent

import pytest

from pipeline.connectors.smtp.delivery_report import (
    REPORT_BYTES_MAX,
    DeliveryReceipt,
    Feedback,
    NotOurs,
    ReportUnreadable,
    SuppressionHint,
    parse_report,
)
from pipeline.lifecycle import Event
from pipeline.message import MessageId
from tests.support.seed import seeded_random

ID = MessageId(bytes(range(16)))
OTHER = MessageId(bytes(range(16, 32)))
KEY = ID.hex()
DOMAIN = "mail.acme.example"
BOUNCE = f"bounce+{KEY}@{DOMAIN}"

STATUS = """\
Reporting-MTA: dns; mx.example.org
Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000

Final-Recipient: rfc822; ann@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; inner.example.org
Diagnostic-Code: smtp; 550 5.1.1 <ann@example.org>
 unknown user
"""
ORIGINAL = f"""\
From: news@acme.example
To: ann@example.org
Message-ID: <{KEY}@{DOMAIN}>
Subject: Hello
"""
FEEDBACK = """\
Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
"""


def report(
    status: str | None = STATUS,
    *,
    to: str = BOUNCE,
    original: str | None = ORIGINAL,
    feedback: str | None = None,
    more: str = "",
    kind: str = "delivery-status",
) -> bytes:
    parts = ["Content-Type: text/plain\n\nYour mail could not be delivered.\n"]
    if status is not None:
        parts.append(f"Content-Type: message/delivery-status\n{more}\n{status}")
    if feedback is not None:
        parts.append(f"Content-Type: message/feedback-report\n\n{feedback}")
    if original is not None:
        parts.append(f"Content-Type: text/rfc822-headers\n\n{original}")
    text = dedent(f"""\
        Return-Path: <>
        Received: from mx.example.org
        From: MAILER-DAEMON@example.org
        To: {to}
        Subject: Undelivered mail
        MIME-Version: 1.0
        Content-Type: multipart/report; report-type={kind};
         boundary="=_b0undary/1"

        This is a MIME message.
        """)
    for part in parts:
        text += f"\n--=_b0undary/1\n{part}"
    return (text + "\n--=_b0undary/1--\nAn epilogue.\n").encode()


def receipt(raw: bytes) -> DeliveryReceipt:
    parsed = parse_report(raw, domain=DOMAIN)
    assert isinstance(parsed, DeliveryReceipt)
    return parsed


def status_of(action: str, status: str) -> str:
    return STATUS.replace("failed", action).replace("Status: 5.1.1", f"Status: {status}")


# --- what became of it ----------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_bounce_says_which_message_failed_and_why(line_end: str) -> None:
    raw = report().decode().replace("\n", line_end).encode()
    assert receipt(raw) == DeliveryReceipt(
        message_id=ID,
        event=Event.REFUSE,
        detail="failed 5.1.1 550 5.1.1 <ann@example.org> unknown user",
        is_hard=True,
        is_address_gone=True,
    )


@pytest.mark.parametrize(
    ("status", "is_hard", "is_address_gone"),
    [
        pytest.param("5.1.1", True, True, id="no such mailbox"),
        pytest.param("5.2.1", True, True, id="disabled"),
        pytest.param("5.1.10", True, True, id="takes no mail"),
        pytest.param("5.2.2", True, False, id="full"),
        pytest.param("5.7.1", True, False, id="forbidden"),
        pytest.param("4.4.7", False, False, id="tried in vain"),
        pytest.param("5.1.1 (unknown)", True, True, id="with a comment"),
    ],
)
def test_a_failure_is_hard_or_soft(status: str, is_hard: bool, is_address_gone: bool) -> None:
    parsed = receipt(report(status_of("failed", status)))
    assert parsed.event is Event.REFUSE
    assert (parsed.is_hard, parsed.is_address_gone) == (is_hard, is_address_gone)


def test_without_a_status_the_last_servers_reply_tells() -> None:
    parsed = receipt(report(STATUS.replace("Status: 5.1.1\n", "")))
    assert (parsed.is_hard, parsed.is_address_gone) == (True, True)


def test_a_confirmation_is_a_delivery() -> None:
    parsed = receipt(report(status_of("delivered", "2.1.5")))
    assert parsed.event is Event.DELIVER
    assert (parsed.is_hard, parsed.is_address_gone) == (False, False)


@pytest.mark.parametrize("action", ["delayed", "relayed", "expanded", "odd", "", "not-failed"])
def test_what_settles_nothing_is_nothing(action: str) -> None:
    parsed = parse_report(report(status_of(action, "4.0.0")), domain=DOMAIN)
    assert isinstance(parsed, NotOurs)


@pytest.mark.parametrize("action", ["Failed", "FAILED", "failed (bounced)", "failed(x)"])
def test_an_action_may_be_written_so(action: str) -> None:
    assert receipt(report(status_of(action, "5.0.0"))).event is Event.REFUSE


def test_of_many_recipients_one_delivery_is_one() -> None:
    several = STATUS + "\nFinal-Recipient: rfc822; alias@example.org\nAction: delivered\n"
    assert receipt(report(several)).event is Event.DELIVER


def test_a_status_may_lack_its_first_block() -> None:
    assert receipt(report("Action: failed\nStatus: 5.0.0\n")).event is Event.REFUSE


def test_the_status_may_be_encoded() -> None:
    encoded = base64.encodebytes(STATUS.encode()).decode()
    raw = report(encoded, more="Content-Transfer-Encoding: base64\n")
    assert receipt(raw).is_address_gone


# --- which message --------------------------------------------------------------------------------

ELSEWHERE = f"postmaster@{DOMAIN}"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(report(original=None), id="the address it came to"),
        pytest.param(report(to=f"<{BOUNCE.upper()}>", original=None), id="in capitals"),
        pytest.param(report(to=ELSEWHERE), id="the original's Message-ID"),
        pytest.param(
            report(to=ELSEWHERE, original=f"Message-ID: <1@x>\nX-Shardpost-Message: {KEY}\n"),
            id="our header",
        ),
        pytest.param(
            report(f"Original-Envelope-Id: {KEY}\n" + STATUS, to=ELSEWHERE, original=None),
            id="the envelope's id",
        ),
        pytest.param(
            report(to=ELSEWHERE).replace(b"text/rfc822-headers", b"message/rfc822"),
            id="the whole original mail",
        ),
    ],
)
def test_a_report_is_matched_by(raw: bytes) -> None:
    assert receipt(raw).message_id == ID


def test_where_it_was_delivered_to_counts_most() -> None:
    recipient = f"bounce+{OTHER.hex()}@{DOMAIN}"
    parsed = parse_report(report(), domain=DOMAIN, envelope_recipient=recipient)
    assert isinstance(parsed, DeliveryReceipt)
    assert parsed.message_id == OTHER


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(report(to=ELSEWHERE, original=None), id="nothing"),
        pytest.param(
            report(to=f"bounce+{KEY}@{DOMAIN}.evil.example", original=None), id="a longer domain"
        ),
        pytest.param(report(to=f"bounce+{KEY}@mail-acme-example", original=None), id="another one"),
        pytest.param(report(to=f"re-bounce+{KEY}@{DOMAIN}", original=None), id="another mailbox"),
        pytest.param(report(to=f"bounce+{KEY}0@{DOMAIN}", original=None), id="a longer id"),
        pytest.param(
            report(to=ELSEWHERE, original="Message-ID: <1@x>\nX-Shardpost-Message: 12\n"),
            id="a shorter id",
        ),
    ],
)
def test_a_report_that_names_no_message_of_ours_is_left_alone(raw: bytes) -> None:
    assert parse_report(raw, domain=DOMAIN) == NotOurs(why="names no message of ours")


# --- complaints -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "feedback"),
    [("abuse", Feedback.COMPLAINT), ("fraud", Feedback.COMPLAINT), ("opt-out", Feedback.OPT_OUT)],
)
def test_a_complaint_is_a_hint_to_send_no_more(kind: str, feedback: Feedback) -> None:
    raw = report(None, feedback=FEEDBACK.replace("abuse", kind), kind="feedback-report")
    assert parse_report(raw, domain=DOMAIN) == SuppressionHint(
        message_id=ID, feedback=feedback, detail=f"{kind} SomeGenerator/1.0"
    )


@pytest.mark.parametrize("kind", ["not-spam", "other", ""])
def test_other_feedback_is_none(kind: str) -> None:
    raw = report(None, feedback=FEEDBACK.replace("abuse", kind), kind="feedback-report")
    assert isinstance(parse_report(raw, domain=DOMAIN), NotOurs)


# --- bytes from anywhere --------------------------------------------------------------------------


def test_an_answer_of_somebody_on_holiday_is_no_bounce() -> None:
    raw = f"From: ann@example.org\nTo: {BOUNCE}\nAuto-Submitted: auto-replied\n\nBack soon".encode()
    assert parse_report(raw, domain=DOMAIN) == NotOurs(why="no report")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(report(None), id="no status"),
        pytest.param(report().replace(b"boundary=", b"border="), id="no boundary"),
        pytest.param(report().replace(b"\n--=_b0undary/1", b"\n--other"), id="another boundary"),
        pytest.param(b"x" * (REPORT_BYTES_MAX + 1), id="too long"),
    ],
)
def test_a_report_that_is_none_is_unreadable(raw: bytes) -> None:
    with pytest.raises(ReportUnreadable):
        parse_report(raw, domain=DOMAIN)


def nested(depth: int) -> bytes:
    raw = b"Content-Type: message/delivery-status\n\n" + STATUS.encode()
    for level in range(depth):
        head = f'Content-Type: multipart/report; boundary="b{level}"\n\n--b{level}\n'.encode()
        raw = head + raw + f"\n--b{level}--\n".encode()
    return f"To: {BOUNCE}\n".encode() + raw


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(nested(5_000), id="nested"),
        pytest.param(report().replace(b"--\nAn", b"\n" * 500_000 + b"--\nAn"), id="empty lines"),
        pytest.param(report() + b"\n--=_b0undary/1\n\n" * 40_000, id="parts"),
        pytest.param(report(STATUS + "\nAction: failed\n\n" * 40_000), id="recipients"),
        pytest.param(report(STATUS + "X: y\n" * 100_000), id="fields"),
        pytest.param(report(STATUS + " y\n" * 200_000), id="one field's lines"),
        pytest.param(b"Content-Type: multipart/report;" + b'";' * 400_000, id="quotes"),
        pytest.param(b"Content-Type: multipart/report; " + b"boundary=" * 100_000, id="boundaries"),
        pytest.param(b"\n \n \r" * 200_000, id="white space"),
        pytest.param(b"\r\n\t \r" * 200_000, id="more white space"),
        pytest.param(b"A" * REPORT_BYTES_MAX, id="one line"),
        pytest.param(report(to=f"bounce+{KEY}@mail." * 20_000), id="addresses"),
        pytest.param(report("Diagnostic-Code: " + "5.1." * 200_000), id="statuses"),
    ],
)
def test_a_report_made_to_take_long_does_not(raw: bytes) -> None:
    # Nothing is timed: what grows faster than its input would keep the run for minutes.
    try:
        parse_report(raw[:REPORT_BYTES_MAX], domain=DOMAIN)
    except ReportUnreadable:
        return


CORPUS = [
    report(),
    report(status_of("delivered", "2.0.0"), original=None),
    report(None, feedback=FEEDBACK, kind="feedback-report"),
    nested(3),
]


@pytest.mark.parametrize("raw", CORPUS)
def test_a_report_cut_off_anywhere_is_read_or_unreadable(raw: bytes) -> None:
    for end in range(0, len(raw), 3):
        try:
            parse_report(raw[:end], domain=DOMAIN)
        except ReportUnreadable:
            continue


def test_bytes_changed_anywhere_are_read_or_unreadable() -> None:
    chance = seeded_random()
    for _ in range(2_000):
        raw = bytearray(chance.choice(CORPUS))
        for _ in range(chance.randint(1, 12)):
            position = chance.randrange(len(raw))
            match chance.randrange(3):
                case 0:
                    raw[position] = chance.randrange(256)
                case 1:
                    del raw[position : position + chance.randrange(20)]
                case _:
                    raw[position:position] = chance.choice((b"\r", b"\n", b"\0", b"--", b'";=\xff'))
            if not raw:
                break
        try:
            parse_report(bytes(raw), domain=DOMAIN)
        except ReportUnreadable:
            continue
