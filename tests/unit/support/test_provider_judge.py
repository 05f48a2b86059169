"""The judge of the tests with failing providers sees each thing that must not happen."""

from typing import Any

import msgspec
import pytest

from cluster.egress.simulator.log import LogLine
from tests.support.provider_judge import Doubt, Fault, judge

SECOND = 1_000_000
STATES = {"a": "sent", "b": "failed", "c": "uncertain"}
FAULTS = [Fault(10 * SECOND, 13 * SECOND, "Scheduler", "SIGSTOP")]
BY_FAULT = Doubt(9 * SECOND, 14 * SECOND, "")


def line(id_: str, mode: str = "accept", *, took: bool = True, **changed: Any) -> LogLine:
    whole = LogLine(
        at_us=0,
        protocol="smtp",
        key=id_,
        message_id=id_,
        recipient="r",
        digest="d",
        mode=mode,
        took=took,
        was_new=took,
        seen_before=0,
    )
    return msgspec.structs.replace(whole, **changed)


LOG = [line("a"), line("b", "refuse", took=False), line("c", "hang_after")]


def found(
    states: dict[str, str] = STATES,
    log: list[LogLine] = LOG,
    *,
    doubts: dict[str, Doubt] | None = None,
    protocol: str = "smtp",
) -> list[str]:
    findings = judge(
        states,
        log,
        protocol=protocol,
        count=3,
        doubts=doubts or {},
        faults=FAULTS,
        answer_timeout_us=SECOND,
    )
    return sorted(findings.told())


def test_what_is_well_is_well() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("states", "log", "finding"),
    [
        pytest.param({"a": "sent", "b": "failed"}, LOG[:2], "lost", id="is gone"),
        pytest.param(STATES | {"b": "waiting"}, LOG, "lost", id="is at no end"),
        pytest.param(STATES, [*LOG, line("x")], "unknown", id="is not ours"),
        pytest.param(STATES, [*LOG, line("a")], "twice", id="sent twice"),
        pytest.param(STATES, [*LOG, line("c", "hang_after")], "twice", id="doubted, and again"),
        pytest.param(STATES, LOG[1:], "sent_not_taken", id="sent, they say"),
        pytest.param(STATES, [*LOG, line("b")], "failed_but_taken", id="failed, they say"),
        pytest.param(
            STATES, [*LOG[:2], line("c")], "doubted_without_cause", id="its provider had answered"
        ),
        pytest.param(STATES, LOG[:2], "doubted_without_cause", id="it was never handed over"),
        pytest.param(
            STATES,
            [*LOG[:2], line("c", "hang_before", took=False), line("c")],
            "doubted_without_cause",
            id="only the request before was in doubt",
        ),
    ],
)
def test_each_thing_that_must_not_happen_is_found(
    states: dict[str, str], log: list[LogLine], finding: str
) -> None:
    assert found(states, log) == [finding]


def test_who_knows_keys_may_be_given_a_message_again() -> None:
    log = [_of_http(one) for one in LOG]
    again = msgspec.structs.replace(log[0], was_new=False)
    assert found(log=[*log, again], protocol="http") == []
    assert found(log=[*log, log[0]], protocol="http") == ["twice"]


def _of_http(one: LogLine) -> LogLine:
    return msgspec.structs.replace(one, protocol="http")


@pytest.mark.parametrize(
    ("doubt", "has_cause"),
    [
        pytest.param(BY_FAULT, True, id="claimed before a fault, lost after it"),
        pytest.param(BY_FAULT._replace(lost_at_us=9 * SECOND), False, id="lost before it"),
        pytest.param(BY_FAULT._replace(claimed_at_us=14 * SECOND), False, id="claimed after it"),
        pytest.param(BY_FAULT._replace(claimed_at_us=12 * SECOND), True, id="claimed in a pause"),
        pytest.param(BY_FAULT._replace(claimed_at_us=None), False, id="never claimed"),
        pytest.param(
            Doubt(20 * SECOND, 21 * SECOND, "end of data: no answer in time"), True, id="timed out"
        ),
        pytest.param(
            Doubt(20 * SECOND, 21 * SECOND - 1, "end of data: no answer in time"),
            False,
            id="there was no time to time out",
        ),
        pytest.param(Doubt(20 * SECOND, 29 * SECOND, "whatever"), False, id="no reason"),
        pytest.param(None, False, id="nobody knows"),
    ],
)
def test_what_is_in_doubt_has_a_cause(doubt: Doubt | None, has_cause: bool) -> None:
    doubts = {} if doubt is None else {"c": doubt}
    expected = [] if has_cause else ["doubted_without_cause"]
    assert found(log=[*LOG[:2], line("c")], doubts=doubts) == expected
