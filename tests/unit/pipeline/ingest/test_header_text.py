"""What becomes a header is one line: refused when it is accepted, whoever asks."""

import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.header_text import has_control_character
from pipeline.ingest.recipient import canonical_recipient
from pipeline.ingest.submission import SubmissionPlan, build_bodies, validate_body
from pipeline.ingest.template import Template, compile_template
from pipeline.message import Submission, encode_body

CONTROL_CHARACTERS = ["\r", "\n", "\0", "\x0b", "\x1f", "\x7f", "\x80", "\x9f", "\u2028", "\u2029"]


@pytest.mark.parametrize("character", [*CONTROL_CHARACTERS, "\t", "\ud800"])
def test_a_control_character_is_found_anywhere(character: str) -> None:
    for text in (character, f"a{character}", f"{character}a", f"é{character}é"):
        assert has_control_character(text)


@pytest.mark.parametrize("text", ["", "Hello", "Grüße", " ", "\xa0", "😀", "=?utf-8?q??="])
def test_what_can_be_seen_or_is_a_space_is_none(text: str) -> None:
    assert not has_control_character(text)


def body(channel: str, subject: str) -> bytes:
    recipient = "ann@example.org" if channel == "email" else "+447700900000"
    return encode_body(
        Submission(
            tenant="acme",
            channel=channel,
            recipient=recipient,
            content="hello",
            metadata={"subject": subject},
        )
    )


@pytest.mark.parametrize("character", CONTROL_CHARACTERS)
def test_a_mails_subject_is_one_line(character: str) -> None:
    with pytest.raises(SubmissionInvalid) as refused:
        validate_body(body("email", f"Hello{character}Bcc: eve@example.org"))
    assert refused.value.field == "metadata"


def test_where_it_is_no_header_it_may_have_more() -> None:
    validate_body(body("sms", "one\ntwo"))


def test_a_record_with_such_a_subject_is_refused_alone() -> None:
    def field(text: str) -> Template:
        return compile_template("test", text, columns=("to", "subject"), by_position=False)

    plan = SubmissionPlan(
        recipient=field("{to}"),
        content=field("hello"),
        channel=field("email"),
        tenant=field("acme"),
        group=field(""),
        priority=field("normal"),
        metadata={"subject": field("{subject}")},
    )
    records = [
        {"to": "ann@example.org", "subject": "Hello"},
        {"to": "bob@example.org", "subject": "Hello\r\nBcc: eve@example.org"},
    ]
    built = build_bodies(plan, records, [1, 2])
    assert list(built.positions) == [0]
    assert "line break" in str(built.refused[1])


@pytest.mark.parametrize("character", [*CONTROL_CHARACTERS, "\t", " ", "<", ">", '"'])
def test_no_address_holds_one(character: str) -> None:
    for text in (f"an{character}n@example.org", f"ann@exam{character}ple.org"):
        with pytest.raises(SubmissionInvalid):
            canonical_recipient("email", text)
