"""What the registry does about what it sees."""

from collections.abc import Sequence

import pytest

from actors.names import ActorKey, IngesterKey, SchedulerKey
from actors.reconcile import Backoff, Create, End, Incarnation, Kill, Step, decide_reconcile
from cluster.topology.generation import Core
from pipeline.instant import earlier, later
from pipeline.limits import (
    ACTOR_HEALTH_STRIKES_MAX,
    ACTOR_START_BACKOFF_MS_MAX,
    ACTOR_START_BACKOFF_MS_MIN,
    ACTOR_START_TIMEOUT_MS,
)
from tests.support.fake_clock import NOW

A, B = SchedulerKey(Core("n1", 0)), IngesterKey(0)


def actor(
    key: ActorKey,
    name: str,
    *,
    seen_ms_ago: int = 0,
    is_running: bool = True,
    strikes: int = 0,
    failure: str = "",
    lanes: int = 0,
    is_ending: bool = False,
) -> Incarnation:
    return Incarnation(
        key=key,
        name=name,
        first_seen=earlier(NOW, seen_ms_ago),
        is_running=is_running,
        strikes=strikes,
        failure=failure,
        lanes_count=lanes,
        is_ending=is_ending,
    )


NOBODY: list[Incarnation] = []
STARTING = {"is_running": False}


@pytest.mark.parametrize(
    ("wanted", "actual", "expected"),
    [
        pytest.param([], NOBODY, [], id="nothing is wanted, nobody is there"),
        pytest.param([A, B], NOBODY, [Create(B), Create(A)], id="every place is filled"),
        pytest.param([A], [actor(A, "a")], [], id="who serves is left alone"),
        pytest.param([A], [actor(A, "a", is_running=False)], [], id="who starts is waited for"),
        pytest.param([B], [actor(A, "a"), actor(B, "b")], [End("a", "its place is gone")],
                     id="whose place is gone goes"),
        pytest.param([A], [actor(A, "a", failure="KeyError: x")],
                     [Kill("a", "KeyError: x"), Create(A)], id="who failed is replaced at once"),
        pytest.param([A], [actor(A, "a", strikes=ACTOR_HEALTH_STRIKES_MAX - 1)], [],
                     id="one strike less is none"),
        pytest.param([A], [actor(A, "a", strikes=ACTOR_HEALTH_STRIKES_MAX)],
                     [Kill("a", "it does not answer"), Create(A)], id="who is mute is replaced"),
        pytest.param([A], [actor(A, "a", is_running=False, seen_ms_ago=ACTOR_START_TIMEOUT_MS)], [],
                     id="who starts has its time"),
        pytest.param([A], [actor(A, "a", is_running=False,
                                 seen_ms_ago=ACTOR_START_TIMEOUT_MS + 1)],
                     [Kill("a", "it did not start"), Create(A)], id="and no more"),
        pytest.param([A], [actor(A, "a", seen_ms_ago=10 * ACTOR_START_TIMEOUT_MS)], [],
                     id="who runs may be old"),
        pytest.param([A], [actor(A, "young", seen_ms_ago=1), actor(A, "old", seen_ms_ago=2)],
                     [Kill("young", "its place is served by another")],
                     id="of two the older stays"),
        pytest.param([A], [actor(A, "young", lanes=1), actor(A, "old", seen_ms_ago=2)],
                     [Kill("old", "its place is served by another")],
                     id="of two the one that owns the lanes stays"),
        pytest.param([A], [actor(A, "mute", seen_ms_ago=2, strikes=1, lanes=9), actor(A, "young")],
                     [Kill("mute", "its place is served by another")],
                     id="of two the one that answers stays"),
        pytest.param([A], [actor(A, "starts", seen_ms_ago=2, is_running=False), actor(A, "runs")],
                     [Kill("starts", "its place is served by another")],
                     id="of two the one that runs stays"),
        pytest.param([A, B], [actor(A, "a", is_ending=True), actor(B, "b")],
                     [End("a", "it ends"), Create(A)], id="who ends makes room at once"),
        pytest.param([A], [actor(A, "a", strikes=ACTOR_HEALTH_STRIKES_MAX, is_ending=True)],
                     [End("a", "it ends"), Create(A)], id="who ends may be mute"),
        pytest.param([], [actor(A, "a", failure="KeyError: x")], [Kill("a", "KeyError: x")],
                     id="who failed finishes nothing"),
        pytest.param([A], [actor(A, "y"), actor(A, "x")],
                     [Kill("y", "its place is served by another")],
                     id="of two seen at once the choice is always the same"),
        pytest.param([A], [actor(A, "young"), actor(A, "old", seen_ms_ago=2, failure="gone mad")],
                     [Kill("old", "gone mad")], id="a failed one makes room for its double"),
    ],
)  # fmt: skip
def test_what_is_done(
    wanted: Sequence[ActorKey], actual: Sequence[Incarnation], expected: list[Step]
) -> None:
    assert (
        decide_reconcile(wanted=frozenset(wanted), actual=actual, backoffs={}, now=NOW) == expected
    )


@pytest.mark.parametrize(("ms_later", "is_filled"), [(-1, False), (0, True), (1, True)])
def test_a_place_is_filled_again_only_after_its_pause(ms_later: int, is_filled: bool) -> None:
    backoff = Backoff(delay_ms=100, not_before=NOW)
    steps = decide_reconcile(
        wanted=frozenset([A]), actual=[], backoffs={A: backoff}, now=later(NOW, ms_later)
    )
    assert steps == ([Create(A)] if is_filled else [])


def test_a_place_that_keeps_failing_is_tried_ever_more_rarely() -> None:
    backoff = Backoff()
    delays = []
    for _ in range(12):
        backoff.on_created(NOW)
        delays.append((backoff.not_before - NOW) // 1_000)
    assert delays[:4] == [ACTOR_START_BACKOFF_MS_MIN * factor for factor in (1, 2, 4, 8)]
    assert delays == sorted(delays)
    assert delays[-1] == ACTOR_START_BACKOFF_MS_MAX


def test_a_place_that_was_served_starts_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.on_created(NOW)
    backoff.on_running()
    backoff.on_created(NOW)
    assert backoff.delay_ms == ACTOR_START_BACKOFF_MS_MIN
