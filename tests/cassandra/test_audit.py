"""The audit of a keyspace: nothing is found in what a platform left, and all that was harmed is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.scylla.session import make_cluster
from cluster.scylla.settings import ScyllaSettings
from pipeline.lifecycle import Event, step_of
from tests.cassandra.conftest import Cluster
from tests.cassandra.scylla_platform import VARIABLES, forget_keyspace, make_schema, on_scylla
from tests.support.office import Office
from tests.support.platform_process import PlatformProcess, eventually

KEYSPACE = "shardpost_audited"
COUNT = 500
LATER = 3

Session = Any


@pytest.fixture(scope="module")
def session(one_node: Cluster) -> Iterator[Session]:
    """Return a session of the driver in the keyspace, to break what no program breaks."""
    forget_keyspace(one_node.hosts, KEYSPACE)
    make_schema(one_node.hosts, KEYSPACE, replication=1)
    cluster = make_cluster(ScyllaSettings(hosts=tuple(one_node.hosts)))
    try:
        yield cluster.connect(KEYSPACE)
    finally:
        cluster.shutdown()
        forget_keyspace(one_node.hosts, KEYSPACE)


@pytest.fixture(scope="module")
def left(session: Session, one_node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Return somebody at the folder of a platform that worked on the cluster, and was stopped."""
    folder = tmp_path_factory.mktemp("left")
    office = Office(folder / "data")
    now, later = folder / "now.csv", folder / "later.csv"
    now.write_text("phone,text\n" + "".join(f"+4477009{n:05},no {n}\n" for n in range(COUNT)))
    later.write_text("phone,text\n" + "".join(f"+4477009{n:05},no {n}\n" for n in range(LATER)))
    variables = VARIABLES | {"SHARDPOST_SCYLLA__KEYSPACE": KEYSPACE}
    with PlatformProcess(office.data, variables, *on_scylla(one_node.hosts)) as platform:
        office.asked("send", now, "--group", "now")
        office.asked("send", later, "--group", "later", "--at", "in 2h")
        cancelled, _, _ = (
            message["id"] for message in office.asked("messages", "--group", "later")["messages"]
        )
        assert office.asked("cancel", cancelled)["messages"][0]["verdict"] == "done"
        office.handed_over("now", COUNT)
        eventually(
            "the books close", lambda: office.asked("group", "later")["closes"] is True, seconds=60
        )
        platform.stop()
    return office


def test_nothing_is_found_in_what_a_platform_left(left: Office) -> None:
    report = left.asked("audit")
    assert report["findings"] == []
    assert (report["messages"], report["lines"], report["timers"]) == (COUNT + LATER, COUNT, LATER)
    assert report["without_event"] == LATER - 1
    assert report["rows"] >= COUNT
    assert report["entries"] > 0
    assert report["books"] > 0


def _two_takes(session: Session) -> None:
    pk, id_ = _a_message(session)
    for event in (Event.CLAIM, Event.TAKE):
        session.execute(
            "INSERT INTO timeline (pk, id, step, at, detail) VALUES (%s, %s, %s, 0, 'file')",
            (pk, id_, step_of(attempt=2, try_no=1, event=event)),
        )


def _no_body(session: Session) -> None:
    pk, id_ = _a_message(session)
    session.execute("DELETE FROM messages WHERE pk = %s AND id = %s", (pk, id_))


def _no_events(session: Session) -> None:
    pk, id_ = _a_message(session)
    session.execute("DELETE FROM timeline WHERE pk = %s AND id = %s", (pk, id_))


def _no_body_that_decodes(session: Session) -> None:
    pk, id_, written = session.execute("SELECT pk, id, written FROM messages LIMIT 1").one()
    session.execute(
        "UPDATE messages SET body = 0xc1 WHERE pk = %s AND id = %s AND written = %s",
        (pk, id_, written),
    )


def _no_entry(session: Session) -> None:
    entries: dict[Any, list[int]] = {}
    for segment, seq in session.execute("SELECT segment, seq FROM journal"):
        entries.setdefault(segment, []).append(seq)
    segment, seqs = max(entries.items(), key=lambda item: len(item[1]))
    session.execute(
        "DELETE FROM journal WHERE segment = %s AND seq = %s", (segment, sorted(seqs)[-2])
    )


def _no_books(session: Session) -> None:
    for lane, book in list(session.execute("SELECT lane, book FROM books")):
        session.execute("DELETE FROM books WHERE lane = %s AND book = %s", (lane, book))


def _no_answer(session: Session) -> None:
    for place, id_ in list(session.execute("SELECT place, id FROM results")):
        session.execute("DELETE FROM results WHERE place = %s AND id = %s", (place, id_))


def _a_message(session: Session) -> tuple[Any, bytes]:
    """Return the place and the id of one that was sent, another one each time."""
    for pk, id_ in session.execute("SELECT pk, id FROM messages"):
        steps = session.execute("SELECT step FROM timeline WHERE pk = %s AND id = %s", (pk, id_))
        if sorted(row[0] & 0xFF for row in steps) == [Event.CLAIM, Event.TAKE]:
            return pk, id_
    raise AssertionError("nothing was sent")


# One after another in the same keyspace: what was found before is found still.
@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (_two_takes, "taken_twice"),
        (_no_body, "message_missing"),
        (_no_events, "missed_row"),
        (_no_body_that_decodes, "body_unreadable"),
        (_no_entry, "entry_missing"),
        (_no_books, "books_differ"),
        (_no_answer, "command_unanswered"),
    ],
)
def test_what_was_harmed_is_found(
    left: Office, session: Session, harm: Callable[[Session], None], kind: str
) -> None:
    before = left.run("audit", "--json").returncode
    harm(session)
    report = left.asked("audit", exit_code=9)
    assert kind in report["findings_by_kind"], (before, report)


def test_a_line_that_the_keyspace_does_not_know_is_found(left: Office, tmp_path: Path) -> None:
    (tmp_path / "lines").mkdir()
    file = min(path for path in (left.data / "outbox").rglob("*.jsonl"))
    line = file.read_text().splitlines()[0]
    id_ = line.split('"')[3]
    (tmp_path / "lines" / file.name).write_text(line.replace(id_, "ab" * 16) + "\n")
    report = left.asked("audit", "--outbox", tmp_path / "lines", exit_code=9)
    assert "line_unknown" in report["findings_by_kind"]
