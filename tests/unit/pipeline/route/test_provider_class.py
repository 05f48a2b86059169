import pytest

from pipeline.instant import DurationMs, Instant
from pipeline.lifecycle import RESOLVED_STATES, STATE_AFTER, Event, MessageState
from pipeline.limits import KEY_LIFE_MARGIN_MS
from pipeline.outcome import OUTCOME_EVENTS, ProviderClass
from pipeline.route.provider_class import (
    OWNER_LOST,
    Verdict,
    judge,
    key_outlives,
)

EVENTS = {"OWNER_LOST": OWNER_LOST} | {event.name: int(event) for event in OUTCOME_EVENTS}

# One line for each event; one column for each class, K twice: while its key lives, and after.
NO_COPY_BUT_THIS_ONE = """
                K                K_dead      Q        C              0
    TAKE        TAKEN            TAKEN       TAKEN    TAKEN          TAKEN
    REFUSE      REFUSED          REFUSED     REFUSED  REFUSED        REFUSED
    DEFER       FREE             FREE        FREE     FREE           FREE
    NOT_SENT    FREE             FREE        FREE     FREE           FREE
    LOSE_ANSWER RESEND_SAME_KEY  AWAIT_ACT   ASK      AWAIT_RECEIPT  AWAIT_ACT
    OWNER_LOST  RESEND_SAME_KEY  AWAIT_ACT   ASK      AWAIT_RECEIPT  AWAIT_ACT
"""
ANOTHER_COPY_MAY_BE_THERE = """
                K                K_dead      Q        C              0
    TAKE        TAKEN            TAKEN       TAKEN    TAKEN          TAKEN
    REFUSE      RESEND_SAME_KEY  AWAIT_ACT   ASK      AWAIT_RECEIPT  AWAIT_ACT
    DEFER       RESEND_SAME_KEY  AWAIT_ACT   ASK      AWAIT_RECEIPT  AWAIT_ACT
    NOT_SENT    RESEND_SAME_KEY  AWAIT_ACT   ASK      AWAIT_RECEIPT  AWAIT_ACT
    LOSE_ANSWER RESEND_SAME_KEY  AWAIT_ACT   ASK      AWAIT_RECEIPT  AWAIT_ACT
    OWNER_LOST  RESEND_SAME_KEY  AWAIT_ACT   ASK      AWAIT_RECEIPT  AWAIT_ACT
"""


def _cases() -> list[tuple[str, str, bool, str]]:
    cases = []
    for may_have_copy, table in ((False, NO_COPY_BUT_THIS_ONE), (True, ANOTHER_COPY_MAY_BE_THERE)):
        header, *lines = table.strip().splitlines()
        for line in lines:
            event, *verdicts = line.split()
            cases += [
                (event, column, may_have_copy, verdict)
                for column, verdict in zip(header.split(), verdicts, strict=True)
            ]
    return cases


@pytest.mark.parametrize(("event", "column", "may_have_copy", "verdict"), _cases())
def test_what_follows_an_event(event: str, column: str, may_have_copy: bool, verdict: str) -> None:
    provider_class, _, key = column.partition("_")
    judged = judge(
        bytes([EVENTS[event]]),
        provider_class=ProviderClass(provider_class),
        has_receipts=False,
        may_have_copy=may_have_copy,
        is_key_alive=key != "dead",
    )
    assert Verdict(judged[0]) is Verdict[verdict]


def test_the_table_has_every_event_and_every_class() -> None:
    assert {(event, column) for event, column, _, _ in _cases()} == {
        (event, column) for event in EVENTS for column in ("K", "K_dead", "Q", "C", "0")
    }
    assert len(_cases()) == 2 * 6 * 5


@pytest.mark.parametrize("provider_class", ProviderClass)
@pytest.mark.parametrize("is_key_alive", [True, False])
def test_whoever_sends_receipts_may_settle_it_by_one(
    provider_class: ProviderClass, is_key_alive: bool
) -> None:
    lost = bytes([Event.LOSE_ANSWER])
    without, with_receipts = (
        Verdict(
            judge(
                lost,
                provider_class=provider_class,
                has_receipts=has_receipts,
                may_have_copy=False,
                is_key_alive=is_key_alive,
            )[0]
        )
        for has_receipts in (False, True)
    )
    expected = Verdict.AWAIT_RECEIPT if without is Verdict.AWAIT_ACT else without
    assert with_receipts is expected


@pytest.mark.parametrize("provider_class", ProviderClass)
@pytest.mark.parametrize("is_key_alive", [True, False])
@pytest.mark.parametrize("has_receipts", [True, False])
def test_nothing_but_the_key_resends_what_may_be_there(
    provider_class: ProviderClass, is_key_alive: bool, has_receipts: bool
) -> None:
    for event in EVENTS.values():
        verdict = Verdict(
            judge(
                bytes([event]),
                provider_class=provider_class,
                has_receipts=has_receipts,
                may_have_copy=True,
                is_key_alive=is_key_alive,
            )[0]
        )
        assert verdict not in (Verdict.REFUSED, Verdict.FREE)
        if verdict is Verdict.RESEND_SAME_KEY:
            assert provider_class is ProviderClass.KEYED
            assert is_key_alive


def test_a_window_is_judged_in_its_order() -> None:
    events = bytes([Event.TAKE, Event.DEFER, Event.LOSE_ANSWER, Event.TAKE])
    judged = judge(
        events, provider_class=ProviderClass.NONE, has_receipts=False, may_have_copy=False
    )
    assert [Verdict(n) for n in judged] == [
        Verdict.TAKEN,
        Verdict.FREE,
        Verdict.AWAIT_ACT,
        Verdict.TAKEN,
    ]


def test_what_cannot_follow_a_hand_over_gets_no_verdict() -> None:
    judged = judge(
        bytes(event for event in Event if event not in OUTCOME_EVENTS),
        provider_class=ProviderClass.KEYED,
        has_receipts=False,
        may_have_copy=False,
    )
    assert set(judged) == {0}


def test_a_verdict_without_a_copy_agrees_with_the_lifecycle() -> None:
    for event in OUTCOME_EVENTS:
        verdict = Verdict(
            judge(
                bytes([event]),
                provider_class=ProviderClass.NONE,
                has_receipts=False,
                may_have_copy=False,
            )[0]
        )
        state = STATE_AFTER[event]
        assert (verdict is Verdict.FREE) == (state not in RESOLVED_STATES)
        is_open = verdict in (Verdict.ASK, Verdict.AWAIT_RECEIPT, Verdict.AWAIT_ACT)
        assert is_open == (state is MessageState.UNCERTAIN)
        assert (verdict is Verdict.TAKEN) == (state is MessageState.SENT)
        assert (verdict is Verdict.REFUSED) == (state is MessageState.FAILED)


@pytest.mark.parametrize(
    ("send_before_ms", "lives"),
    [
        pytest.param(0, True, id="at once"),
        pytest.param(3_600_000 - KEY_LIFE_MARGIN_MS - 1, True, id="the last millisecond"),
        pytest.param(3_600_000 - KEY_LIFE_MARGIN_MS, False, id="a request may travel too long"),
        pytest.param(3_600_000, False, id="the key is gone"),
    ],
)
def test_key_life(send_before_ms: int, lives: bool) -> None:
    begun = Instant(5_000_000)
    assert (
        key_outlives(
            first_claimed_at=begun,
            key_life_ms=DurationMs(3_600_000),
            send_before=Instant(begun + send_before_ms * 1_000),
        )
        is lives
    )
