"""Mails: what stands in them, and what never may."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from pipeline.connectors.smtp.codec import MailInvalid, Sender, bounce_address, render
from pipeline.instant import Instant
from pipeline.message import MessageId, Submission

ID = MessageId(bytes(range(16)))
KEY = ID.hex()
NOW = Instant(1_700_000_000_000_000)
SENDER = Sender(address="news@acme.example", domain="mail.acme.example", name="Acme News")


def submission(
    content: str = "Your code is 123.",
    *,
    subject: str | None = "Your code",
    recipient: str = "ann@example.org",
) -> Submission:
    return Submission(
        tenant="acme",
        channel="email",
        recipient=recipient,
        content=content,
        metadata={} if subject is None else {"subject": subject},
    )


def sent(asked: Submission, *, sender: Sender = SENDER) -> bytes:
    return render(asked, message_id=ID, sender=sender, now=NOW).content


def read(raw: bytes) -> EmailMessage:
    # As a server would hand it on: without the dots that the transport doubles.
    read = message_from_bytes(raw.replace(b"\r\n..", b"\r\n."), policy=policy.default)
    assert not read.defects
    return read


def test_a_mail_says_who_it_is_from_and_for_and_which_message_it_is() -> None:
    mail = render(submission(), message_id=ID, sender=SENDER, now=NOW)
    assert mail.sender == f"bounce+{KEY}@mail.acme.example"
    assert (mail.recipient, mail.needs_utf8) == ("ann@example.org", False)
    header = read(mail.content)
    assert header["From"] == "Acme News <news@acme.example>"
    assert header["To"] == "ann@example.org"
    assert header["Subject"] == "Your code"
    assert header["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert header["Message-ID"] == f"<{KEY}@mail.acme.example>"
    assert header["X-Shardpost-Message"] == KEY
    assert header.get_content_type() == "text/plain"
    assert header.get_content() == "Your code is 123.\r\n"


def test_another_attempt_is_the_same_mail_with_another_date() -> None:
    later = Instant(NOW + 3_600_000_000)
    first = render(submission(), message_id=ID, sender=SENDER, now=NOW)
    second = render(submission(), message_id=ID, sender=SENDER, now=later)
    differences = set(first.content.split(b"\r\n")) ^ set(second.content.split(b"\r\n"))
    assert {line[:5] for line in differences} == {b"Date:"}
    assert first[:3] == second[:3]


def test_bounces_go_to_an_address_that_names_the_message() -> None:
    assert bounce_address(ID, "acme.example") == f"bounce+{KEY}@acme.example"


@pytest.mark.parametrize(
    ("subject", "default", "shown"),
    [
        pytest.param("Hello", "News", "Hello", id="its own"),
        pytest.param(None, "News", "News", id="the default"),
        pytest.param("", "News", "News", id="an empty one"),
        pytest.param(None, "", None, id="none at all"),
        pytest.param("Schöne Grüße", "", "Schöne Grüße", id="umlauts"),
        pytest.param("ы" * 200, "", "ы" * 200, id="long"),
        pytest.param("x" * 900, "", "x" * 900, id="long, in ASCII"),
        pytest.param("=?utf-8?b?eA==?=", "", "=?utf-8?b?eA==?=", id="looks encoded already"),
        pytest.param(" padded ", "", " padded ", id="padded"),
    ],
)
def test_the_subject_is(subject: str | None, default: str, shown: str | None) -> None:
    sender = Sender(address="a@b.example", domain="b.example", default_subject=default)
    raw = sent(submission(subject=subject), sender=sender)
    assert read(raw)["Subject"] == shown
    assert all(len(line) <= 78 for line in raw.split(b"\r\n"))


@pytest.mark.parametrize("name", ["Acme & Söhne", "Acme, Inc.", 'The "A"', "a=?b", "", "O'Neil"])
def test_the_senders_name_is_what_a_reader_sees(name: str) -> None:
    sender = Sender(address="news@acme.example", domain="acme.example", name=name)
    (mailbox,) = read(sent(submission(), sender=sender))["From"].addresses
    assert (mailbox.display_name, mailbox.addr_spec) == (name, "news@acme.example")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        pytest.param("hello", "7bit", id="plain"),
        pytest.param("x" * 998, "7bit", id="as long as a line may be"),
        pytest.param("x" * 999, "quoted-printable", id="longer"),
        pytest.param("Schöne Grüße aus Köln", "quoted-printable", id="mostly Latin"),
        pytest.param("привет", "base64", id="not Latin"),
        pytest.param("one\ntwo\r\nthree\rfour\n", "7bit", id="every kind of line end"),
        pytest.param(".\n..\nend\n.", "7bit", id="dots"),
        pytest.param("ü\n.\n..\nend\n.", "quoted-printable", id="dots, encoded"),
        pytest.param("From here\n trailing \t\n", "7bit", id="white space"),
        pytest.param("\n\n", "7bit", id="empty lines"),
    ],
)
def test_the_text_arrives(content: str, encoding: str) -> None:
    raw = sent(submission(content))
    mail = read(raw)
    assert mail["Content-Transfer-Encoding"] == encoding
    expected = content.replace("\r\n", "\n").replace("\r", "\n")
    if not expected.endswith("\n"):
        expected += "\n"
    assert mail.get_content().replace("\r\n", "\n") == expected
    assert raw.endswith(b"\r\n")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\r\n.\r\n" not in raw
    assert raw.isascii()


@pytest.mark.parametrize(
    ("recipient", "envelope", "needs_utf8"),
    [
        pytest.param("ann@bücher.example", "ann@xn--bcher-kva.example", False, id="a domain"),
        pytest.param("žofie@example.org", "žofie@example.org", True, id="a mailbox"),
        pytest.param("ö@bücher.example", "ö@xn--bcher-kva.example", True, id="both"),
    ],
)
def test_of_a_foreign_address_as_much_is_ascii_as_can_be(
    recipient: str, envelope: str, needs_utf8: bool
) -> None:
    mail = render(submission(recipient=recipient), message_id=ID, sender=SENDER, now=NOW)
    assert (mail.recipient, mail.needs_utf8) == (envelope, needs_utf8)
    assert f"To: {envelope}\r\n".encode() in mail.content


CONTROL_CHARACTERS = ["\r", "\n", "\r\n", "\0", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\ud800"]


@pytest.mark.parametrize("character", CONTROL_CHARACTERS)
def test_no_control_character_enters_a_header(character: str) -> None:
    with pytest.raises(MailInvalid, match="control"):
        sent(submission(subject=f"Hello{character}Bcc: eve@example.org"))
    with pytest.raises(MailInvalid):
        sent(submission(recipient=f"ann{character}@example.org"))
    with pytest.raises(MailInvalid):
        sent(submission(recipient=f"ann@example.org{character}"))
    for name in ("name", "default_subject", "address", "domain"):
        parts = {"address": "a@b.example", "domain": "b.example"}
        parts[name] = parts.get(name, "") + character
        with pytest.raises(MailInvalid):
            Sender(**parts)


@pytest.mark.parametrize(
    "recipient",
    [
        *("", "ann", "@example.org", "ann@", "a@b@example.org", "ann @example.org"),
        *("<ann@example.org>", "ann@example.org> AUTH=<eve@example.org", "a,b@example.org"),
        *(
            '"a b"@example.org',
            "ann@[127.0.0.1]",
            "ann@exam\u00a0ple.org",
            "a" * 250 + "@b.example",
        ),
    ],
)
def test_an_odd_recipient_is_refused(recipient: str) -> None:
    with pytest.raises(MailInvalid):
        sent(submission(recipient=recipient))


@pytest.mark.parametrize("content", ["a\0b", "a\ud800b"])
def test_a_text_that_is_none_is_refused(content: str) -> None:
    with pytest.raises(MailInvalid):
        sent(submission(content))


@pytest.mark.parametrize(
    "domain", ["", "Acme.example", "acme .example", "ac_me.example", "é.example"]
)
def test_an_odd_domain_is_refused(domain: str) -> None:
    with pytest.raises(MailInvalid):
        Sender(address="a@b.example", domain=domain)


def test_the_senders_address_is_ascii() -> None:
    with pytest.raises(MailInvalid):
        Sender(address="ä@b.example", domain="b.example")
