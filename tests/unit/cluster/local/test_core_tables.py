"""What the tables of a core's file promise beyond the contract of every store."""

from pathlib import Path

import pytest

from cluster.local import buffer, timeline
from cluster.local.blocks import unpack_buffer
from cluster.local.schema import connect, create_tables
from cluster.local.writer import Transaction
from pipeline.instant import Instant
from pipeline.lifecycle import Event, step_of
from pipeline.message import AT_ONCE, MessageId, PartitionKey, TimelineRow
from tests.support.fake_clock import NOW, FakeClock

TAKE = step_of(attempt=1, try_no=1, event=Event.TAKE)


@pytest.fixture
def transaction(tmp_path: Path) -> Transaction:
    path = tmp_path / "n1-0.db"
    connection = connect(path)
    create_tables(connection, path)
    return Transaction(connection, FakeClock())


def make_id(number: int) -> MessageId:
    return MessageId(number.to_bytes(16))


@pytest.mark.parametrize("count", [1, 10])
def test_an_event_that_is_told_again_stays_as_it_was_told_first(
    transaction: Transaction, count: int
) -> None:
    def rows(detail: str, at: Instant) -> list[TimelineRow]:
        return [(make_id(n), PartitionKey(make_id(n)), TAKE, at, detail) for n in range(count)]

    timeline.project(transaction, rows("first", NOW))
    timeline.project(transaction, rows("second", Instant(NOW + 1)))
    for number in range(count):
        events = timeline.events_of(transaction.connection, make_id(number))
        assert events == [(NOW, TAKE, "first")]


def test_a_read_unpacks_nothing_beyond_its_end(
    transaction: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        message_id = make_id(number)
        row = (message_id, PartitionKey(message_id), NOW, 1, AT_ONCE, "acme/")
        buffer.write(transaction, [row], lane="lane")
    unpacked: list[int] = []

    def note(packed: bytes, *, first_at: int) -> list[object]:
        unpacked.append(first_at)
        return [*unpack_buffer(packed, first_at=first_at)]

    monkeypatch.setattr(buffer, "unpack_buffer", note)
    page = buffer.read_page(
        transaction.connection,
        lane="lane",
        from_at=Instant(NOW + 5),
        through_at=Instant(NOW + 8),
        limit=100,
        resume=None,
    )
    assert [row[0] for row in page.rows] == [NOW + n for n in (5, 6, 7, 8)]
    assert len(unpacked) <= 5
