"""How long rows live, as the server says: nothing that still decides may end before."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from pipeline.errors import StoreUnavailable
from pipeline.instant import Instant, later
from pipeline.later import EditionKey, EditionRow
from pipeline.lifecycle import Event, step_of
from pipeline.message import (
    Body,
    MessageId,
    PartitionKey,
    Submission,
    TimelineRow,
    TimerRow,
    encode_body,
)
from pipeline.ports import BookCell
from tests.cassandra.front import Break, Rule
from tests.cassandra.scylla_data import WINDOWS, ScyllaData, port_of, queries_of
from tests.contract.store_under_test import BORN, Rows, message_row
from tests.contract.timers import timer

DAY_MS = 24 * 3_600 * 1_000
FAR_MS = 200 * DAY_MS
# What a test and its server take at most.
SLACK_S = 600
CANCELLED = step_of(attempt=1, try_no=1, event=Event.CANCEL)


def rows_of(under_test: ScyllaData) -> Rows:
    return Rows(under_test.generation, under_test.generation.cores[0])


def event_of(id_: MessageId, pk: bytes | None = None) -> TimelineRow:
    return (id_, PartitionKey(pk or id_), CANCELLED, BORN, "by a test")


def lives_s(under_test: ScyllaData, cql: str, values: Sequence[object]) -> list[int]:
    """Return how long the rows of a query go on to live; each must end some day."""
    return sorted(row[0] for row in under_test.keyspace.driver_session.execute(cql, values))


def event_lives_s(under_test: ScyllaData, pk: bytes) -> list[int]:
    return lives_s(under_test, "SELECT TTL(at) FROM timeline WHERE pk = %s", [UUID(bytes=pk)])


def is_about(found_s: int, life_ms: int) -> bool:
    return life_ms // 1_000 - SLACK_S < found_s <= life_ms // 1_000


async def test_events_live_as_long_after_a_timer_as_after_anything_else(
    under_test: ScyllaData,
) -> None:
    """Else a message that was cancelled long before it is due would be sent."""
    rows, store = rows_of(under_test), port_of(await under_test.open())
    far, near, another = rows.ids(3)
    [far_key] = rows.ids(1)  # of a message that lies with its ordering key
    due_at = later(under_test.clock.now(), FAR_MS)
    timers: list[TimerRow] = [
        timer(far, due_at=due_at),
        timer(another, due_at=due_at, pk=PartitionKey(far_key)),
        timer(near, due_at=later(under_test.clock.now(), 60 * DAY_MS)),
    ]
    await store.write_timers(rows.lane(), timers)
    await store.project(rows.core, [event_of(far), event_of(near), event_of(another, far_key)])
    for pk, wanted_ms in (
        (far, FAR_MS + WINDOWS.timeline_ttl_ms),
        (far_key, FAR_MS + WINDOWS.timeline_ttl_ms),
        (near, WINDOWS.timeline_ttl_ms),
    ):
        [found_s] = event_lives_s(under_test, pk)
        assert is_about(found_s, wanted_ms)


async def test_of_two_timers_of_a_message_the_later_tells_how_long_its_events_live(
    under_test: ScyllaData,
) -> None:
    rows, store = rows_of(under_test), port_of(await under_test.open())
    [id_] = rows.ids(1)
    now = under_test.clock.now()
    for wait_ms in (FAR_MS, FAR_MS // 2):
        await store.write_timers(rows.lane(), [timer(id_, due_at=later(now, wait_ms))])
    await store.project(rows.core, [event_of(id_)])
    [found_s] = event_lives_s(under_test, id_)
    assert is_about(found_s, FAR_MS + WINDOWS.timeline_ttl_ms)


@pytest.mark.parametrize("table", ["far_timers", "far_cores"])
@pytest.mark.parametrize("how", [Break.REFUSE, Break.LOSE])
async def test_no_timer_is_written_of_which_events_do_not_know(
    under_test: ScyllaData, table: str, how: Break
) -> None:
    rows, store = rows_of(under_test), port_of(await under_test.open())
    [id_] = rows.ids(1)
    due_at = later(under_test.clock.now(), FAR_MS)
    with (
        under_test.fronts.breaking(Rule(how, lambda text: f"INTO {table}" in text)),
        pytest.raises(StoreUnavailable),
    ):
        await store.write_timers(rows.lane(), [timer(id_, due_at=due_at)])
    assert lives_s(under_test, "SELECT TTL(born) FROM timers", []) == []


@pytest.mark.parametrize("is_ordered", [False, True])
async def test_a_message_that_is_put_off_lives_until_it_is_due(
    under_test: ScyllaData, *, is_ordered: bool
) -> None:
    rows, store = rows_of(under_test), port_of(await under_test.open())
    id_, key = rows.ids(2)
    pk = PartitionKey(key if is_ordered else id_)
    await store.write_messages(rows.core, [message_row(id_, pk=pk)])
    at = under_test.clock.now()
    body = put_off_until(later(at, FAR_MS))
    await store.write_editions(rows.core, [EditionRow(id_, pk, at, body)])
    await store.confirm_editions(rows.core, [EditionKey(id_, pk, at)])
    assert await store.read_bodies(rows.core, [(pk, id_)]) == {id_: body}
    found = lives_s(
        under_test, "SELECT TTL(body) FROM messages WHERE pk = %s", [UUID(bytes=bytes(pk))]
    )
    # The row that says that it was accepted, and the edition.
    assert [is_about(each, FAR_MS + WINDOWS.messages_ttl_ms) for each in found] == [True, True]
    placed = lives_s(under_test, "SELECT TTL(pk) FROM placed", [])
    assert [is_about(each, FAR_MS + WINDOWS.messages_ttl_ms) for each in placed] == (
        [True] if is_ordered else []
    )
    trace = await queries_of(await under_test.open_queries()).trace(id_)
    assert trace is not None
    assert trace.born == BORN


def put_off_until(due_at: Instant) -> Body:
    return Body(
        encode_body(
            Submission(
                tenant="acme",
                channel="sms",
                recipient="+10000000000",
                content="later",
                group="spring",
                due_at=due_at,
                expires_at=due_at,
            )
        )
    )


async def test_the_books_of_a_group_live_as_long_as_any_of_its_events(
    under_test: ScyllaData,
) -> None:
    rows, store = rows_of(under_test), port_of(await under_test.open())
    await store.write_books(rows.lane(), [BookCell("acme/spring", 7, b"counts")])
    [found_s] = lives_s(under_test, "SELECT TTL(cell) FROM books", [])
    assert is_about(found_s, WINDOWS.idem_life_ms)


async def test_a_closed_segment_ends_with_its_entries_and_an_open_one_never(
    under_test: ScyllaData,
) -> None:
    rows, store = rows_of(under_test), port_of(await under_test.open())
    lane, other = rows.lane(), rows.lane(band="urgent")
    owner = b"o" * 16
    for each in (lane, other):
        assert await store.open_segment(each, 0, epoch=1, owner=owner)
        assert await store.append(each, 0, epoch=1, seq=0, body=b"entry")
    assert await store.close_segment(lane, 0, epoch=1)
    session = under_test.keyspace.driver_session
    found = sorted(
        session.execute("SELECT epoch, TTL(epoch), TTL(owner), TTL(body) FROM journal"),
        key=lambda row: row[0],
    )
    [closed, opened] = found
    assert all(is_about(each, WINDOWS.journal_ttl_ms) for each in closed[1:])
    assert opened[1:3] == (None, None)
    assert is_about(opened[3], WINDOWS.journal_ttl_ms)
