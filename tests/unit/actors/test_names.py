"""An actor's name says what it is, whom it serves and which incarnation it is."""

import pytest

from actors.names import (
    ActorKey,
    IngesterKey,
    LimiterKey,
    ReceiverKey,
    SchedulerKey,
    actor_name,
    parse_name,
)
from cluster.topology.generation import Core

OWNER = bytes(range(16))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (SchedulerKey(Core("n1", 0)), "scheduler|n1:0|000102030405060708090a0b0c0d0e0f"),
        (SchedulerKey(Core("n1", 0), part=2), f"scheduler|n1:0+2|{OWNER.hex()}"),
        (SchedulerKey(Core("10.0.0.1:9042", 13)), f"scheduler|10.0.0.1:9042:13|{OWNER.hex()}"),
        (IngesterKey(7), f"ingester|7|{OWNER.hex()}"),
        (LimiterKey(), f"limiter|limiter|{OWNER.hex()}"),
        (ReceiverKey(), f"receiver|receiver|{OWNER.hex()}"),
    ],
)
def test_a_name_leads_back_to_its_place_and_owner(key: ActorKey, name: str) -> None:
    assert actor_name(key, OWNER) == name
    assert parse_name(name) == (key, OWNER)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "registry",
        "scheduler",
        "scheduler|n1:0",
        "scheduler|n1:0|",
        "scheduler|n1:0|0001",
        f"scheduler|n1:0|{OWNER.hex()}00",
        f"scheduler|n1:0|{'x' * 32}",
        f"scheduler|n1|{OWNER.hex()}",
        f"scheduler|n1:x|{OWNER.hex()}",
        f"ingester|x|{OWNER.hex()}",
        f"limiter|1|{OWNER.hex()}",
        f"receiver|1|{OWNER.hex()}",
    ],
)
def test_another_name_is_nobody_of_ours(name: str) -> None:
    assert parse_name(name) is None


def test_two_incarnations_have_two_names() -> None:
    key = IngesterKey(1)
    assert actor_name(key, OWNER) != actor_name(key, OWNER[::-1])
