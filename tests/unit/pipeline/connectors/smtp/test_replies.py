"""Replies and silences: what is definite, and what is unknown."""

import pytest

from pipeline.connectors.smtp.replies import (
    Phase,
    Reply,
    judge_reply,
    judge_silence,
    reference_of,
)
from pipeline.lifecycle import Event

BEFORE_THE_DOT = [Phase.MAIL, Phase.RCPT, Phase.DATA]


@pytest.mark.parametrize(
    ("phase", "code"),
    [(Phase.MAIL, 250), (Phase.RCPT, 250), (Phase.RCPT, 251), (Phase.DATA, 354)],
)
def test_yes_means_go_on(phase: Phase, code: int) -> None:
    assert judge_reply(phase, Reply(code, "OK")) is None


@pytest.mark.parametrize(
    ("code", "event", "is_session_usable"),
    [
        pytest.param(421, Event.DEFER, False, id="closing"),
        pytest.param(450, Event.DEFER, True, id="mailbox busy"),
        pytest.param(451, Event.DEFER, True, id="try later"),
        pytest.param(452, Event.DEFER, True, id="too many"),
        pytest.param(550, Event.REFUSE, True, id="no such user"),
        pytest.param(552, Event.REFUSE, True, id="full"),
        pytest.param(554, Event.REFUSE, True, id="no"),
        # It speaks of the connection: the message may go by another.
        pytest.param(503, Event.DEFER, False, id="out of order"),
        pytest.param(530, Event.DEFER, False, id="log in first"),
        pytest.param(535, Event.DEFER, False, id="wrong password"),
        # What cannot be: yet there was no dot.
        pytest.param(100, Event.DEFER, False, id="1yz"),
        pytest.param(-1, Event.DEFER, False, id="no reply at all"),
        pytest.param(999, Event.DEFER, False, id="9yz"),
    ],
)
@pytest.mark.parametrize("phase", BEFORE_THE_DOT)
def test_before_the_dot_every_no_is_definite(
    phase: Phase, code: int, event: Event, is_session_usable: bool
) -> None:
    verdict = judge_reply(phase, Reply(code, "4.2.1 said the server"))
    assert verdict is not None
    assert (verdict.event, verdict.is_session_usable) == (event, is_session_usable)
    assert verdict.detail == f"{phase}: {code} 4.2.1 said the server"
    assert not verdict.reference


@pytest.mark.parametrize(
    ("phase", "code"), [(Phase.MAIL, 354), (Phase.RCPT, 354), (Phase.DATA, 250)]
)
def test_a_yes_to_another_question_is_none(phase: Phase, code: int) -> None:
    verdict = judge_reply(phase, Reply(code, ""))
    assert verdict is not None
    assert (verdict.event, verdict.is_session_usable) == (Event.DEFER, False)


@pytest.mark.parametrize(
    ("code", "event", "is_session_usable"),
    [
        pytest.param(250, Event.TAKE, True, id="taken"),
        pytest.param(200, Event.TAKE, True, id="taken, oddly"),
        pytest.param(421, Event.DEFER, False, id="closing"),
        pytest.param(451, Event.DEFER, True, id="later"),
        pytest.param(550, Event.REFUSE, True, id="spam"),
        pytest.param(554, Event.REFUSE, True, id="never"),
        pytest.param(503, Event.REFUSE, True, id="5yz is its word"),
        pytest.param(354, Event.LOSE_ANSWER, False, id="no answer to this"),
        pytest.param(100, Event.LOSE_ANSWER, False, id="1yz"),
        pytest.param(-1, Event.LOSE_ANSWER, False, id="no reply at all"),
        pytest.param(600, Event.LOSE_ANSWER, False, id="6yz"),
    ],
)
def test_after_the_dot_only_a_reply_is_definite(
    code: int, event: Event, is_session_usable: bool
) -> None:
    verdict = judge_reply(Phase.END, Reply(code, "said the server"))
    assert verdict is not None
    assert (verdict.event, verdict.is_session_usable) == (event, is_session_usable)


@pytest.mark.parametrize("phase", BEFORE_THE_DOT)
def test_silence_before_the_dot_is_no_acceptance(phase: Phase) -> None:
    verdict = judge_silence(phase, "connection lost")
    assert (verdict.event, verdict.is_session_usable) == (Event.DEFER, False)
    assert verdict.detail == f"{phase}: connection lost"


def test_silence_after_the_dot_is_no_failure() -> None:
    verdict = judge_silence(Phase.END, "no answer")
    assert (verdict.event, verdict.is_session_usable) == (Event.LOSE_ANSWER, False)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("2.0.0 Ok: queued as 4F3C1A0B2D", "4F3C1A0B2D"),
        ("OK id=1rXyZa-000AbC-2D", "1rXyZa-000AbC-2D"),
        ("2.0.0 16GGc0aB012345 Message accepted for delivery", "16GGc0aB012345"),
        ("2.0.0 OK  1700000000 a1-20020a0568.99 - gsmtp", "1700000000"),
        ("Ok 0102018c-a1b2-000000", "0102018c-a1b2-000000"),
        ("ok 1700000000 qp 4711", "1700000000"),
        ("2.6.0 <x@y.example> [InternalId=7] Queued mail for delivery", ""),
        ("OK", ""),
        ("Message accepted", ""),
        ("", ""),
        ("queued as " + "x" * 500, "x" * 128),
    ],
)
def test_the_reference_is_the_name_in_the_servers_queue(text: str, reference: str) -> None:
    assert reference_of(text) == reference
    verdict = judge_reply(Phase.END, Reply(250, text))
    assert verdict is not None
    assert verdict.reference == reference


def test_a_reply_of_many_lines_is_told_in_one_with_one_status() -> None:
    verdict = judge_reply(Phase.RCPT, Reply(550, "5.1.1 No such user\n5.1.1 here.\n5.1.1 \nBye"))
    assert verdict is not None
    assert verdict.detail == "RCPT: 550 5.1.1 No such user here. Bye"


def test_what_a_server_says_is_cut_and_cleaned() -> None:
    verdict = judge_reply(Phase.RCPT, Reply(550, "a\x1b[31m\r\0b\udcff" + "x" * 5_000))
    assert verdict is not None
    assert verdict.detail.startswith("RCPT: 550 a [31m b xxx")
    assert len(verdict.detail) == 200


@pytest.mark.parametrize(
    ("phase", "code", "text", "unwanted"),
    [
        (Phase.RCPT, 550, "5.1.1 no such user", "bounce"),
        (Phase.RCPT, 550, "5.2.2 mailbox full", ""),
        (Phase.RCPT, 550, "no such user", ""),
        (Phase.RCPT, 450, "4.1.1 try later", ""),
        (Phase.MAIL, 550, "5.1.1 sender unknown", ""),
        (Phase.DATA, 554, "5.1.1 odd", ""),
    ],
)
def test_only_an_address_that_is_refused_for_good_is_never_written_to_again(
    phase: Phase, code: int, text: str, unwanted: str
) -> None:
    verdict = judge_reply(phase, Reply(code, text))
    assert verdict is not None
    assert verdict.unwanted == unwanted
