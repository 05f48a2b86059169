from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import pytest

from pipeline.errors import SettingInvalid
from pipeline.message import MessageId
from pipeline.route.connector_choice import Choice, ConnectorChoice, ConnectorRoute

IDS = [MessageId(blake2b(bytes([n % 256, n // 256]), digest_size=16).digest()) for n in range(3000)]
ONES = [1] * len(IDS)


def _route(
    name: str, channel: str = "sms", *, weight: int = 1, fallback: tuple[str, ...] = ()
) -> ConnectorRoute:
    return ConnectorRoute(
        name=name,
        channels=frozenset({channel}) if channel else frozenset(),
        weight=weight,
        fallback=fallback,
    )


A, B, C = _route("a", weight=3), _route("b"), _route("c", weight=2)
EVERYBODY = {"a", "b", "c", "d"}


def _of(choice: Choice) -> dict[int, str]:
    return {n: name for name, positions in choice.by_connector.items() for n in positions}


def test_messages_are_shared_by_weight() -> None:
    choice = ConnectorChoice("sms", [A, B, C]).choose(IDS, ONES, healthy=EVERYBODY)
    counts = {name: len(positions) for name, positions in choice.by_connector.items()}
    assert counts["a"] == pytest.approx(1_500, rel=0.1)
    assert counts["c"] == pytest.approx(1_000, rel=0.1)
    assert counts["b"] == pytest.approx(500, rel=0.1)
    assert sum(counts.values()) == len(IDS)


def test_whoever_asks_again_gets_the_same_and_the_next_attempt_another() -> None:
    connectors = ConnectorChoice("sms", [A, B, C])
    first = connectors.choose(IDS, ONES, healthy=EVERYBODY)
    turned = ConnectorChoice("sms", [C, A, B]).choose(IDS, ONES, healthy=EVERYBODY)
    assert _of(first) == _of(turned)
    second = _of(connectors.choose(IDS, [2] * len(IDS), healthy=EVERYBODY))
    moved = sum(second[n] != name for n, name in _of(first).items())
    # With weights 3, 2 and 1 of 6: 1 - (9 + 4 + 1)/36.
    assert moved == pytest.approx(len(IDS) * 22 / 36, rel=0.1)


def test_only_the_share_of_a_sick_connector_moves() -> None:
    connectors = ConnectorChoice("sms", [A, B, C])
    before = _of(connectors.choose(IDS, ONES, healthy=EVERYBODY))
    after = _of(connectors.choose(IDS, ONES, healthy={"a", "c"}))
    assert all(after[n] == name for n, name in before.items() if name != "b")
    assert set(after.values()) == {"a", "c"}


def _one(
    routes: Sequence[ConnectorRoute],
    *,
    healthy: set[str] = EVERYBODY,
    full: set[str] | None = None,
    held: str | None = None,
    refused_by: Sequence[str] = (),
) -> str:
    """Return the connector of one message, or `wait`, or `give up`."""
    choice = ConnectorChoice("sms", routes).choose(
        IDS[:1],
        [1],
        healthy=healthy,
        full=full or set(),
        held={} if held is None else {0: held},
        refused_by={0: refused_by} if refused_by else {},
    )
    assert len(_of(choice)) + len(choice.waiting) + len(choice.given_up) == 1
    return _of(choice).get(0) or ("wait" if choice.waiting else "give up")


ALONE = [_route("a")]
OFF = replace(_route("a", fallback=("b",)), is_enabled=False)
BACKED = [_route("a", fallback=("b", "c")), _route("b", "email"), _route("c", "")]


@pytest.mark.parametrize(
    ("expected", "chosen"),
    [
        pytest.param("a", _one(ALONE), id="the only one"),
        pytest.param("wait", _one(ALONE, healthy=set()), id="it is sick"),
        pytest.param("wait", _one(ALONE, full={"a"}), id="it is full"),
        pytest.param("give up", _one(ALONE, refused_by=["a"]), id="it refused"),
        pytest.param("wait", _one([replace(ALONE[0], is_enabled=False)]), id="it is switched off"),
        pytest.param("a", _one([_route("x", ""), *ALONE]), id="named before left over"),
        pytest.param("x", _one([_route("x", "")], healthy={"x"}), id="left over"),
        pytest.param("wait", _one([_route("b", "email")]), id="a channel without a connector"),
        # Held: it may be there already.
        pytest.param("b", _one([_route("a"), _route("b")], held="b"), id="held stays"),
        pytest.param("wait", _one([A, B], held="b", healthy={"a"}), id="held waits for the sick"),
        pytest.param("wait", _one([A, B], held="b", full={"b"}), id="held waits for permits"),
        pytest.param("wait", _one([OFF, B], held="a"), id="held waits for the switch"),
        pytest.param("a", _one(BACKED, held="a", refused_by=["a"]), id="held counts first"),
        # Fallback, declared by the connector that refused first.
        pytest.param("b", _one(BACKED, refused_by=["a"]), id="the first fallback"),
        pytest.param("c", _one(BACKED, refused_by=["a", "b"]), id="the next one"),
        pytest.param("give up", _one(BACKED, refused_by=["a", "b", "c"]), id="no one is left"),
        pytest.param("c", _one(BACKED, refused_by=["a"], healthy={"c"}), id="past a sick one"),
        pytest.param("wait", _one(BACKED, refused_by=["a"], healthy={"a"}), id="all are sick"),
        pytest.param("b", _one(BACKED, healthy={"b", "c"}), id="the way round a sick one"),
        pytest.param("b", _one([OFF, *BACKED[1:]]), id="the way round a switched-off one"),
        pytest.param("wait", _one(BACKED, full={"a"}), id="no way round a full one"),
        pytest.param("give up", _one([A, B], refused_by=["a"]), id="sharing load is no fallback"),
    ],
)
def test_where_a_message_goes(expected: str, chosen: str) -> None:
    assert chosen == expected


def test_a_full_connector_leaves_its_share_to_the_others_of_the_channel() -> None:
    choice = ConnectorChoice("sms", [A, B]).choose(IDS, ONES, healthy=EVERYBODY, full={"a"})
    assert list(choice.by_connector) == ["b"]


def test_a_window_of_all_kinds_is_parted_by_position() -> None:
    choice = ConnectorChoice("sms", BACKED).choose(
        IDS[:5],
        [1] * 5,
        healthy={"a", "b"},
        held={0: "a", 1: "c"},
        refused_by={2: ["a"], 3: ["a", "b", "c"]},
    )
    assert choice == Choice({"a": [0, 4], "b": [2]}, [1], [3])


@pytest.mark.parametrize("fallback", ["nobody", "a"])
def test_a_fallback_is_another_connector(fallback: str) -> None:
    with pytest.raises(SettingInvalid, match=f"fallback names '{fallback}'"):
        ConnectorChoice("sms", [_route("a", fallback=(fallback,))])


def test_every_connector_that_a_channel_reaches_has_its_name_once() -> None:
    reached = ConnectorChoice("sms", [*BACKED, _route("d", fallback=("a", "b"))]).names
    assert list(reached) == ["a", "d", "b", "c"]


def test_one_without_weight_gets_only_what_falls_back_to_it() -> None:
    first, spare = _route("a", fallback=("b",)), _route("b", weight=0)
    connectors = ConnectorChoice("sms", [first, spare])
    assert set(_of(connectors.choose(IDS, ONES, healthy=EVERYBODY)).values()) == {"a"}
    assert set(_of(connectors.choose(IDS, ONES, healthy={"b"})).values()) == {"b"}
    refused = connectors.choose(IDS[:2], [2, 2], healthy=EVERYBODY, refused_by={1: ["a"]})
    assert _of(refused) == {0: "a", 1: "b"}


def test_one_without_weight_takes_no_channel_from_those_that_name_none() -> None:
    spare, rest = _route("b", weight=0), _route("d", "", fallback=("b",))
    choice = ConnectorChoice("sms", [spare, rest]).choose(IDS, ONES, healthy=EVERYBODY)
    assert set(_of(choice).values()) == {"d"}
