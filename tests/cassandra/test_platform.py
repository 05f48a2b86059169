"""The whole platform on a real server: files go in, providers and outboxes say what came out."""

import json
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
    Judged,
    both_providers,
    by_providers,
    forget_keyspace,
    make_schema,
    on_scylla,
)
from tests.support.office import Office
from tests.support.platform_process import PlatformProcess, eventually, shardpost
from tests.support.seed import seeded_random

COUNT = 3_000
KILLED_COUNT = 4_000  # of each of two channels
KEYSPACE = "shardpost_platform"
KILLED = "shardpost_killed"
STRAY_PART = 0.001  # of the statements may be served elsewhere


@pytest.fixture(scope="module")
def made(one_node: Cluster) -> Iterator[Cluster]:
    """Return a cluster with empty keyspaces."""
    for keyspace in (KEYSPACE, KILLED):
        forget_keyspace(one_node.hosts, keyspace)
        make_schema(one_node.hosts, keyspace, replication=1)
    yield one_node
    for keyspace in (KEYSPACE, KILLED):
        forget_keyspace(one_node.hosts, keyspace)


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
    checks = {check["name"]: check for check in office.asked("doctor")["checks"]}
    assert checks["shards_ready"]["verdict"] == "ok"
    cores = {name.removeprefix("core ") for name in checks if name.startswith("core ")}
    assert checks["generation 1"]["told"].endswith(f" nodes, {len(cores)} cores")
    status = office.asked("status")
    assert (status["is_running"], status["owners_alive"]) == (True, len(cores))
    lanes = office.asked("lanes")["lanes"]
    assert {f"{lane['address']}/{lane['core']}" for lane in lanes} == cores
    assert all(lane["epoch"] == 1 and lane["lag"] == 0 for lane in lanes)
    assert {check["verdict"] for check in checks.values()} <= {"ok", "warn"}
    assert "take and restore a backup with its own tools" in office.refused(
        "backup", office.data.parent / "copy", exit_code=3
    )


def test_whatever_is_asked_of_messages_is_answered(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text("phone,text\n+447700900001,one\n+447700900002,two\n")
    first = office.asked("send", file, "--group", "asked")["first_id"]
    office.handed_over("asked", 2)
    page = office.asked("messages", "--group", "asked", "--state", "sent")
    ids = {message["id"] for message in page["messages"]}
    assert len(ids) == 2
    assert first in ids
    trace = office.asked("trace", first)
    assert [event["state"] for event in trace["events"]] == ["claimed", "sent"]
    exported = office.run("export", "asked", "--format", "jsonl")
    told = [json.loads(line) for line in exported.stdout.splitlines()]
    assert {(one["id"], one["state"]) for one in told} == {(id_, "sent") for id_ in ids}
    assert "give all 32 digits" in office.refused("trace", first[:8], exit_code=3)
    assert office.asked("suppress", "add", "a@b.example", "--channel", "email")["added"] == 1
    assert len(office.asked("suppress", "list")["suppressions"]) == 1


def test_what_waits_is_edited_cancelled_and_sent_by_its_lane(
    office: Office, tmp_path: Path
) -> None:
    file = tmp_path / "later.csv"
    rows = "".join(f"+44770090000{n},later {n}\n" for n in range(3))
    file.write_text("phone,text\n" + rows)
    office.asked("send", file, "--group", "later", "--at", "in 2h")
    page = office.asked("messages", "--group", "later")["messages"]
    edited, cancelled, hurried = sorted(message["id"] for message in page)
    assert office.asked("cancel", cancelled)["messages"][0]["verdict"] == "done"
    assert office.asked("edit", edited, "--content", "other")["messages"][0]["verdict"] == "done"
    for id_ in (edited, hurried):
        assert office.asked("expedite", id_)["messages"][0]["verdict"] == "done"
    eventually("two are out", lambda: len(office.lines("later")) == 2, seconds=60)
    assert {line["message_id"]: line["content"] for line in office.lines("later")}[
        edited
    ] == "other"
    assert cancelled not in {line["message_id"] for line in office.lines("later")}
    assert office.asked("cancel", edited, exit_code=14)["messages"][0]["verdict"] != "done"
    eventually(
        "the books close", lambda: office.asked("group", "later")["closes"] is True, seconds=60
    )


def test_the_owning_core_serves_what_is_asked_of_it(
    office: Office, made: Cluster, tmp_path: Path
) -> None:
    if made.servers:
        made.watch_owners()
    file = tmp_path / "aligned.csv"
    rows = [f"+44770090{n % 1_000:04},aligned {n}\n" for n in range(COUNT)]
    file.write_text("phone,text\n" + "".join(rows))
    office.asked("send", file, "--group", "aligned")
    office.handed_over("aligned", COUNT)
    told = office.asked("alignment")
    assert told["looked_at"] > 10
    assert told["share"] >= 1 - STRAY_PART, told["elsewhere"]
    if made.servers:
        # The platform counts some of its statements; the front saw every one.
        owned, strayed = made.fronts.strays()
        print(json.dumps({"owned": owned, "strayed": strayed, "told": told["share"]}))  # noqa: T201
        assert owned > 100
        assert strayed.total() <= owned * STRAY_PART, strayed


def test_killed_actors_lose_nothing_and_send_nothing_twice(made: Cluster, tmp_path: Path) -> None:
    chance = seeded_random()
    kinds = ["Scheduler", "Scheduler", "Scheduler", "Ingester", "Registry"]
    chance.shuffle(kinds)
    log, data = tmp_path / "provider.jsonl", tmp_path / "data"
    with both_providers(log, seed=chance.randrange(2**31), modes="") as ports:
        variables = by_providers(ports) | {"SHARDPOST_SCYLLA__KEYSPACE": KILLED}
        with PlatformProcess(data, variables, *on_scylla(made.hosts)) as platform:
            sendings = [
                Judged(data, log, channel=channel, count=KILLED_COUNT)
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
