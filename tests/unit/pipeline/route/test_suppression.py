import pytest

from pipeline.limits import STOP_WORD_CHARS_MAX
from pipeline.route.suppression import (
    KEY_BYTES,
    LANGUAGES,
    SuppressionReason,
    is_stop_word,
    reason_of_feedback,
    reason_of_status,
    suppressed_positions,
    suppression_key,
    suppression_keys,
)


def test_a_list_belongs_to_one_tenant_and_one_channel() -> None:
    keys = {
        suppression_key("acme", "sms", "+447700900123"),
        suppression_key("acme", "sms", "+447700900124"),
        suppression_key("acme", "whatsapp", "+447700900123"),
        suppression_key("other", "sms", "+447700900123"),
        suppression_key("a", "cme", "sms+447700900123"),
    }
    assert len(keys) == 5
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_a_key_never_changes() -> None:
    # It is stored: another hash would forget everybody's opt-out.
    assert suppression_key("acme", "sms", "+447700900123").hex() == KEY_OF_ACME


KEY_OF_ACME = "b8757f4697ac5ead9029b177d8d35a90"


def test_a_window_gets_the_keys_of_its_messages() -> None:
    tenants, recipients = ["acme", "other"], ["a@example.com", "b@example.com"]
    assert suppression_keys("email", tenants, recipients) == [
        suppression_key("acme", "email", "a@example.com"),
        suppression_key("other", "email", "b@example.com"),
    ]


def test_what_is_listed_is_found_by_position() -> None:
    keys = suppression_keys("sms", ["acme"] * 4, ["+1", "+2", "+1", "+3"])
    assert suppressed_positions(keys, {keys[0], suppression_key("acme", "sms", "+9")}) == [0, 2]
    assert suppressed_positions(keys, frozenset()) == []


@pytest.mark.parametrize(
    ("status", "suppresses"),
    [
        ("5.1.1", True),  # no such mailbox
        ("5.1.2", True),  # no such host
        ("5.1.6", True),  # moved
        ("5.1.10", True),  # a domain that takes no mail
        ("5.2.1", True),  # disabled
        (" 5.1.1\n", True),
        ("4.1.1", False),  # soft, whatever it speaks of
        ("4.2.2", False),
        ("5.2.2", False),  # full
        ("5.1.8", False),  # our sender's address
        ("5.3.4", False),  # too large
        ("5.4.4", False),  # no route today
        ("5.6.1", False),
        ("5.7.1", False),  # policy: we were refused, not the recipient
        ("2.1.5", False),
        ("550", False),
        ("", False),
        ("5.1.1.1", False),
        ("5.1.1111", False),
    ],
)
def test_only_a_hard_bounce_suppresses(status: str, suppresses: bool) -> None:
    assert reason_of_status(status) is (SuppressionReason.BOUNCE if suppresses else None)


@pytest.mark.parametrize(
    ("feedback", "reason"),
    [
        ("abuse", SuppressionReason.COMPLAINT),
        ("Abuse ", SuppressionReason.COMPLAINT),
        ("opt-out", SuppressionReason.OPT_OUT),
        ("not-spam", None),
        ("virus", None),
        ("", None),
    ],
)
def test_a_complaint_suppresses(feedback: str, reason: SuppressionReason | None) -> None:
    assert reason_of_feedback(feedback) is reason


@pytest.mark.parametrize(
    "text",
    [
        *("STOP", "stop", " Stop. ", "'STOP'", "Stop!", "stop all", "Stop  All", "Unsubscribe"),
        *("ARRÊT", "arret", "Abmelden", "İPTAL", "rezygnuję", "Désabonner", "«baja»"),
    ],
)
def test_a_word_for_stop_is_one(text: str) -> None:
    assert is_stop_word(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "please don't stop", "stop it", "nonstop", "START", "yes", "s t o p"),
        "stop" + " " * STOP_WORD_CHARS_MAX,
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert not is_stop_word(text)


def test_a_sender_of_some_languages_is_not_stopped_by_a_word_of_another() -> None:
    assert is_stop_word("dur", ["tr"])
    assert not is_stop_word("dur", ["de", "fr"])
    assert is_stop_word("STOP", [])
    assert not is_stop_word("dur", ["xx"])
    assert "en" in LANGUAGES
