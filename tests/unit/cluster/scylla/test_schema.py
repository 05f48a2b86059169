"""The schema: what is made, and which keyspaces are refused."""

import re
from types import SimpleNamespace

import pytest

from cluster.scylla import schema
from cluster.scylla.schema import SchemaUnusable
from pipeline.instant import DurationMs
from pipeline.limits import Windows

WINDOWS = Windows()
DAY_MS = 24 * 3_600_000


@pytest.mark.parametrize(
    "life_ms", [n * 3_600_000 for n in (6, 24, 100, 7 * 24, 90 * 24, 900 * 24)]
)
def test_a_life_has_20_to_30_windows(life_ms: int) -> None:
    unit, size = schema.time_window(life_ms)
    assert 20 <= life_ms / (size * {"HOURS": 3_600_000, "MINUTES": 60_000}[unit]) <= 30


def test_a_short_life_has_windows_of_a_minute() -> None:
    assert schema.time_window(60_000) == ("MINUTES", 1)


@pytest.mark.parametrize(("version", "tables_min"), [(1, 16), (2, 1)])
def test_a_migration_is_made_of_tables_that_may_be_made_again(
    version: int, tables_min: int
) -> None:
    made = schema.migration(version, WINDOWS)
    assert len(made) >= tables_min
    for statement in made:
        assert statement.startswith("CREATE TABLE IF NOT EXISTS ")
        assert "$" not in statement
        # Of 16 bytes, so that its token is the one that placement computes.
        [columns] = re.findall(r"\(\s*(\w+ \w+)", statement)[:1]
        assert columns.endswith(" uuid")


def test_rows_live_as_long_as_the_windows_say() -> None:
    [buffer] = [text for text in schema.migration(1, WINDOWS) if " buffer (" in text]
    assert f"default_time_to_live = {7 * DAY_MS // 1_000} " in buffer
    longer = Windows(buffer_ttl_ms=DurationMs(7 * DAY_MS + 1_000))
    [buffer] = [text for text in schema.migration(1, longer) if " buffer (" in text]
    assert f"default_time_to_live = {7 * DAY_MS // 1_000 + 1} " in buffer


def test_the_cells_that_say_who_owns_a_lane_do_not_end_by_themselves() -> None:
    [journal] = [text for text in schema.migration(1, WINDOWS) if " journal (" in text]
    assert "default_time_to_live" not in journal


def test_a_keyspace_is_made_without_tablets_over_the_racks_of_each_data_centre() -> None:
    assert schema.keyspace_statement("posts", {"here": 3, "there": 2}) == (
        "CREATE KEYSPACE IF NOT EXISTS posts WITH replication = {'class':"
        " 'NetworkTopologyStrategy', 'here': 3, 'there': 2} AND tablets = {'enabled': false}"
    )


def strategy(name: str, **factors: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, dc_replication_factors=factors)


HOSTS = [SimpleNamespace(datacenter="here") for _ in range(3)]


def test_a_keyspace_over_as_many_nodes_as_there_are_is_used() -> None:
    schema.refuse_strategy("posts", strategy("NetworkTopologyStrategy", here=3), HOSTS)


@pytest.mark.parametrize(
    ("unfit", "complaint"),
    [
        (strategy("SimpleStrategy"), "posts has SimpleStrategy: make one with NetworkTopology"),
        (
            strategy("NetworkTopologyStrategy", here=4),
            "4 replicas in here, which has 3 nodes: add nodes, or lower",
        ),
        (strategy("NetworkTopologyStrategy", there=1), "in there, which has 0 nodes"),
    ],
)
def test_another_keyspace_is_refused(unfit: SimpleNamespace, complaint: str) -> None:
    with pytest.raises(SchemaUnusable, match=complaint):
        schema.refuse_strategy("posts", unfit, HOSTS)


@pytest.mark.parametrize("initial", [0, 8])
def test_tablets_are_refused_with_the_reason(initial: int) -> None:
    schema.refuse_tablets("posts", None)
    with pytest.raises(SchemaUnusable, match="owners of its own that move: lanes need one core"):
        schema.refuse_tablets("posts", initial)


def test_rows_that_would_end_at_another_time_are_refused() -> None:
    lives = {
        "messages": 90 * 86_400,
        "by_group": 90 * 86_400,
        "placed": 90 * 86_400,
        "drafts": 90 * 86_400,
        "results": 90 * 86_400,
        "idem": WINDOWS.idem_life_ms // 1_000,
        "timeline": 90 * 86_400,
        "open_questions": 90 * 86_400,
        "message_refs": 90 * 86_400,
        "receipts": 90 * 86_400,
        "buffer": 7 * 86_400,
        "commands": 7 * 86_400,
    }
    schema.refuse_lives("posts", lives, WINDOWS)
    for table in lives:
        for other in ({table: lives[table] - 1}, {table: 0}):
            with pytest.raises(SchemaUnusable, match=f"rows of posts.{table} live for"):
                schema.refuse_lives("posts", lives | other, WINDOWS)
