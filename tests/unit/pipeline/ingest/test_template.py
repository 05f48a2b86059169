from typing import Any

import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.template import (
    Record,
    Template,
    column_template,
    compile_template,
    constant_template,
    resolve_column,
)

COLUMNS = ("to", "first name", "Text")


def compiled(text: str, *, by_position: bool = False) -> Template:
    return compile_template("content", text, columns=COLUMNS, by_position=by_position)


def rendered(template: Template, *records: Record) -> list[str]:
    values, failed = template.render_all(records, range(1, len(records) + 1))
    assert not failed
    return list(values)


def failure(template: Template, record: Record) -> str:
    values, failed = template.render_all([record], [1])
    assert list(values) == [""]
    return failed[0]


RECORD = {"to": "+447911123456", "first name": "Ada", "Text": "hello"}
ROW = ["+447911123456", "Ada", "hello"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{to}", "+447911123456"),
        ("{ to }", "+447911123456"),
        ("Dear {first name}, {Text}!", "Dear Ada, hello!"),
        ("{first name}{Text}", "Adahello"),
        ("{text}", "hello"),
        ("{#}/{to}", "1/+447911123456"),
        ("{{{to}}}", "{+447911123456}"),
        ("{{to}}", "{to}"),
        ("}}{{", "}{"),
        ("no column", "no column"),
        ("", ""),
    ],
)
def test_a_template_renders_columns_numbers_and_braces(text: str, expected: str) -> None:
    assert rendered(compiled(text), RECORD) == [expected]
    assert rendered(compiled(text, by_position=True), ROW) == [expected]


def test_every_record_gets_its_own_text_and_number() -> None:
    records = [{"to": str(n)} for n in range(3)]
    template = compiled("{#}: {to}")
    assert template.render_all(records, [5, 7, 9]).values == ["5: 0", "7: 1", "9: 2"]


@pytest.mark.parametrize("empty", ["", " ", "\t", None])
def test_an_empty_value_takes_the_default(empty: str | None) -> None:
    records: list[Record] = [{"to": empty}, {"to": "x"}, {}]
    assert rendered(compiled("{to|nobody}"), *records) == ["nobody", "x", "nobody"]
    assert rendered(compiled("<{to|}>"), *records) == ["<>", "<x>", "<>"]


@pytest.mark.parametrize("record", [{"to": ""}, {"to": " "}, {"to": None}, {}])
def test_an_empty_value_without_a_default_fails_its_record_and_names_the_column(
    record: dict[str, object],
) -> None:
    reason = failure(compiled("{Text|x} {to}"), record)
    assert reason.startswith("column 'to' is empty")
    assert "{to|default}" in reason


def test_of_two_empty_values_the_first_is_told() -> None:
    assert "column 'Text'" in failure(compiled("{Text} {to}"), {})


def test_one_failing_record_leaves_the_others() -> None:
    records = [RECORD, {**RECORD, "Text": ""}, RECORD]
    values, failed = compiled("{first name}: {Text}").render_all(records, range(1, 4))
    assert list(values) == ["Ada: hello", "", "Ada: hello"]
    assert list(failed) == [1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (-1.5, "-1.5"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_numbers_and_truths_of_json_become_text(value: object, text: str) -> None:
    assert rendered(compiled("{to}"), {"to": value}) == [text]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param([1], "a list or an object", id="a list"),
        pytest.param({"a": 1}, "a list or an object", id="an object"),
        pytest.param(10**5000, "too many digits", id="a number that no text holds"),
    ],
)
def test_what_is_no_text_fails_its_record(value: object, reason: str) -> None:
    assert reason in failure(compiled("{to}"), {"to": value})


@pytest.mark.parametrize("text", ["{to", "to}", "{", "}", "a{{b}", "{{}", "{a{to}}"])
def test_a_single_brace_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(SubmissionInvalid, match=r"a single [{}] at character \d+"):
        compiled(text)


@pytest.mark.parametrize(
    "text", ["{to.upper}", "{to!r}", "{to:>10}", "{to[0]}", "{}", "{0}", "{# }x{#|y}"]
)
def test_formats_attributes_and_code_are_columns_that_do_not_exist(text: str) -> None:
    with pytest.raises(SubmissionInvalid, match="no column"):
        compiled(text)


def test_an_unknown_column_is_refused_with_the_nearest_and_with_all() -> None:
    with pytest.raises(SubmissionInvalid) as caught:
        compiled("Dear {frist name}")
    assert caught.value.field == "content"
    assert "no column 'frist name'" in caught.value.reason
    assert "did you mean {first name}?" in caught.value.reason
    assert "there are: to, first name, Text" in caught.value.reason


def test_a_column_is_found_in_any_case_unless_two_differ_in_nothing_else() -> None:
    assert resolve_column("f", "TO", ("to", "x")) == "to"
    assert resolve_column("f", "TO", ("to", "TO")) == "TO"
    with pytest.raises(SubmissionInvalid, match="no column 'To'"):
        resolve_column("f", "To", ("to", "TO"))


def test_many_columns_are_not_all_listed() -> None:
    with pytest.raises(SubmissionInvalid, match=r"c19 and 236 more$"):
        resolve_column("f", "x" * 100, [f"c{n}" for n in range(256)])


def test_a_template_tells_its_columns_and_whether_it_is_constant() -> None:
    template = compiled("{Text} {to} {text} {#}")
    assert template.columns == ("Text", "to")
    assert template.constant is None
    assert compiled("{{sms}}").constant == "{sms}"
    assert compiled("").constant == ""
    assert compiled("{#}").constant is None


def test_a_constant_is_not_read_as_a_template() -> None:
    template = constant_template("{to}")
    assert template.constant == "{to}"
    assert rendered(template, RECORD, RECORD) == ["{to}", "{to}"]


def test_a_column_can_be_named_whatever_its_name_holds() -> None:
    template = column_template("a|{b}", columns=("x", "a|{b}"), by_position=True, default="d")
    assert rendered(template, ["1", "2"], ["1", ""]) == ["2", "d"]
    template = column_template("a|{b}", columns=("x", "a|{b}"), by_position=False)
    assert rendered(template, {"a|{b}": "2"}) == ["2"]


def test_no_records_render_to_nothing() -> None:
    nothing: list[Any] = []
    for text in ("", "x", "{to}", "{to}{#}"):
        assert list(compiled(text).render_all(nothing, []).values) == []


def test_a_template_has_a_limit() -> None:
    with pytest.raises(SubmissionInvalid, match="at most"):
        compiled("x" * (1024 * 1024 + 1))
