"""The report of `shardpost alignment`, from what processes counted."""

from actors.cli.alignment_command import report_of
from tests.support.cli_answer import Shardpost


def test_the_share_is_of_all_that_was_looked_at() -> None:
    report = report_of({"b": (90, {"x": 6, "y": 1}), "a": (3, {})}, before={})
    assert (report.looked_at, report.own, report.share) == (100, 93, 0.93)
    assert report.elsewhere == {"x": 6, "y": 1}
    assert [(one.process, one.own, one.elsewhere) for one in report.processes] == [
        ("a", 3, 0),
        ("b", 90, 7),
    ]


def test_only_what_came_since_counts_and_a_process_that_came_later_wholly() -> None:
    report = report_of(
        {"a": (15, {"x": 2, "y": 1}), "new": (4, {})}, before={"a": (10, {"x": 2}), "gone": (9, {})}
    )
    assert (report.own, report.elsewhere, report.looked_at) == (9, {"y": 1}, 10)


def test_where_nothing_was_looked_at_there_is_no_share() -> None:
    assert report_of({}, before={}).share is None


def test_an_embedded_store_has_nothing_to_measure(shardpost: Shardpost) -> None:
    answer = shardpost("alignment")
    assert answer.code == 3
    assert "an embedded store has no cores" in answer.err
