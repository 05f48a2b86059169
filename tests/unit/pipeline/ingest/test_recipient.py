import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.recipient import (
    CHANNELS,
    canonical_recipient,
    canonicalizer,
    mask_recipient,
)
from pipeline.limits import RECIPIENT_BYTES_MAX


def refusal(channel: str, text: str, default_region: str | None = None) -> SubmissionInvalid:
    with pytest.raises(SubmissionInvalid) as caught:
        canonical_recipient(channel, text, default_region=default_region)
    return caught.value


@pytest.mark.parametrize("channel", ["sms", "rcs", "whatsapp"])
@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        pytest.param("+447911123456", "+447911123456", id="as it is"),
        pytest.param("+44 7911 123456", "+447911123456", id="spaces"),
        pytest.param("+44-7911-123456", "+447911123456", id="dashes"),
        pytest.param("+44\u20117911\u00a0123456", "+447911123456", id="dashes and spaces of print"),
        pytest.param("+44 (0)7911 123456", "+447911123456", id="the national zero in brackets"),
        pytest.param("+1 (212) 555-0100", "+12125550100", id="brackets"),
        pytest.param("  +4915112345678\n", "+4915112345678", id="blanks around it"),
        pytest.param("+390669812345", "+390669812345", id="a zero that belongs to it"),
        pytest.param("+7 8 912 345 67 89", "+79123456789", id="a national prefix that does not"),
        pytest.param("\uff0b\uff14\uff147911123456", "+447911123456", id="digits of another width"),
    ],
)
def test_every_spelling_of_a_number_becomes_one(channel: str, text: str, canonical: str) -> None:
    assert canonical_recipient(channel, text) == canonical
    assert canonical_recipient(channel, canonical) == canonical


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("07911123456", "no country code; write it internationally"),
        ("00447911123456", "no country code; write it internationally"),
        ("+999123456789", "a country code that does not exist"),
        ("+44791112345", "in no range of +44 in use"),
        ("+4479111234567890", "too few or too many digits for +44"),
        ("hello", "is not a phone number; write it internationally"),
        ("+44 7911 FLOWER", "is not a phone number"),
        ("+447911123456 ext. 5", "is not a phone number"),
        ("+447911123456#5", "an extension"),
        ("+447911123456;5", "an extension"),
        ("tel:+447911123456", "is not a phone number"),
        ("+447911123456;phone-context=x", "is not a phone number"),
        ("", "is not a phone number"),
        ("+", "is not a phone number"),
        ("\0", "is not a phone number"),
        ("+44\ud8007911123456", "is not a phone number"),
        ("+" + "1" * 100_000, "100001 characters are no phone number"),
    ],
)
def test_a_number_is_refused_with_what_to_change(text: str, advice: str) -> None:
    invalid = refusal("sms", text)
    assert invalid.field == "recipient"
    assert advice in invalid.reason


def test_a_national_number_is_at_home_in_the_default_region() -> None:
    assert canonical_recipient("sms", "07911 123456", default_region="GB") == "+447911123456"
    assert canonical_recipient("sms", "+12125550100", default_region="GB") == "+12125550100"


def test_a_region_that_does_not_exist_is_refused() -> None:
    invalid = refusal("sms", "07911123456", default_region="UK")
    assert invalid.field == "region"
    assert "'UK' is not a region" in invalid.reason


@pytest.mark.parametrize(
    "text", ["+447700900123", "+44 7700 900123", "+44 (0)7700 900123", "07700 900123"]
)
def test_numbers_kept_for_fiction_are_taken(text: str) -> None:
    assert canonical_recipient("sms", text, default_region="GB") == "+447700900123"


@pytest.mark.parametrize("text", ["+447700901000", "+4477009001234", "+44770090012"])
def test_the_neighbours_of_numbers_kept_for_fiction_are_not(text: str) -> None:
    refusal("sms", text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("alice@example.com", "alice@example.com"),
        (" Alice.B+c@Example.COM ", "Alice.B+c@example.com"),
        ("INFO@Example.com", "info@example.com"),
        ("a@xn--mnchen-3ya.de", "a@münchen.de"),
        ("zoë@example.com", "zoë@example.com"),
        ("a@MÜNCHEN.de", "a@münchen.de"),
    ],
)
def test_every_spelling_of_an_address_becomes_one(text: str, canonical: str) -> None:
    assert canonical_recipient("email", text) == canonical
    assert canonical_recipient("email", canonical) == canonical


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("alice", "must have an @-sign"),
        ("alice@", "something after the @-sign"),
        ("@example.com", "something before the @-sign"),
        ("a b@example.com", "SPACE"),
        ("a..b@example.com", "two periods"),
        ("a@localhost", "It should have a period"),
        ("a@x.test", "special-use or reserved"),
        ("Alice <a@example.com>", "display name"),
        ("a@[127.0.0.1]", "bracketed IP address"),
        ("a\ud800@example.com", "unsafe characters"),
        ("a@x\ud800.com", "unsafe characters"),
        ("a" * 250 + "@example.com", "too long"),
        ("a@" + "b" * 100_000 + ".com", "100006 characters are no e-mail address"),
    ],
)
def test_an_address_is_refused_with_what_to_change(text: str, advice: str) -> None:
    invalid = refusal("email", text)
    assert invalid.field == "recipient"
    assert advice in invalid.reason


def test_a_long_address_is_judged_by_both_of_its_sides() -> None:
    domain = ".".join(["d" * 60] * 3) + ".com"
    longest = "a" * (254 - 1 - len(domain))
    assert canonical_recipient("email", f"{longest}@{domain}") == f"{longest}@{domain}"
    assert "too long" in refusal("email", f"{longest}a@{domain}").reason


def test_an_address_cannot_make_its_refusal_long() -> None:
    assert len(refusal("email", '"' * 400 + "@example.com").reason) < 200


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://example.com/hook?x=1", "https://example.com/hook?x=1"),
        ("HTTPS://Example.COM/Hook", "https://example.com/Hook"),
        (" http://example.com:8080\n", "http://example.com:8080"),
        ("https://[::1]:8080/x", "https://[::1]:8080/x"),
        ("https://EXAMPLE.com:65535/?q=A", "https://example.com:65535/?q=A"),
    ],
)
def test_every_spelling_of_a_url_becomes_one(text: str, canonical: str) -> None:
    assert canonical_recipient("webhook", text) == canonical
    assert canonical_recipient("webhook", canonical) == canonical


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "visible ASCII"),
        ("https://example.com/a b", "visible ASCII"),
        ("https://example.com/ä", "visible ASCII"),
        ("ftp://example.com", "begins with https://"),
        ("example.com", "begins with https://"),
        ("https://", "begins with https://"),
        ("https:///path", "begins with https://"),
        ("https://user:secret@example.com", "no user or password"),
        ("https://example.com/#top", "no #fragment"),
        ("https://example.com:0/", "no port 0"),
        ("https://example.com:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://example.com/" + "a" * RECIPIENT_BYTES_MAX, "visible ASCII"),
    ],
)
def test_a_url_is_refused_with_what_to_change(text: str, advice: str) -> None:
    assert advice in refusal("webhook", text).reason


def test_a_push_token_is_visible_ascii() -> None:
    token = "dGhpcyBpcyBhIHRva2Vu:APA91b_x-y"
    assert canonical_recipient("push", f" {token}\n") == token
    longest = "x" * RECIPIENT_BYTES_MAX
    assert canonical_recipient("push", longest) == longest
    for text in ("", " ", "two words", "tökén", "a\0b", longest + "x"):
        assert "visible ASCII" in refusal("push", text).reason


def test_an_unknown_channel_is_refused_with_the_known_ones() -> None:
    invalid = refusal("fax", "+447911123456")
    assert invalid.field == "channel"
    assert all(channel in invalid.reason for channel in CHANNELS)


def test_every_known_channel_has_a_canonicalizer() -> None:
    assert all(callable(canonicalizer(channel)) for channel in CHANNELS)


@pytest.mark.parametrize(
    ("channel", "text", "masked"),
    [
        ("sms", "+447900900112", "+4479•••••12"),
        ("rcs", "+447900900112", "+4479•••••12"),
        ("whatsapp", "07911123456", "•••••"),
        ("sms", "", "•••••"),
        ("email", "alice@example.com", "a•••@example.com"),
        ("email", "alice", "•••"),
        ("email", "@example.com", "•••"),
        ("email", "alice@", "•••"),
        ("email", "a@x\ud800.com", "a•••@x?.com"),
        ("webhook", "https://example.com/secret?token=1", "https://example.com/•••"),
        ("webhook", "https://user:secret@example.com/x", "https://example.com/•••"),
        ("webhook", "https://user:se/cret@example.com/x", "•••"),
        ("webhook", "https://example.com:8080/x", "https://example.com:8080/•••"),
        ("webhook", "example.com/secret", "•••"),
        ("push", "dGhpcyBpcyBhIHRva2Vu", "dGhp•••"),
        ("push", "short", "•••"),
    ],
)
def test_a_mask_shows_enough_to_find_and_too_little_to_write_to(
    channel: str, text: str, masked: str
) -> None:
    assert mask_recipient(channel, text) == masked


@pytest.mark.parametrize(
    ("channel", "text", "secret"),
    [
        ("sms", "+447911123456#5", "11123456"),
        ("sms", "+44791112345", "1112345"),
        ("sms", "+4479111234567890", "111234567"),
        ("email", "alice.secret@x.test", "lice"),
    ],
)
def test_a_refusal_shows_no_more_than_a_mask(channel: str, text: str, secret: str) -> None:
    assert secret not in str(refusal(channel, text))
