"""What the commands of every store promise.  A store's test file subclasses this."""

import asyncio

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import ORDER_FAMILIES, CommandEntry, CommandResult, CommandRow, GroupOrder
from pipeline.message import MessageId
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
    read_all,
)


def cancel(message_id: MessageId, *, payload: bytes = b"") -> CommandEntry:
    return CommandEntry(
        id=message_id[::-1],
        kind="cancel",
        message_id=message_id,
        pk=message_id,
        group="",
        by="ada",
        payload=payload,
    )


def to_group(number: int, *, kind: str = "pause") -> CommandEntry:
    return CommandEntry(bytes([number]) * 16, kind, b"", b"", "acme/spring", "ada", b"")


def result_of(
    command_id: bytes, lane: LaneId, *, at: int = 0, verdict: str = "done", **counts: int
) -> CommandResult:
    return CommandResult(command_id, str(lane), Instant(BORN + at), verdict, "why", counts)


def order_of(kind: str, *, at: int, group: str = "acme/spring", by: str = "ada") -> GroupOrder:
    return GroupOrder(group, kind, Instant(BORN + at), at.to_bytes(16), by)


async def read_commands(
    store: Store,
    lane: LaneId,
    *,
    from_at: Instant = NEVER,
    through_at: Instant = EVER,
    limit: int = 1_000,
) -> list[CommandRow]:
    """Return every command of the lane in a span, page by page."""
    return await all_pages(
        lambda resume: store.read_commands(
            lane, from_at=from_at, through_at=through_at, limit=limit, resume=resume
        ),
        limit=limit,
    )


class CommandsContract:
    # --- commands ---------------------------------------------------------------------------

    async def test_commands_come_back_in_the_order_they_were_written_each_with_an_at(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        written = [cancel(i, payload=bytes(range(256))) for i in rows.ids(5)]
        written += [to_group(n, kind=kind) for n, kind in enumerate(("pause", "resume"))]
        await store.write_commands(lane, written[:4])
        await other_store.write_commands(lane, written[4:])
        read = await read_commands(other_store, lane)
        assert [entry for _, entry in read] == written
        ats = [at for at, _ in read]
        assert ats == sorted(set(ats))

    async def test_no_commands_are_written_without_complaint(
        self, store: Store, lane: LaneId
    ) -> None:
        await store.write_commands(lane, [])
        assert await read_commands(store, lane) == []

    async def test_a_repeat_writes_the_commands_again_with_a_later_at(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        written = [cancel(i) for i in rows.ids(3)]
        await store.write_commands(lane, written)
        await store.write_commands(lane, written)
        read = await read_commands(store, lane)
        assert [entry for _, entry in read] == written + written
        assert read[2][0] < read[3][0]

    async def test_commands_and_rows_are_told_by_one_clock_and_kept_apart(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        first, second, third = rows.ids(3)
        await store.write_buffer(lane, [buffer_entry(first)])
        await store.write_commands(lane, [cancel(second)])
        await store.write_buffer(lane, [buffer_entry(third)])
        [(at, _)] = await read_commands(store, lane)
        before, after = await read_all(store, lane)
        assert before[0] < at < after[0]

    async def test_lanes_do_not_see_each_others_commands(self, store: Store, rows: Rows) -> None:
        lanes = [rows.lane(), rows.lane(band="urgent")]
        written = [cancel(i) for i in rows.ids(2)]
        for lane, entry in zip(lanes, written, strict=True):
            await store.announce_lane(lane)
            await store.write_commands(lane, [entry])
        for lane, entry in zip(lanes, written, strict=True):
            assert [row[1] for row in await read_commands(store, lane)] == [entry]

    async def test_a_span_of_commands_has_both_its_ends(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        await store.write_commands(lane, [cancel(i) for i in rows.ids(5)])
        everything = await read_commands(store, lane)
        for first in range(5):
            for last in range(first, 5):
                found = await read_commands(
                    store,
                    lane,
                    from_at=everything[first][0],
                    through_at=everything[last][0],
                    limit=2,
                )
                assert found == everything[first : last + 1]

    async def test_no_command_appears_at_or_below_a_horizon_that_was_read(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        batches = [[cancel(i) for i in rows.ids(10)] for _ in range(20)]
        writing = asyncio.gather(
            *(
                (store, other_store)[n % 2].write_commands(lane, batch)
                for n, batch in enumerate(batches)
            )
        )
        seen: list[tuple[Instant, list[CommandRow]]] = []
        while not writing.done():
            safe = await store.horizon(lane)
            seen.append((safe, await read_commands(store, lane, through_at=safe)))
        await writing
        for safe, read in seen:
            assert len(read) % 10 == 0
            assert read == await read_commands(store, lane, through_at=safe)

    async def test_commands_that_were_refused_are_not_there_none_of_them(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId, rows: Rows
    ) -> None:
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.write_commands(lane, [cancel(i) for i in rows.ids(50)])
        assert await read_commands(store, lane) == []

    async def test_commands_whose_answer_was_lost_are_there_all_of_them(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId, rows: Rows
    ) -> None:
        written = [cancel(i) for i in rows.ids(50)]
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.write_commands(lane, written)
        assert [row[1] for row in await read_commands(store, lane)] == written

    # --- results ----------------------------------------------------------------------------

    async def test_results_are_read_by_command(
        self, store: Store, other_store: Store, queries: QueryStore, rows: Rows
    ) -> None:
        one, two, unheard = (bytes([n]) * 16 for n in range(3))
        lanes = sorted([rows.lane(), rows.lane(band="urgent")], key=str)
        assert await queries.read_results(rows.core, [one]) == []
        written = [result_of(one, lane, cancelled=3, sent=n) for n, lane in enumerate(lanes)]
        other = result_of(two, lanes[0])
        await store.write_results(rows.core, [*written, other])
        await store.write_results(rows.core, [])
        for reader in (store, other_store, queries):
            assert await reader.read_results(rows.core, [unheard, one]) == written
            assert await reader.read_results(rows.core, [two]) == [other]
            assert await reader.read_results(rows.core, []) == []

    async def test_a_result_never_goes_back(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        [command_id], lane = rows.ids(1), rows.lane()
        begun, done = (result_of(command_id, lane, at=n, cancelled=n) for n in (1, 2))
        for result in (begun, begun):
            await store.write_results(rows.core, [result])
        assert await store.read_results(rows.core, [command_id]) == [begun]
        for result in (done, begun, done):
            await other_store.write_results(rows.core, [result])
            assert await store.read_results(rows.core, [command_id]) == [done]

    async def test_a_result_whose_answer_was_lost_may_be_written_again(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        result = result_of(rows.ids(1)[0], rows.lane())
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.write_results(rows.core, [result])
        assert await store.read_results(rows.core, [result.command_id]) == []
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.write_results(rows.core, [result])
        await store.write_results(rows.core, [result])
        assert await store.read_results(rows.core, [result.command_id]) == [result]

    # --- orders that hold for groups --------------------------------------------------------

    async def test_of_the_orders_of_a_family_the_newest_holds_whichever_came_first(
        self, store: Store, other_store: Store, queries: QueryStore, rows: Rows
    ) -> None:
        assert await queries.read_group_orders(rows.core) == []
        pause, resume, again = (
            order_of(kind, at=at) for at, kind in enumerate(("pause", "resume", "pause"))
        )
        for put, holds in (
            (resume, resume),
            (pause, resume),
            (resume, resume),
            (again, again),
            (resume, again),
        ):
            await store.put_group_order(rows.core, put)
            assert await other_store.read_group_orders(rows.core) == [holds]
        assert await queries.read_group_orders(rows.core) == [again]

    async def test_of_two_orders_that_are_put_at_once_the_later_holds(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        for n in range(0, 40, 2):
            older, newer = order_of("pause", at=n), order_of("resume", at=n + 1)
            await asyncio.gather(
                store.put_group_order(rows.core, newer if n % 4 else older),
                other_store.put_group_order(rows.core, older if n % 4 else newer),
            )
            assert await store.read_group_orders(rows.core) == [newer]

    async def test_groups_families_and_cores_have_orders_of_their_own(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        assert set(ORDER_FAMILIES.values()) == {"fate", "flow"}
        orders = [
            order_of("cancel", at=9, group="acme/a"),
            order_of("pause", at=5, group="acme/a", by="bob"),
            order_of("resume", at=7, group="acme/b"),
        ]
        for order in orders:
            await store.put_group_order(rows.core, order)
        assert await store.read_group_orders(rows.core) == orders
        elsewhere = next(core for core in under_test.generation.cores if core != rows.core)
        assert await store.read_group_orders(elsewhere) == []

    async def test_an_order_of_no_family_is_refused(self, store: Store, rows: Rows) -> None:
        with pytest.raises(KeyError):
            await store.put_group_order(rows.core, order_of("edit", at=1))
