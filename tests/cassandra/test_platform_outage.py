"""The whole cluster goes away under the platform and comes back: it waits, and goes on."""

import signal
from pathlib import Path

import pytest

from tests.cassandra.conftest import running_cluster
from tests.cassandra.scylla_platform import (
    Judged,
    both_providers,
    by_providers,
    make_schema,
    on_scylla,
)
from tests.cassandra.servers import SYNC_GROUP
from tests.support.platform_process import PlatformProcess
from tests.support.seed import seeded_random

# Of one node, and as long as those of three.
pytestmark = [pytest.mark.stand_in, pytest.mark.three_nodes]

COUNT = 4_000


def test_an_outage_of_all_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = seeded_random()
    log, data = tmp_path / "provider.jsonl", tmp_path / "data"
    with (
        running_cluster(
            tmp_path_factory.mktemp("outage"), node_count=1, commitlog_sync=SYNC_GROUP
        ) as cluster,
        both_providers(log, seed=chance.randrange(2**31), modes="") as ports,
    ):
        make_schema(cluster.hosts, "outage", replication=1)
        variables = by_providers(ports) | {"SHARDPOST_SCYLLA__KEYSPACE": "outage"}
        with PlatformProcess(data, variables, *on_scylla(cluster.hosts)) as platform:
            sendings = [
                Judged(data, log, channel=channel, count=COUNT) for channel in ("sms", "email")
            ]
            schedulers = platform.actors("Scheduler")
            for part in (10, 3):
                sendings[0].wait_until_taken(COUNT // part)
                [server] = cluster.servers
                server.stop(signal.SIGKILL)
                server.start()
            for sending in sendings:
                sending.finish()
            ends = [sending.wait_until_over() for sending in sendings]
            # Nobody has to be replaced because the store was away.
            assert platform.actors("Scheduler") == schedulers
            platform.stop()
    for sending, end in zip(sendings, ends, strict=True):
        sending.judge(end)
        assert end["uncertain"] == 0
