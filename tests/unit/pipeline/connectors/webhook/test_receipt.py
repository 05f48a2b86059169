"""What a callback says, and who may say it."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from pipeline.connectors.webhook.receipt import (
    SIGNATURE_AGE_MS_MAX,
    Receipt,
    ReceiptUnreadable,
    SignatureCheck,
    read_receipts,
)
from pipeline.errors import SettingInvalid
from pipeline.instant import Instant, earlier, later
from pipeline.limits import RECEIPTS_PER_CALLBACK_MAX, REFERENCE_CHARS_MAX
from pipeline.outcome import ReceiptsBy
from pipeline.route.receipts import ReceiptTerms, ReferenceForm, Word
from tests.support.fake_clock import NOW

BY_REFERENCE = ReceiptTerms()
BY_ID = ReceiptTerms(by=ReceiptsBy.MESSAGE_ID)
ID = "0123456789abcdef" * 2
OLD, NEW = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


def told(body: object, terms: ReceiptTerms = BY_REFERENCE) -> list[Receipt]:
    return read_receipts(json.dumps(body).encode(), terms)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("sent", Word.TAKE),
        ("queued", Word.TAKE),
        ("Delivered", Word.DELIVER),
        (" READ ", Word.DELIVER),
        ("failed", Word.REFUSE),
        ("undelivered", Word.REFUSE),
        ("expired", Word.REFUSE),
        ("unknown-recipient", Word.GONE),
        ("complained", Word.COMPLAINT),
        ("opted out", Word.OPT_OUT),
        ("pondering", None),
    ],
)
def test_what_a_status_means(status: str, word: Word | None) -> None:
    assert told({"reference": "x", "status": status})[0].word is word


@pytest.mark.parametrize(
    "body",
    [
        {"reference": "x", "status": "sent"},
        [{"reference": "x", "status": "sent"}],
        {"type": "status", "data": {"reference": "x", "status": "sent"}},
        {"data": [{"reference": "x", "status": "sent"}]},
    ],
)
def test_receipts_come_alone_or_together_bare_or_wrapped(body: object) -> None:
    assert told(body) == [Receipt("x", Word.TAKE, "sent")]


def test_a_message_is_named_as_the_connector_declares() -> None:
    both = {"reference": "  X1 ", "message_id": ID.upper(), "status": "sent"}
    assert told(both)[0].reference == "X1"
    assert told(both, ReceiptTerms(form=ReferenceForm.ANY_CASE))[0].reference == "x1"
    assert told(both, BY_ID)[0].reference == ID
    dashed = f"{ID[:8]}-{ID[8:12]}-{ID[12:16]}-{ID[16:20]}-{ID[20:]}"
    assert told({"message_id": dashed, "status": "sent"}, BY_ID)[0].reference == ID
    number = ReceiptTerms(form=ReferenceForm.NUMBER)
    assert told({"reference": 7, "status": "sent"}, number)[0].reference == "7"


def test_a_reason_is_passed_on_in_one_line() -> None:
    for name in ("detail", "reason", "error"):
        body = {"reference": "x", "status": "failed", name: "no\n such\u2028 number"}
        assert told(body)[0].detail == "failed no such number"
    assert len(told({"reference": "x", "status": "failed", "error": "y" * 999})[0].detail) == 200


@pytest.mark.parametrize(
    ("body", "terms", "why"),
    [
        (b"", BY_REFERENCE, "should be JSON"),
        (b"\xff", BY_REFERENCE, "should be JSON"),
        (b"[" * 100_000, BY_REFERENCE, "should be JSON"),
        (b"[]", BY_REFERENCE, "1 to 1000 receipts"),
        (b"[1]", BY_REFERENCE, "should be an object"),
        (b'"sent"', BY_REFERENCE, "should be an object"),
        (b'{"reference": "x"}', BY_REFERENCE, "should tell a status"),
        (b'{"reference": "x", "status": 7}', BY_REFERENCE, "should tell a status"),
        (b'{"status": "sent"}', BY_REFERENCE, "the name that the answer gave"),
        (b'{"reference": " ", "status": "sent"}', BY_REFERENCE, "the name that the answer gave"),
        (b'{"reference": true, "status": "sent"}', BY_REFERENCE, "the name that the answer gave"),
        (b'{"reference": "x", "status": "sent"}', BY_ID, "message_id should be 32 hex"),
        (b'{"message_id": "x", "status": "sent"}', BY_ID, "message_id should be 32 hex"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, terms: ReceiptTerms, why: str) -> None:
    with pytest.raises(ReceiptUnreadable, match=why):
        read_receipts(body, terms)


def test_too_many_and_too_long_are_refused() -> None:
    one = {"reference": "x" * REFERENCE_CHARS_MAX, "status": "sent"}
    assert len(told([one] * RECEIPTS_PER_CALLBACK_MAX)) == RECEIPTS_PER_CALLBACK_MAX
    with pytest.raises(ReceiptUnreadable):
        told([one] * (RECEIPTS_PER_CALLBACK_MAX + 1))
    with pytest.raises(ReceiptUnreadable):
        told({"reference": "x" * (REFERENCE_CHARS_MAX + 1), "status": "sent"})


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["data", "reference", "message_id", "status", "detail"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for terms in (BY_REFERENCE, BY_ID):
        try:
            read_receipts(content, terms)
        except ReceiptUnreadable:
            continue


# --- who may say it -------------------------------------------------------------------------------


def signed(
    content: bytes = b"{}", *, secret: str = NEW, at: Instant = NOW, key: str = "msg_1"
) -> dict[str, str]:
    moment = datetime.fromtimestamp(at // 1_000_000, UTC)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at // 1_000_000),
        "webhook-signature": Webhook(secret).sign(key, moment, content.decode()),
    }


def is_signed(headers: dict[str, str], content: bytes = b"{}", **more: Any) -> bool:
    return SignatureCheck([NEW, OLD]).is_signed(headers, content, now=more.get("now", NOW))


def test_who_has_one_of_the_secrets_may() -> None:
    assert is_signed(signed())
    assert is_signed(signed(secret=OLD))
    other = signed(secret=OLD)["webhook-signature"]
    both = signed() | {"webhook-signature": f"v1a,abc {other} é"}
    assert is_signed(both)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW // 1_000_000 + 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "٣"},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,é"},
    ],
    ids=str,
)
def test_nobody_else_may(changed: dict[str, str]) -> None:
    assert not is_signed(signed() | changed)


def test_a_body_that_was_changed_or_is_no_text_is_not_what_was_signed() -> None:
    assert not is_signed(signed(), b"{} ")
    assert not is_signed(signed(), b"\xff")
    third = "whsec_" + base64.b64encode(b"3" * 32).decode()
    assert not is_signed(signed(secret=third))


def test_what_was_heard_once_cannot_be_played_back_for_ever() -> None:
    for at, is_taken in (
        (earlier(NOW, SIGNATURE_AGE_MS_MAX), True),
        (earlier(NOW, SIGNATURE_AGE_MS_MAX + 1_000), False),
        (later(NOW, SIGNATURE_AGE_MS_MAX), True),
        (later(NOW, SIGNATURE_AGE_MS_MAX + 1_000), False),
    ):
        assert is_signed(signed(at=at)) == is_taken


def test_a_secret_that_is_none_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingInvalid) as refusal:
        SignatureCheck(["hunter2"])
    assert "hunter2" not in str(refusal.value)
