from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.submission import (
    SubmissionPlan,
    build_bodies,
    build_submission,
    validate_body,
)
from pipeline.ingest.template import Rendered, Template, compile_template
from pipeline.instant import Instant
from pipeline.limits import (
    BODY_BYTES_MAX,
    CONTENT_BYTES_MAX,
    GROUP_CHARS_MAX,
    METADATA_BYTES_MAX,
    METADATA_ENTRIES_MAX,
    RECIPIENT_BYTES_MAX,
    TENANT_CHARS_MAX,
)
from pipeline.message import Submission, decode_body, encode_body

COLUMNS = ("recipient", "content", "channel", "tenant", "group", "priority", "expires_at", "extra")
RECORD = {
    "recipient": "+447911123456",
    "content": "hello",
    "channel": "sms",
    "tenant": "acme",
    "group": "spring",
    "priority": "normal",
}


def template(text: str) -> Template:
    return compile_template("test", text, columns=COLUMNS, by_position=False)


class AsItIs:
    """Gives a field the value of a column, blank or not, as a source that is no template may."""

    constant: str | None = None

    def __init__(self, name: str) -> None:
        self._name = name

    def render_all(self, records: Sequence[Any], numbers: Sequence[int]) -> Rendered:
        return Rendered([record[self._name] for record in records], {})


def make_plan(
    *,
    metadata: Mapping[str, str] | None = None,
    default_region: str | None = None,
    expires_at_max: Instant | None = None,
    **fields: str | AsItIs,
) -> SubmissionPlan:
    """Return a plan whose fields come from the columns of the same names, but for `fields`."""
    names = ("recipient", "content", "channel", "tenant", "group", "priority")
    sources: dict[str, Any] = {name: template(f"{{{name}}}") for name in names}
    for name, value in fields.items():
        sources[name] = template(value) if isinstance(value, str) else value
    return SubmissionPlan(
        metadata={key: template(text) for key, text in (metadata or {}).items()},
        default_region=default_region,
        expires_at_max=expires_at_max,
        **sources,
    )


def make_submission(**fields: Any) -> Submission:
    return Submission(**{**RECORD, **fields})


def refusal_of(record: dict[str, Any], plan: SubmissionPlan | None = None) -> SubmissionInvalid:
    built = build_bodies(plan or make_plan(), [record], [1])
    assert list(built.positions) == []
    assert built.bodies == []
    assert list(built.refused) == [0]
    return built.refused[0]


def test_a_record_becomes_the_body_of_its_submission() -> None:
    plan = make_plan(expires_at="{expires_at|}", metadata={"campaign": "{extra}", "n": "{#}"})
    record = {**RECORD, "extra": "x", "expires_at": "2030-01-31T18:00:00Z"}
    built = build_bodies(plan, [record], [7])
    expected = make_submission(
        expires_at=1_896_112_800_000_000, metadata={"campaign": "x", "n": "7"}
    )
    assert built.bodies == [encode_body(expected)]
    assert list(built.positions) == [0]
    assert not built.refused
    assert build_submission(plan, record, 7) == expected


def test_fields_that_are_the_same_for_all_records_give_the_same_bodies() -> None:
    records = [{**RECORD, "content": f"text {n}"} for n in range(5)]
    constant = make_plan(channel="sms", tenant="acme", group="spring", priority="normal")
    numbers = range(1, 6)
    assert build_bodies(constant, records, numbers) == build_bodies(make_plan(), records, numbers)


def test_the_recipient_is_canonical_in_the_body() -> None:
    submission = build_submission(make_plan(), {**RECORD, "recipient": "+44 7911-123456"})
    assert submission.recipient == "+447911123456"
    plan = make_plan(default_region="GB")
    assert build_submission(plan, {**RECORD, "recipient": "07911 123456"}).recipient == (
        "+447911123456"
    )


def test_group_and_priority_are_tidied() -> None:
    submission = build_submission(make_plan(), {**RECORD, "group": " a b ", "priority": " Bulk"})
    assert (submission.group, submission.priority) == ("a b", "bulk")


def test_a_refused_record_leaves_the_others_in_their_places() -> None:
    records = [{**RECORD, "content": f"text {n}"} for n in range(6)]
    records[1]["recipient"] = "nobody"
    records[3]["content"] = ""
    records[4]["channel"] = "fax"
    built = build_bodies(make_plan(), records, range(1, 7))
    assert list(built.positions) == [0, 2, 5]
    assert [decode_body(body).content for body in built.bodies] == ["text 0", "text 2", "text 5"]
    fields = {place: invalid.field for place, invalid in built.refused.items()}
    assert fields == {1: "recipient", 3: "content", 4: "channel"}


def test_no_records_give_no_bodies() -> None:
    built = build_bodies(make_plan(metadata={"a": "{extra}"}), [], [])
    assert (list(built.positions), built.bodies, dict(built.refused)) == ([], [], {})


LONGEST = "é" * (CONTENT_BYTES_MAX // 2)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"recipient": ""}, "recipient", "column 'recipient' is empty"),
        ({"recipient": "07911123456"}, "recipient", "no country code"),
        ({"content": ""}, "content", "column 'content' is empty"),
        ({"content": "a\0b"}, "content", "NUL"),
        ({"content": "a\ud800b"}, "content", "half of a surrogate pair"),
        ({"content": "\ud800" * CONTENT_BYTES_MAX}, "content", "half of a surrogate pair"),
        ({"content": LONGEST + "x"}, "content", f"has {CONTENT_BYTES_MAX + 1} bytes, at most"),
        ({"content": "x" * (CONTENT_BYTES_MAX + 1)}, "content", "at most"),
        ({"channel": "fax"}, "channel", "'fax' is not a channel"),
        ({"channel": ""}, "channel", "column 'channel' is empty"),
        ({"tenant": "a/b"}, "tenant", "letters, digits"),
        ({"tenant": "-a"}, "tenant", "beginning with a letter or digit"),
        ({"tenant": "é"}, "tenant", "letters, digits"),
        ({"tenant": "a\n"}, "tenant", "letters, digits"),
        ({"tenant": "a" * (TENANT_CHARS_MAX + 1)}, "tenant", "letters, digits"),
        ({"group": "a" * (GROUP_CHARS_MAX + 1)}, "group", "129 characters, at most 128"),
        ({"group": "a\nb"}, "group", "cannot be printed"),
        ({"group": "a\0b"}, "group", "cannot be printed"),
        ({"group": "a\ud800"}, "group", "cannot be printed"),
        ({"priority": "fast"}, "priority", "'fast' is not a priority; one of urgent, normal, bulk"),
        ({"priority": "bulk" + " " * 100}, "priority", "is not a priority"),
        ({"expires_at": "soon"}, "expires_at", "not a date and time"),
        ({"expires_at": "2031-01-01T00:00:00Z"}, "expires_at", "the longest validity"),
        ({"extra": ""}, "metadata note", "column 'extra' is empty"),
        ({"extra": "a\0b"}, "metadata", "NUL"),
        ({"extra": "a\ud800b"}, "metadata", "half of a surrogate pair"),
        ({"extra": "\ud800" * 2_000}, "metadata", "half of a surrogate pair"),
        ({"extra": "é" * (METADATA_BYTES_MAX // 2)}, "metadata", "at most 4096"),
    ],
)
def test_a_record_is_refused_with_its_field_and_what_to_change(
    change: dict[str, str], field: str, reason: str
) -> None:
    plan = make_plan(
        expires_at="{expires_at|}",
        expires_at_max=Instant(1_900_000_000_000_000),
        metadata={"note": "{extra}"},
    )
    good = {**RECORD, "expires_at": "2030-01-01T00:00:00Z", "extra": "x"}
    assert not build_bodies(plan, [good], [1]).refused
    invalid = refusal_of({**good, **change}, plan)
    assert invalid.field == field
    assert reason in invalid.reason
    assert "\ud800" not in str(invalid)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(LONGEST, id="as many bytes as can be"),
        pytest.param("x" * CONTENT_BYTES_MAX, id="as many characters as can be"),
        *("x", "\n", "😀"),
    ],
)
def test_content_up_to_the_limit_is_taken_as_it_is(content: str) -> None:
    plan = make_plan(content=AsItIs("content"))
    assert build_submission(plan, {**RECORD, "content": content}).content == content


def test_content_is_never_empty_whatever_its_source_says() -> None:
    invalid = refusal_of({**RECORD, "content": ""}, make_plan(content=AsItIs("content")))
    assert str(invalid) == "content: is empty"


def test_the_first_field_that_fails_is_the_one_that_is_told() -> None:
    record = {**RECORD, "recipient": "", "content": "", "channel": "fax"}
    assert refusal_of(record).field == "recipient"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"channel": "fax"}, "channel"),
        ({"tenant": "a/b"}, "tenant"),
        ({"priority": "fast"}, "priority"),
        ({"group": "x" * 200}, "group"),
        ({"metadata": {"": "x"}}, "metadata"),
        ({"metadata": {"a b": "x"}}, "metadata"),
        ({"metadata": {"k" * 65: "x"}}, "metadata"),
        ({"metadata": {f"k{n}": "x" for n in range(METADATA_ENTRIES_MAX + 1)}}, "metadata"),
        ({"default_region": "Britain"}, "region"),
    ],
)
def test_what_is_wrong_for_every_record_is_refused_before_the_first(
    fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(SubmissionInvalid) as caught:
        make_plan(**fields)
    assert caught.value.field == field


def test_what_was_built_is_valid_and_unchanged() -> None:
    records = [
        {**RECORD, "channel": "email", "recipient": "Ä@MÜNCHEN.de"},
        {**RECORD, "channel": "webhook", "recipient": "HTTPS://Example.com/x"},
        {**RECORD, "channel": "push", "recipient": " token "},
        {**RECORD, "recipient": "+44 7911 123456", "priority": "Urgent", "group": " g "},
    ]
    built = build_bodies(make_plan(metadata={"a": "{content}"}), records, range(1, 5))
    assert not built.refused
    for body in built.bodies:
        assert encode_body(validate_body(body)) == body


def test_the_largest_body_is_within_its_limit() -> None:
    metadata = {f"{n:064}": "" for n in range(METADATA_ENTRIES_MAX)}
    metadata[f"{0:064}"] = "x" * (METADATA_BYTES_MAX - 64 * METADATA_ENTRIES_MAX)
    recipient = "https://example.com/".ljust(RECIPIENT_BYTES_MAX, "x")
    largest = make_submission(
        channel="webhook",
        recipient=recipient,
        content="x" * CONTENT_BYTES_MAX,
        tenant="t" * TENANT_CHARS_MAX,
        group="😀" * GROUP_CHARS_MAX,
        expires_at=2**62,
        metadata=metadata,
    )
    body = encode_body(largest)
    assert len(body) <= BODY_BYTES_MAX
    assert validate_body(body) == largest


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"recipient": "+44 7911 123456"}, "recipient"),
        ({"recipient": "nobody"}, "recipient"),
        ({"recipient": ""}, "recipient"),
        ({"content": ""}, "content"),
        ({"content": "a\0"}, "content"),
        ({"content": "x" * (CONTENT_BYTES_MAX + 1)}, "content"),
        ({"channel": "fax"}, "channel"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a/b"}, "tenant"),
        ({"group": "a\nb"}, "group"),
        ({"group": " a"}, "body"),
        ({"priority": "Bulk"}, "body"),
        ({"priority": "fast"}, "priority"),
        ({"metadata": {"a b": ""}}, "metadata"),
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"metadata": {"a": "x" * METADATA_BYTES_MAX}}, "metadata"),
        ({"metadata": {f"k{n}": "" for n in range(METADATA_ENTRIES_MAX + 1)}}, "metadata"),
        ({"expires_at": -1}, "expires_at"),
        ({"expires_at": 2**63}, "expires_at"),
        ({"expires_at": 11}, "expires_at"),
    ],
)
def test_a_body_from_elsewhere_is_held_to_the_same_rules(
    change: dict[str, Any], field: str
) -> None:
    expires_at_max = Instant(10)
    validate_body(encode_body(make_submission(expires_at=10)), expires_at_max=expires_at_max)
    with pytest.raises(SubmissionInvalid) as caught:
        validate_body(encode_body(make_submission(**change)), expires_at_max=expires_at_max)
    assert caught.value.field == field


def with_more(data: bytes) -> bytes:
    """Return a body with one field more than a submission has."""
    body = msgspec.msgpack.encode(make_submission())
    return bytes([body[0] + 1]) + body[1:] + data


@pytest.mark.parametrize(
    "body",
    [
        with_more(b"\x91" * 60_000 + b"\xc0"),
        with_more(msgspec.msgpack.encode(b"x" * BODY_BYTES_MAX)),
        b"",
        b"\x00",
        b"{}",
        b"\x98",
        encode_body(make_submission()) + b"\x00",
        msgspec.msgpack.encode(["too", "short"]),
        msgspec.msgpack.encode([None, "acme", "sms", 5, "x", "", "bulk", {}]),
        b"\x98\xc0\xa1t\xa3sms\xa1r\xa3\xed\xa0\x80\xa0\xa4bulk\x80",
        b"\x91" * 100_000,
        b"\x00" * (BODY_BYTES_MAX + 1),
    ],
    ids=lambda body: f"{len(body)} bytes",
)
def test_bytes_that_are_no_submission_are_refused(body: bytes) -> None:
    with pytest.raises(SubmissionInvalid) as caught:
        validate_body(body)
    assert caught.value.field == "body"


def test_a_body_with_fields_of_a_later_version_is_taken() -> None:
    assert validate_body(with_more(b"\xa5later")) == make_submission()
