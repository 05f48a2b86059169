"""A keyspace that was brought back from a backup sends nothing again of what waited in it."""

import json
from pathlib import Path

from tests.cassandra.conftest import Cluster
from tests.cassandra.scylla_platform import VARIABLES, forget_keyspace, make_schema, on_scylla
from tests.support.office import Office
from tests.support.platform_process import PlatformProcess, eventually, shardpost

KEYSPACE = "shardpost_restored"
COUNT = 300
SLOW = {
    "SHARDPOST_CONNECTORS__SLOW__KIND": "file",
    "SHARDPOST_CONNECTORS__SLOW__CHANNELS": "sms",
    "SHARDPOST_CONNECTORS__SLOW__RATE": "0.5",
}
WAIT_S = 60.0


def test_what_waited_in_a_restored_keyspace_is_not_sent_by_itself(
    one_node: Cluster, tmp_path: Path
) -> None:
    forget_keyspace(one_node.hosts, KEYSPACE)
    make_schema(one_node.hosts, KEYSPACE, replication=1)
    office = Office(tmp_path / "data")
    variables = VARIABLES | {"SHARDPOST_SCYLLA__KEYSPACE": KEYSPACE}
    marking = ("schema", "restored", "--json", "--data", str(office.data))
    with PlatformProcess(office.data, variables | SLOW, *on_scylla(one_node.hosts)) as platform:
        send(office, tmp_path, "old")
        # While a platform runs its lanes would not hear of it.
        refused = shardpost(*marking, **variables)
        assert refused.returncode == 6, refused.stderr
        assert "a platform runs on the keyspace: stop it first" in refused.stderr
        platform.stop()
    before = len(office.lines("old"))
    assert before < COUNT, "all went out before the restore"
    marked = shardpost(*marking, **variables)
    assert marked.returncode == 0, marked.stderr
    assert json.loads(marked.stdout)["keyspace"] == KEYSPACE
    with PlatformProcess(office.data, variables, *on_scylla(one_node.hosts)) as platform:
        eventually(
            "all that waited is in doubt",
            lambda: uncertain(office, "old") == COUNT - before,
            seconds=WAIT_S,
            every_s=1,
        )
        # What is new goes out.
        send(office, tmp_path, "new")
        office.handed_over("new", COUNT)
        assert len(office.lines("old")) == before
        platform.stop()
    forget_keyspace(one_node.hosts, KEYSPACE)


def send(office: Office, folder: Path, group: str) -> None:
    """Have a file of texts accepted."""
    file = folder / f"{group}.csv"
    rows = [f"+44770090{n:04},{group} {n}\n" for n in range(COUNT)]
    file.write_text("phone,text\n" + "".join(rows))
    assert office.asked("send", file, "--group", group)["accepted"] == COUNT


def uncertain(office: Office, group: str) -> int:
    """Return how many of a group are in doubt, by its books."""
    return int(office.asked("group", group)["states"]["uncertain"])
