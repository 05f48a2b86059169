"""What an ordering key may be, at every door."""

import pytest

from pipeline.errors import SubmissionInvalid
from pipeline.ingest.submission import SubmissionPlan, build_bodies, validate_body
from pipeline.ingest.template import column_template, constant_template
from pipeline.limits import ORDERING_KEY_BYTES_MAX
from pipeline.message import Submission, decode_body, encode_body
from tests.support.submissions import make_submission

COLUMNS = ("key", "at")


def plan(*, key: str | None = None, is_timed: bool = False) -> SubmissionPlan:
    def column(name: str) -> object:
        return column_template(name, columns=COLUMNS, by_position=True, default="")

    return SubmissionPlan(
        recipient=constant_template("+447911123456"),
        content=constant_template("hello"),
        channel=constant_template("sms"),
        tenant=constant_template("acme"),
        group=constant_template(""),
        priority=constant_template("bulk"),
        ordering_key=column("key") if key is None else constant_template(key),  # type: ignore[arg-type]
        due_at=column("at") if is_timed else None,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("key", ["a", " a ", "é" * 128, "k" * ORDERING_KEY_BYTES_MAX])
def test_a_key_is_kept_as_it_is_and_both_doors_take_it(key: str) -> None:
    built = build_bodies(plan(), [(key, ""), ("", "")], [1, 2])
    assert [decode_body(body).ordering_key for body in built.bodies] == [key, ""]
    assert validate_body(built.bodies[0]).ordering_key == key
    assert built.bodies[0] == encode_body(decode_body(built.bodies[0]))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("k" * (ORDERING_KEY_BYTES_MAX + 1), "has 257 bytes, at most 256"),
        ("é" * 129, "has 258 bytes, at most 256"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_key_that_cannot_be_one_refuses_its_record_alone(key: str, reason: str) -> None:
    built = build_bodies(plan(), [("a", ""), (key, "")], [1, 2])
    assert len(built.bodies) == 1
    assert built.refused[1].field == "ordering_key"
    assert reason in built.refused[1].reason
    if key.isprintable() or "\0" in key:
        with pytest.raises(SubmissionInvalid, match="ordering_key"):
            validate_body(encode_body(make_submission(ordering_key=key)))


def test_in_order_and_at_a_time_is_refused() -> None:
    built = build_bodies(plan(is_timed=True), [("a", "in 2h"), ("", "in 2h"), ("a", "")], [1, 2, 3])
    assert built.positions == [1, 2]
    assert "sent when its turn comes" in built.refused[0].reason
    with pytest.raises(SubmissionInvalid, match="when its turn comes"):
        validate_body(encode_body(make_submission(ordering_key="a", delay_ms=1_000)))
    assert validate_body(encode_body(make_submission(ordering_key="a"))).ordering_key == "a"


def test_a_key_for_all_that_cannot_be_one_is_told_before_anything_is_read() -> None:
    with pytest.raises(SubmissionInvalid, match="at most 256"):
        plan(key="k" * 300)


def test_bodies_that_say_nothing_of_order_have_the_bytes_they_had() -> None:
    plain = make_submission("hello")
    assert len(encode_body(plain)) < len(encode_body(make_submission("hello", ordering_key="a")))
    timed = make_submission("hello", delay_ms=5)
    assert decode_body(encode_body(timed)) == timed
    # An array of 13 fields: those that there were before.
    assert encode_body(timed)[0] == 0x9D
    assert encode_body(plain)[0] == 0x98
    assert Submission.__struct_fields__[-1] == "ordering_key"
