"""What the timers of every store promise.  A store's test file subclasses this, gives a store."""

import asyncio
from collections.abc import Sequence

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, step_of
from pipeline.message import MessageId, PartitionKey, TimerRow, group_key
from pipeline.ports import QueryStore
from tests.contract.store_under_test import (
    BORN,
    EVER,
    NEVER,
    Rows,
    Store,
    StoreUnderTest,
    all_pages,
    buffer_entry,
    message_row,
)

DUE = Instant(BORN + 3_600_000_000)


def timer(
    message_id: MessageId,
    *,
    due_at: Instant = DUE,
    pk: PartitionKey | None = None,
    attempt: int = 1,
    group: str = group_key("acme", "spring"),
) -> TimerRow:
    return (due_at, message_id, pk or PartitionKey(message_id), BORN, attempt, group)


def in_order(rows: Sequence[TimerRow]) -> list[TimerRow]:
    return sorted(rows, key=lambda row: (row[0], row[1], row[4]))


async def read_timers(
    store: Store,
    lane: LaneId,
    *,
    from_due: Instant = NEVER,
    through_due: Instant = EVER,
    limit: int = 1_000,
) -> list[TimerRow]:
    """Return every timer of the lane in a span, page by page."""
    return await all_pages(
        lambda resume: store.read_timers(
            lane, from_due=from_due, through_due=through_due, limit=limit, resume=resume
        ),
        limit=limit,
    )


class TimersContract:
    async def test_timers_come_back_as_they_were_written_in_the_order_of_their_time(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        ids = rows.ids(40)
        written = [
            timer(
                message_id,
                due_at=Instant(DUE + (n * 7) % 5),
                pk=PartitionKey(ids[0]) if n % 6 == 0 else None,
                attempt=1 + n % 300,
                group=f"acme/{n % 3}",
            )
            for n, message_id in enumerate(ids)
        ]
        await store.write_timers(lane, written)
        assert await read_timers(other_store, lane) == in_order(written)

    async def test_no_timers_are_written_without_complaint(
        self, store: Store, lane: LaneId
    ) -> None:
        await store.write_timers(lane, [])
        assert await read_timers(store, lane) == []

    async def test_a_span_of_timers_has_its_begin_and_not_its_end(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        written = [
            timer(i, due_at=Instant(DUE + n // 2)) for n, i in enumerate(sorted(rows.ids(10)))
        ]
        await store.write_timers(lane, written)
        for first in range(-1, 6):
            for end in range(first, 7):
                found = await read_timers(
                    store, lane, from_due=Instant(DUE + first), through_due=Instant(DUE + end)
                )
                assert found == [row for row in written if first <= row[0] - DUE < end]

    async def test_a_repeat_changes_nothing(self, store: Store, lane: LaneId, rows: Rows) -> None:
        ids = rows.ids(12)
        written = [timer(i) for i in ids[:6]] + [timer(i, attempt=2) for i in ids[6:]]
        await store.write_timers(lane, written)
        await store.write_timers(lane, written)
        await store.write_timers(lane, [timer(i, group="acme/other") for i in ids[:6]])
        await store.write_timers(lane, [timer(ids[0], group="acme/another")])
        assert await read_timers(store, lane) == in_order(written)

    async def test_another_time_or_attempt_of_a_message_is_another_timer(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        [message_id] = rows.ids(1)
        written = [
            timer(message_id, due_at=due_at, attempt=attempt)
            for due_at in (DUE, Instant(DUE + 1))
            for attempt in (1, 2)
        ]
        for row in reversed(written):
            await store.write_timers(lane, [row])
        assert await read_timers(store, lane) == written

    async def test_lanes_do_not_see_each_others_timers(self, store: Store, rows: Rows) -> None:
        lanes = [rows.lane(), rows.lane(band="urgent"), rows.lane(channel="email")]
        written = [timer(i) for i in rows.ids(3)]
        for lane, row in zip(lanes, written, strict=True):
            await store.announce_lane(lane)
            await store.write_timers(lane, [row])
        for lane, row in zip(lanes, written, strict=True):
            assert await read_timers(store, lane) == [row]

    @pytest.mark.parametrize("limit", [1, 3, 29, 30])
    async def test_pages_lose_and_double_none_that_was_there_before_while_others_write(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows, limit: int
    ) -> None:
        ids = rows.ids(30)
        before = [
            timer(i, due_at=Instant(DUE + n % 4), attempt=1 + n % 2) for n, i in enumerate(ids)
        ]
        await store.write_timers(lane, before)
        read: list[TimerRow] = []
        resume: bytes | None = None
        while True:
            page = await store.read_timers(
                lane, from_due=NEVER, through_due=EVER, limit=limit, resume=resume
            )
            read += page.rows
            if (resume := page.resume) is None:
                break
            await other_store.write_timers(
                lane, [timer(i, due_at=Instant(DUE + n)) for n, i in enumerate(rows.ids(2))]
            )
        assert read == in_order(read)
        assert [row for row in read if row in before] == in_order(before)

    async def test_timers_that_were_refused_are_not_there_none_of_them(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId, rows: Rows
    ) -> None:
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.write_timers(
                lane, [timer(i, due_at=Instant(DUE + n)) for n, i in enumerate(rows.ids(1_500))]
            )
        assert await read_timers(store, lane) == []

    async def test_timers_whose_answer_was_lost_are_there_all_of_them(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId, rows: Rows
    ) -> None:
        written = [timer(i, due_at=Instant(DUE + n)) for n, i in enumerate(rows.ids(1_500))]
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.write_timers(lane, written)
        await store.write_timers(lane, written)
        assert await read_timers(store, lane) == written

    async def test_whoever_reads_sees_a_write_of_timers_as_a_whole_or_not_at_all(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        batches = [[timer(i, attempt=n + 1) for i in rows.ids(40)] for n in range(10)]
        writing = asyncio.gather(*(store.write_timers(lane, batch) for batch in batches))
        while not writing.done():
            read = await read_timers(other_store, lane)
            assert {sum(row[4] == n + 1 for row in read) for n in range(10)} <= {0, 40}
        await writing
        assert len(await read_timers(other_store, lane)) == 400

    async def test_a_sweep_takes_no_timer_that_is_not_due(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        await store.write_timers(lane, [timer(i, due_at=EVER) for i in rows.ids(3)])
        for _ in range(3):
            await store.sweep(rows.core)
        assert len(await read_timers(store, lane, through_due=Instant(EVER + 1))) == 3

    async def test_timers_of_a_message_can_be_asked_for(
        self, store: Store, queries: QueryStore, lane: LaneId, rows: Rows
    ) -> None:
        mine, other = rows.ids(2)
        assert await queries.timers_of(lane, mine) == []
        written = [timer(mine, due_at=Instant(DUE + 5)), timer(mine, attempt=2), timer(other)]
        await store.write_timers(lane, written)
        assert await queries.timers_of(lane, mine) == [written[1], written[0]]
        assert await queries.timers_of(rows.lane(band="urgent"), mine) == []

    async def test_a_message_that_has_a_timer_alone_is_in_its_lane(
        self, store: Store, queries: QueryStore, rows: Rows
    ) -> None:
        lane = rows.lane(band="urgent")
        await store.announce_lane(lane)
        mine, orphan = rows.ids(2)
        await store.write_messages(rows.core, [message_row(i) for i in (mine, orphan)])
        await store.write_timers(lane, [timer(mine)])
        traces = [await queries.trace(i) for i in (mine, orphan)]
        assert [trace and trace.lane for trace in traces] == [lane, None]

    async def test_first_attempts_to_come_are_counted_by_group(
        self, store: Store, queries: QueryStore, lane: LaneId, rows: Rows
    ) -> None:
        assert await queries.count_timers(lane, from_due=NEVER) == {}
        ids = rows.ids(10)
        await store.write_timers(lane, [timer(i, group="acme/a") for i in ids[:6]])
        await store.write_timers(lane, [timer(ids[6], due_at=Instant(DUE - 1), group="acme/a")])
        await store.write_timers(lane, [timer(i, group="acme/b") for i in ids[7:9]])
        await store.write_timers(lane, [timer(ids[9], attempt=2, group="acme/b")])
        assert await queries.count_timers(lane, from_due=DUE) == {"acme/a": 6, "acme/b": 2}

    async def test_those_that_an_event_names_wait_for_their_first_time_no_more(
        self, store: Store, queries: QueryStore, lane: LaneId, rows: Rows
    ) -> None:
        assert await queries.count_untold_timers(lane) == {}
        assert await queries.count_accepted(lane) == {}
        first, second, third, fourth = rows.ids(4)
        await store.write_timers(lane, [timer(i, group="acme/a") for i in (first, second)])
        # Accepted twice, due at two times; a retry; accepted both to be due at once and later.
        await store.write_timers(lane, [timer(first, due_at=Instant(DUE + 1), group="acme/a")])
        await store.write_timers(lane, [timer(third, attempt=2, group="acme/a")])
        await store.write_timers(lane, [timer(fourth, group="acme/b")])
        await store.write_buffer(lane, [buffer_entry(i, group="acme/b") for i in (third, fourth)])
        assert await queries.count_untold_timers(lane) == {"acme/a": 2, "acme/b": 1}
        assert await queries.count_accepted(lane) == {"acme/a": 2, "acme/b": 2}
        claimed = step_of(attempt=1, try_no=1, event=Event.CLAIM)
        await store.project(rows.core, [(second, PartitionKey(second), claimed, BORN, "file")])
        assert await queries.count_untold_timers(lane) == {"acme/a": 1, "acme/b": 1}
        assert await queries.count_accepted(lane) == {"acme/a": 2, "acme/b": 2}
