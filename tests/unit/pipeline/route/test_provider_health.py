import pytest

from pipeline.instant import DurationMs, Instant
from pipeline.lifecycle import Event
from pipeline.route.provider_health import Health, HealthRule, ProviderHealth

RULE = HealthRule(
    failures_in_row_max=3,
    cooldown_ms_min=DurationMs(1_000),
    cooldown_ms_max=DurationMs(4_000),
)


# Each story is a line of  step@millisecond ; how it looks is checked where it stands.
@pytest.mark.parametrize(
    "story",
    [
        pytest.param("GREEN@0", id="starts green"),
        pytest.param("fail@1 fail@2 GREEN@3", id="two failures are bad luck"),
        pytest.param("fail@1 fail@2 fail@3 RED@4 RED@1002", id="the third turns it red"),
        pytest.param("fail@1 fail@2 answer@3 fail@4 fail@5 GREEN@6", id="an answer forgives all"),
        pytest.param("fail@1 fail@2 fail@3 YELLOW@1003", id="after the cooldown a probe may go"),
        pytest.param("fail@1 fail@2 fail@3 submit@1003 RED@1003", id="one probe, not two"),
        pytest.param("fail@1 fail@2 fail@3 submit@1003 fail@1004 RED@3002", id="probe failed"),
        pytest.param("fail@1 fail@2 fail@3 submit@1003 RED@3002 YELLOW@3003", id="probe lost"),
        pytest.param("fail@1 fail@2 fail@3 submit@1003 answer@1004 GREEN@1004", id="probe passed"),
        pytest.param(
            "fail@1 fail@1 fail@1 submit@2000 submit@4000 RED@7999 submit@8000 RED@11999"
            " YELLOW@12000",
            id="each cooldown is twice the one before, up to the cap",
        ),
        pytest.param(
            "fail@1 fail@1 fail@1 submit@2000 answer@2001 fail@3000 fail@3000 fail@3000 RED@3999"
            " YELLOW@4000",
            id="after an answer the cooldowns begin again",
        ),
        pytest.param(
            "fail@1 fail@1 fail@1 fail@500 fail@900 YELLOW@1001",
            id="what was under way when it turned red changes nothing",
        ),
        pytest.param(
            "fail@9000 fail@9000 fail@9000 RED@9001 YELLOW@8000",
            id="a clock that was set back makes no endless cooldown",
        ),
    ],
)
def test_health(story: str) -> None:
    health = ProviderHealth(RULE)
    for line in story.split():
        step, _, at = line.partition("@")
        now = Instant(int(at) * 1_000)
        match step:
            case "fail":
                health.on_failure(now)
            case "answer":
                health.on_answer()
            case "submit":
                health.on_submit(now)
            case verdict:
                assert health.health(now) is Health[verdict], line


def test_nothing_is_sent_to_a_red_provider() -> None:
    health = ProviderHealth(RULE)
    health.on_failure(Instant(0), count=3)
    with pytest.raises(AssertionError):
        health.on_submit(Instant(1))


T, R, L, N, D = (
    *(Event.TAKE, Event.REFUSE, Event.LOSE_ANSWER),
    *(Event.NOT_SENT, Event.DEFER),
)


@pytest.mark.parametrize(
    ("windows", "looks"),
    [
        pytest.param([[T, T, R]], Health.GREEN, id="answers"),
        pytest.param([[R, R, R, R]], Health.GREEN, id="refusals are answers"),
        pytest.param([[L, L, L]], Health.RED, id="answers that were lost"),
        pytest.param([[N, N, N]], Health.RED, id="connections that failed"),
        pytest.param([[D, D, D]], Health.RED, id="it cannot now"),
        pytest.param([[L, N], [D]], Health.RED, id="in a row over windows"),
        pytest.param([[L, L, T], [L]], Health.GREEN, id="an answer in between"),
        pytest.param([[L, L, L, T]], Health.GREEN, id="an answer at the end"),
        pytest.param([[T, L, L, L]], Health.RED, id="only the row at the end counts"),
        pytest.param([[L, L], []], Health.GREEN, id="no outcome is none"),
    ],
)
def test_what_counts(windows: list[list[Event]], looks: Health) -> None:
    health = ProviderHealth(RULE)
    for window in windows:
        health.on_outcomes(bytes(window), Instant(1))
    assert health.health(Instant(1)) is looks


def test_one_dead_place_does_not_stop_the_others() -> None:
    rule = HealthRule(failures_in_row_max=3, places_min=3)
    health = ProviderHealth(rule)
    now = Instant(1)
    for place in ("a.example", "b.example"):
        for _ in range(1_000):
            health.on_failure(now, place=place)
    assert health.health(now) is Health.GREEN
    health.on_failure(now, place="c.example")
    assert health.health(now) is Health.RED
