"""How the provider chooses: by rules, and by nothing but the seed where they leave a choice."""

from collections import Counter

import pytest

from cluster.egress.simulator.modes import (
    Behaviour,
    Chooser,
    Mode,
    RateLimit,
    ReceiptMode,
    parse_behaviour,
)
from cluster.egress.simulator.pace import Pace


def modes_of(text: str, *, seed: int = 0, recipient: str = "r", nth: int = 0) -> Counter[Mode]:
    chooser = Chooser(parse_behaviour(text), seed)
    return Counter(
        chooser.mode(key=str(key), seen_before=nth, recipient=recipient, channel="sms")
        for key in range(2_000)
    )


def test_without_rules_everything_is_accepted() -> None:
    assert modes_of("") == {Mode.ACCEPT: 2_000}


def test_weights_are_kept_nearly() -> None:
    counts = modes_of("accept=8, hang_after=2")
    assert 1_500 < counts[Mode.ACCEPT] < 1_700
    assert counts[Mode.ACCEPT] + counts[Mode.HANG_AFTER] == 2_000


def test_a_seed_chooses_the_same_again_and_another_differently() -> None:
    chosen = [
        [
            Chooser(parse_behaviour("accept,refuse"), seed).mode(
                key=str(key), seen_before=0, recipient="r", channel="sms"
            )
            for key in range(50)
        ]
        for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_the_first_rule_that_matches_counts_and_may_end() -> None:
    text = """{"rules": [{"modes": {"reset_after": 1}, "first": 2},
                         {"modes": {"refuse": 1}, "recipient": "+44*"}]}"""
    assert modes_of(text, nth=1) == {Mode.RESET_AFTER: 2_000}
    assert modes_of(text, nth=2) == {Mode.ACCEPT: 2_000}
    assert modes_of(text, nth=2, recipient="+447700900000") == {Mode.REFUSE: 2_000}


def test_receipts_are_chosen_by_key() -> None:
    behaviour = parse_behaviour(
        '{"receipts": {"url": "http://a", "modes": {"once": 1, "twice": 1}, "failed": 0.5}}'
    )
    chosen = Counter(Chooser(behaviour, 0).receipt(key=str(key)) for key in range(400))
    assert set(chosen) == {
        (mode, is_delivered)
        for mode in (ReceiptMode.ONCE, ReceiptMode.TWICE)
        for is_delivered in (True, False)
    }
    assert Chooser(Behaviour(), 0).receipt(key="k") == (ReceiptMode.NEVER, True)


@pytest.mark.parametrize("text", ["acept", "accept=much", '{"rule": []}', '{"keyed": 2}'])
def test_what_is_no_behaviour_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_behaviour(text)


def test_a_limit_counts_over_any_second() -> None:
    pace, limit = Pace(), RateLimit(per_second=3, burst=1)
    let_in = [pace.lets_in(limit, now_us=at) for at in (900_000,) * 3 + (1_100_000,) * 3]
    assert let_in == [True] * 4 + [False] * 2
    assert pace.lets_in(limit, now_us=1_900_001)
    assert (pace.let_in_in_a_second_max, pace.seen_in_a_second_max) == (4, 6)
    assert pace.throttled_count == 2
