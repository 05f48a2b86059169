"""Numbering plans that no country has, small enough to try every number of them."""

from collections.abc import Callable
from itertools import product

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberDesc

from pipeline.errors import SubmissionInvalid
from pipeline.ingest import phone_number
from pipeline.ingest.phone_number import canonical_number, is_canonical_number

CODE = 999


def make_desc(pattern: str, *lengths: int) -> PhoneNumberDesc:
    return PhoneNumberDesc(national_number_pattern=pattern, possible_length=lengths or (2, 3, 4, 5))


def make_region(
    name: str,
    *,
    general: PhoneNumberDesc,
    mobile: PhoneNumberDesc,
    fixed_line: PhoneNumberDesc | None = None,
    prefix: str | None = None,
    transform: str | None = None,
    leading_digits: str | None = None,
) -> PhoneMetadata:
    return PhoneMetadata(
        id=name,
        country_code=CODE,
        international_prefix="00",
        general_desc=general,
        mobile=mobile,
        fixed_line=fixed_line or PhoneNumberDesc(possible_length=(-1,)),
        national_prefix_for_parsing=prefix,
        national_prefix_transform_rule=transform,
        leading_digits=leading_digits,
        register=False,
    )


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that makes these regions those of the code 999, the first the main one."""

    def install(*regions: PhoneMetadata) -> None:
        names = tuple(region.id for region in regions)
        monkeypatch.setitem(phonenumbers.COUNTRY_CODE_TO_REGION_CODE, CODE, names)
        for region in regions:
            monkeypatch.setitem(PhoneMetadata._region_metadata, region.id, region)

    monkeypatch.setattr(phone_number, "_patterns", phone_number._Patterns())
    return install


def by_library(text: str) -> str | None:
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def canonical_or_none(text: str) -> str | None:
    try:
        return canonical_number(text)
    except SubmissionInvalid:
        return None


def assert_judged_as_by_the_library(*, accepted: str, refused: str, rewritten: str = "") -> None:
    """Try every number of two to five digits; the examples show that the plan is what it seems."""
    for example in accepted.split():
        assert by_library(f"+{CODE}{example}") == f"+{CODE}{example}", example
    for example in refused.split():
        assert by_library(f"+{CODE}{example}") is None, example
    for example in rewritten.split():
        assert by_library(f"+{CODE}{example}") not in (None, f"+{CODE}{example}"), example
    for length in (2, 3, 4, 5):
        for digits in product("0129", repeat=length):
            text = f"+{CODE}{''.join(digits)}"
            verdict = by_library(text)
            assert canonical_or_none(text) == verdict, text
            # The pattern may leave a number to the library, but never the other way round.
            assert not is_canonical_number(text) or verdict == text, text


def test_a_region_that_claims_a_number_by_its_first_digits_judges_it_alone(
    install: Install,
) -> None:
    anything = make_desc(r"\d{2,5}")
    install(
        make_region("Q1", general=anything, mobile=make_desc(r"1\d\d")),
        make_region("Q2", general=anything, mobile=make_desc(r"20\d"), leading_digits="2"),
        make_region("Q3", general=anything, mobile=make_desc(r"[29]\d\d")),
    )
    assert_judged_as_by_the_library(accepted="100 200 900", refused="219 1000")


def test_a_number_has_one_of_the_lengths_of_its_type_whatever_the_pattern_says(
    install: Install,
) -> None:
    install(make_region("Q1", general=make_desc(r"\d+"), mobile=make_desc(r"1\d+", 3, 5)))
    assert_judged_as_by_the_library(accepted="100 10000", refused="1000 10 200")


def test_a_number_fits_its_region_in_general_too(install: Install) -> None:
    install(make_region("Q1", general=make_desc(r"1\d+", 3, 4), mobile=make_desc(r"[12]\d+")))
    assert_judged_as_by_the_library(accepted="100 1000", refused="200 10 10000")


def test_a_type_that_does_not_exist_takes_no_number(install: Install) -> None:
    region = make_region(
        "Q1",
        general=make_desc(r"\d+"),
        mobile=make_desc(r"1\d\d"),
        fixed_line=make_desc(r"2\d", -1),
    )
    install(region)
    assert_judged_as_by_the_library(accepted="100", refused="20")


def test_a_national_prefix_is_left_out_where_a_number_remains(install: Install) -> None:
    install(
        make_region(
            "Q1", general=make_desc(r"0?[12]\d\d?"), mobile=make_desc(r"0?[12]\d\d?"), prefix="0"
        )
    )
    assert_judged_as_by_the_library(accepted="100 10", refused="1000 900", rewritten="0100 010")


def test_a_national_prefix_stays_where_nothing_remains(install: Install) -> None:
    install(
        make_region(
            "Q1", general=make_desc(r"0\d\d|1\d\d\d"), mobile=make_desc(r"[01]\d+"), prefix="0"
        )
    )
    assert_judged_as_by_the_library(accepted="012 1000", refused="100", rewritten="01000")
    assert is_canonical_number(f"+{CODE}012")


def test_a_national_prefix_may_be_rewritten(install: Install) -> None:
    install(
        make_region(
            "Q1",
            general=make_desc(r"[0129]\d\d\d"),
            mobile=make_desc(r"[0129]\d\d\d"),
            prefix=r"0(1)",
            transform=r"9\1",
        )
    )
    assert_judged_as_by_the_library(accepted="1000 0200", refused="100 011", rewritten="0100")


def test_a_prefix_that_matches_nothing_changes_nothing(install: Install) -> None:
    install(
        make_region(
            "Q1",
            general=make_desc(r"[129]\d\d"),
            mobile=make_desc(r"[129]\d\d"),
            prefix="0?(?:(1)9)?",
            transform=r"2\1",
        )
    )
    assert_judged_as_by_the_library(accepted="100 200", refused="10 0", rewritten="0100 190")
    assert is_canonical_number(f"+{CODE}200")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param("+447700900123", id="kept for fiction"),
        pytest.param("+5491123456789", id="Argentina: a prefix that may be nothing"),
        pytest.param("+37080126405", id="Lithuania: a prefix that stays"),
        pytest.param("+390669812345", id="Italy: a zero"),
        pytest.param("+12125550100", id="America: one code, 25 regions"),
        pytest.param("+80012345678", id="no region at all"),
    ],
)
def test_a_valid_number_needs_no_library(number: str) -> None:
    assert is_canonical_number(number)
    assert canonical_number(number) == number


def test_only_numbers_with_a_country_code_are_remembered() -> None:
    patterns = phone_number._Patterns()
    for text in ("", "+", "+4", "+44", "abcd", "+\u0664\u0664\u0664", "0044"):
        assert not patterns[text[1:4]](text)
    assert set(patterns) <= {"044"}
    # The digits that share a country code share its pattern.
    assert patterns["447"] is patterns["448"]
