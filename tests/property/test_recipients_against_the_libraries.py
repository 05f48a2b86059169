"""The short ways to a verdict end where the libraries' own ways end, for every recipient."""

import random
from collections.abc import Iterator

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.email_address import canonical_address
from pipeline.ingest.phone_number import canonical_number, is_canonical_number
from tests.support.seed import seeded_random

_NUMBERS = 40_000
_ADDRESSES = 10_000
_TYPES = range(11)  # of PhoneNumberType: from a fixed line to voicemail
_KEPT_FOR_FICTION = "+447700900"


def _number_by_library(text: str) -> str | None:
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _canonical_number_or_none(text: str) -> str | None:
    try:
        return canonical_number(text)
    except SubmissionInvalid:
        return None


def _examples() -> list[str]:
    """Return a valid number of every type of every region, and of every code without a region."""
    numbers = [
        phonenumbers.example_number_for_type(region, kind)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in _TYPES
    ]
    numbers += [
        phonenumbers.example_number_for_non_geo_entity(code)
        for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS
    ]
    e164 = phonenumbers.PhoneNumberFormat.E164
    return sorted({phonenumbers.format_number(number, e164) for number in numbers if number})


def _numbers(chance: random.Random) -> Iterator[str]:
    """Yield numbers of every country code: at random, and close to valid ones."""
    codes = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    examples = _examples()
    while True:
        for code in codes:
            yield f"+{code}{chance.randrange(10 ** chance.randrange(4, 14))}"
        for example in examples:
            digits = list(example)
            for _ in range(chance.randrange(1, 7)):
                # Mostly the last seven digits: a number stays in the range of its type.
                first = len(digits) - 7 if chance.random() < 0.8 else 1
                digits[chance.randrange(max(first, 1), len(digits))] = str(chance.randrange(10))
            change = chance.random()
            if change < 0.08:
                del digits[-1]
            elif change < 0.16:
                digits.append(str(chance.randrange(10)))
            elif change < 0.24:
                # Where a national prefix may follow the country code.
                digits.insert(chance.randrange(2, 5), chance.choice("018"))
            yield "".join(digits)


def test_a_number_becomes_what_the_library_makes_of_it() -> None:
    numbers = _numbers(seeded_random())
    as_it_is_count = matched_count = 0
    for _ in range(_NUMBERS):
        text = next(numbers)
        if text.startswith(_KEPT_FOR_FICTION):
            continue
        by_library = _number_by_library(text)
        if is_canonical_number(text):
            assert by_library == text, text
            matched_count += 1
        else:
            assert _canonical_number_or_none(text) == by_library, text
        as_it_is_count += by_library == text
    # Far from both ends, else the test would not have asked much.
    assert 0.2 * _NUMBERS < as_it_is_count < 0.8 * _NUMBERS
    # The short way is worth something only if almost nothing needs the long one.
    assert matched_count > 0.98 * as_it_is_count


def test_a_number_however_it_is_punctuated_becomes_what_the_library_makes_of_it() -> None:
    chance = seeded_random()
    numbers = _numbers(chance)
    for _ in range(5_000):
        digits = next(numbers)
        if digits.startswith(_KEPT_FOR_FICTION):
            continue
        text = digits
        for _ in range(chance.randrange(4)):
            place = chance.randrange(len(text) + 1)
            text = text[:place] + chance.choice(" -.()/\u00a0\u2010+0") + text[place:]
        assert _canonical_number_or_none(text) == _number_by_library(text.strip()), ascii(text)


def _address_by_library(text: str) -> str | None:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        return None


def _canonical_address_or_none(text: str) -> str | None:
    try:
        return canonical_address(text)
    except SubmissionInvalid:
        return None


_PLAIN = "abcXYZ019"
_ODD = "!#$%&'*+-/=?^_`{|}~.@<>\"\\ ,;:()[]äßЖ中\u0301\u0338\u200b\0\ud800"
_DOMAINS = (
    *("example.com", "EXAMPLE.com", "mail.example.co.uk", "münchen.de", "xn--mnchen-3ya.de"),
    *(
        "localhost",
        "x.test",
        "a..b.com",
        "-a.com",
        "a.c0m",
        "中文.com",
        "[127.0.0.1]",
        "",
        "a_b.com",
    ),
    *(
        ".".join(["d" * 60] * 3) + ".com",
        "ä" * 40 + ".de",
        "xn--a.com",
        "\uff21\uff22.com",
        "x@y.com",
    ),
)
_NAMES = ("info", "INFO", "Postmaster", "abuse", "infos")


def _addresses(chance: random.Random) -> Iterator[str]:
    while True:
        match chance.randrange(6):
            case 0:
                local = chance.choice(_NAMES)
            case 1:
                local = "a" * chance.choice((1, 64, 65, 67, 68, 69, 70, 71, 72, 73, 240, 300))
            case _:
                alphabet = _PLAIN if chance.random() < 0.6 else _PLAIN + _ODD
                local = "".join(chance.choices(alphabet, k=chance.randrange(12)))
                if chance.random() < 0.3:
                    local = f"{local}.{chance.choice(_PLAIN)}"
        domain = chance.choice(_DOMAINS)
        if chance.random() < 0.2:
            place = chance.randrange(len(domain) + 1)
            domain = domain[:place] + chance.choice(_ODD) + domain[place:]
        yield f"{local}@{domain}" if chance.random() < 0.97 else local + domain


def test_an_address_becomes_what_the_library_makes_of_it() -> None:
    addresses = _addresses(seeded_random())
    accepted_count = 0
    for _ in range(_ADDRESSES):
        text = next(addresses)
        canonical = _canonical_address_or_none(text)
        # Neither reads blanks around an address as a part of it.
        assert canonical == _address_by_library(text.strip()), ascii(text)
        accepted_count += canonical is not None
    assert 0.1 * _ADDRESSES < accepted_count < 0.9 * _ADDRESSES
