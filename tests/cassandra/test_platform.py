"""The whole platform on a real server: files go in, providers and outboxes say what came out."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pipeline.limits import Windows
from tests.cassandra.conftest import Cluster
from tests.cassandra.scylla_platform import (
    VARIABLES,
    Sending,
    both_providers,
    by_providers,
    make_schema,
    on_scylla,
)
from tests.support.office import Office
from tests.support.platform_process import PlatformProcess, eventually, shardpost
from tests.support.seed import seeded_random

COUNT = 3_000
KILLED_COUNT = 4_000  # of each of two channels
KEYSPACE = "shardpost_platform"


@pytest.fixture(scope="module")
def made(one_node: Cluster) -> Cluster:
    """Return a cluster with an empty keyspace."""
    make_schema(one_node.hosts, KEYSPACE, replication=1)
    return one_node


@pytest.fixture(scope="module")
def office(made: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Return somebody at the folder of a platform that runs on the cluster."""
    data = tmp_path_factory.mktemp("office") / "data"
    variables = VARIABLES | {"SHARDPOST_SCYLLA__KEYSPACE": KEYSPACE}
    with PlatformProcess(data, variables, *on_scylla(made.hosts)) as platform:
        yield Office(data)
        platform.stop()


def test_every_message_of_a_file_goes_out_once(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    rows = [f"+44770090{n % 1_000:04},message {n}\n" for n in range(COUNT)]
    file.write_text("phone,text\n" + "".join(rows))
    told = office.asked("send", file, "--group", "many")
    assert (told["accepted"], told["refused"]) == (COUNT, 0)
    lines = office.handed_over("many", COUNT)
    assert {line["content"] for line in lines} == {f"message {n}" for n in range(COUNT)}
    # The same again sends nothing.
    assert office.asked("send", file, "--group", "many")["accepted_before"] == COUNT
    assert len(office.handed_over("many", COUNT)) == COUNT


def test_the_commands_find_the_cluster_by_the_data_folder(office: Office, made: Cluster) -> None:
    status = office.asked("status")
    assert (status["is_running"], status["owners_alive"]) == (True, 2)
    lanes = office.asked("lanes")["lanes"]
    assert {(lane["address"], lane["core"]) for lane in lanes} == {
        (made.hosts[0], 0),
        (made.hosts[0], 1),
    }
    assert all(lane["epoch"] == 1 and lane["lag"] == 0 for lane in lanes)
    checks = {check["name"]: check for check in office.asked("doctor")["checks"]}
    assert checks["shards_ready"]["verdict"] == "ok"
    assert checks["generation 1"]["told"] == "1 nodes, 2 cores"
    assert {check["verdict"] for check in checks.values()} <= {"ok", "warn"}
    assert "take and restore a backup with its own tools" in office.refused(
        "backup", office.data.parent / "copy", exit_code=3
    )


def test_killed_actors_lose_nothing_and_send_nothing_twice(made: Cluster, tmp_path: Path) -> None:
    chance = seeded_random()
    kinds = ["Scheduler", "Scheduler", "Scheduler", "Ingester", "Registry"]
    chance.shuffle(kinds)
    log, data = tmp_path / "provider.jsonl", tmp_path / "data"
    keyspace = f"{KEYSPACE}_killed"
    make_schema(made.hosts, keyspace, replication=1)
    with both_providers(log, seed=chance.randrange(2**31), modes="") as ports:
        variables = by_providers(ports) | {"SHARDPOST_SCYLLA__KEYSPACE": keyspace}
        with PlatformProcess(data, variables, *on_scylla(made.hosts)) as platform:
            sendings = [
                Sending(data, log, channel=channel, count=KILLED_COUNT)
                for channel in ("sms", "email")
            ]
            for number, kind in enumerate(kinds):
                sendings[number % 2].wait_until_taken(KILLED_COUNT * (number + 1) // 12)
                victims = eventually(f"a {kind} runs", partial(platform.actors, kind), seconds=60)
                os.kill(chance.choice(victims), signal.SIGKILL)
            for sending in sendings:
                sending.finish()
            ends = [sending.wait_until_over() for sending in sendings]
            platform.stop()
    texts, mails = [sending.judge(end) for sending, end in zip(sendings, ends, strict=True)]
    # A provider that knows our key leaves no doubt; a mail server some, of a lane that was killed.
    assert texts["uncertain"] == 0
    lanes_killed = kinds.count("Scheduler") * 2
    assert mails["uncertain"] <= Windows().claims_open_max * lanes_killed


# --- what cannot be used, in one line -----------------------------------------------------------


def test_a_keyspace_that_is_not_there_is_told_with_what_makes_it(
    made: Cluster, tmp_path: Path
) -> None:
    office = Office(tmp_path / "data")
    told = shardpost(
        *("up", *on_scylla(made.hosts), "--data", str(office.data)),
        SHARDPOST_SCYLLA__KEYSPACE="nowhere",
    )
    assert told.returncode == 5
    assert told.stderr.count("\n") == 1
    assert "there is no keyspace nowhere: make it with `shardpost schema init`" in told.stderr
    assert not office.data.exists()
