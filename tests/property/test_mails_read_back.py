"""Whatever is submitted: a mail is read back as it was meant, or it is none."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.smtp.codec import Mail, MailInvalid, Sender, render
from pipeline.instant import Instant
from pipeline.message import MessageId, Submission

ID = MessageId(bytes(range(16)))
SENDER = Sender(address="news@acme.example", domain="acme.example", name="Acme")
FIELDS = [
    *("From", "To", "Subject", "Date", "Message-ID", "X-Shardpost-Message", "MIME-Version"),
    *("Content-Type", "Content-Transfer-Encoding"),
]
CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

anything = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\0\r\n\t\x0b\x0c\x1b\x7f\x85\u2028\u2029\ud800<>@:;,\"'= .-_?"),
    ),
    max_size=200,
)


def mail_of(subject: str = "Hello", content: str = "text", recipient: str = "a@b.example") -> Mail:
    submission = Submission(
        tenant="acme",
        channel="email",
        recipient=recipient,
        content=content,
        metadata={"subject": subject},
    )
    return render(submission, message_id=ID, sender=SENDER, now=Instant(1_700_000_000_000_000))


def read(mail: Mail) -> EmailMessage:
    assert mail.content.endswith(b"\r\n")
    assert b"\r\n.\r\n" not in mail.content
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", mail.content)
    lines = mail.content.split(b"\r\n")
    assert max(map(len, lines)) <= 999  # a dot that is doubled does not count
    undotted = b"\r\n".join(line.removeprefix(b".") for line in lines)
    message = message_from_bytes(undotted, policy=policy.default)
    assert [name for name in message if name != "Subject"] == [
        name for name in FIELDS if name != "Subject"
    ]
    return message


@given(subject=anything)
def test_a_subject_is_read_back_or_refused(subject: str) -> None:
    try:
        mail = mail_of(subject)
    except MailInvalid:
        assert CONTROLS.search(subject)
        return
    assert not CONTROLS.search(subject)
    assert (read(mail)["Subject"] or "") == subject


@given(content=anything)
def test_a_text_is_read_back_or_refused(content: str) -> None:
    try:
        mail = mail_of(content=content)
    except MailInvalid:
        assert re.search("[\0\ud800-\udfff]", content)
        return
    expected = content.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    text = read(mail).get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode().replace("\r\n", "\n").removesuffix("\n") == expected


@given(recipient=st.one_of(anything, st.builds("{}@{}".format, anything, anything)))
def test_an_address_is_one_word_of_a_command_or_refused(recipient: str) -> None:
    try:
        mail = mail_of(recipient=recipient)
    except MailInvalid:
        return
    for address in (mail.sender, mail.recipient):
        assert not re.search(r"[\s<>]", address)
        assert not CONTROLS.search(address)
        assert address.count("@") == 1
    assert f"\r\nTo: {mail.recipient}\r\n".encode() in mail.content
    assert mail.needs_utf8 != mail.recipient.isascii()
