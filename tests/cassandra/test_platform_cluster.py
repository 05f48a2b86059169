"""The platform on three nodes: one is killed and comes back while answers are lost."""

import json
import signal
from pathlib import Path

import pytest

from tests.cassandra.conftest import running_cluster
from tests.cassandra.front import Break, Rule
from tests.cassandra.scylla_platform import (
    Judged,
    both_providers,
    by_providers,
    make_schema,
    on_scylla,
)
from tests.cassandra.servers import SYNC_GROUP
from tests.support.platform_process import PlatformProcess, eventually, shardpost
from tests.support.seed import seeded_random

pytestmark = [pytest.mark.stand_in, pytest.mark.three_nodes]

COUNT = 3_000  # of each of two channels
REPLICATION = 3
LOST_PART = 0.02  # of the answers to conditional writes
OWNED_MIN = 100
STRAY_PART = 0.001  # of the statements may be served by others than the owner, while all are well
SILENT_PART = 0.1  # of those: nothing comes at all


def test_a_killed_node_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = seeded_random()
    log, data = tmp_path / "provider.jsonl", tmp_path / "data"

    def is_lost(text: str) -> bool:
        return " IF " in text and chance.random() < LOST_PART * (1 - SILENT_PART)

    def is_silent(text: str) -> bool:
        return " IF " in text and chance.random() < LOST_PART * SILENT_PART

    lost, silent = Rule(Break.LOSE, is_lost), Rule(Break.DROP_ANSWER, is_silent)
    with (
        running_cluster(
            tmp_path_factory.mktemp("three"), node_count=3, commitlog_sync=SYNC_GROUP
        ) as cluster,
        both_providers(log, seed=chance.randrange(2**31), modes="") as ports,
    ):
        make_schema(cluster.hosts, "three", replication=REPLICATION)
        variables = by_providers(ports) | {"SHARDPOST_SCYLLA__KEYSPACE": "three"}
        with PlatformProcess(data, variables, *on_scylla(cluster.hosts)) as platform:
            with cluster.fronts.breaking(lost), cluster.fronts.breaking(silent):
                sendings = [
                    Judged(data, log, channel=channel, count=COUNT) for channel in ("sms", "email")
                ]
                cluster.watch_owners()
                sendings[0].wait_until_taken(COUNT // 10)
                owned, strayed = cluster.fronts.strays()
                print(json.dumps({"owned": owned, "strayed": strayed}))  # noqa: T201
                assert owned > OWNED_MIN
                assert strayed.total() <= owned * STRAY_PART, strayed
                killed = chance.choice(cluster.servers)
                killed.stop(signal.SIGKILL)
                eventually(
                    "the platform warns of it",
                    lambda: killed.address in " ".join(_warnings(data)),
                    seconds=60,
                    every_s=1,
                )
                killed.start()
                for sending in sendings:
                    sending.finish()
                ends = [sending.wait_until_over() for sending in sendings]
            eventually(
                "nothing is amiss any more", lambda: not _warnings(data), seconds=60, every_s=1
            )
            platform.stop()
    print(json.dumps({"lost answers": lost.hits, "silent": silent.hits}))  # noqa: T201
    assert lost.hits > 0
    for sending, end in zip(sendings, ends, strict=True):
        sending.judge(end)
        # Nobody of those who hand over was killed.
        assert end["uncertain"] == 0


def _warnings(data: Path) -> list[str]:
    told = json.loads((data / "platform.json").read_text())
    warnings: list[str] = told["warnings"]
    return warnings


def test_the_schema_is_made_on_nodes_that_have_just_met(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_cluster(tmp_path_factory.mktemp("fresh"), node_count=3) as cluster:
        make_schema(cluster.hosts, "fresh", replication=REPLICATION)
        looked = shardpost(
            *("schema", "check", "--json", "--hosts", cluster.hosts[2]),
            SHARDPOST_SCYLLA__KEYSPACE="fresh",
        )
        assert looked.returncode == 0, looked.stderr
        assert json.loads(looked.stdout)["keyspace"] == "fresh"
