"""What every `IngestStore` promises.  A store's test file subclasses this and gives a store."""

import asyncio
from collections import Counter

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.message import AT_ONCE, Body, PartitionKey
from pipeline.ports import Beat, IdempotencyRow
from tests.contract.store_under_test import (
    BORN,
    OWNER_A,
    OWNER_B,
    Rows,
    Store,
    StoreUnderTest,
    buffer_entry,
    keys_of,
    message_row,
    read_all,
)

HASH_A, HASH_B = b"a" * 16, b"b" * 16


class IngestStoreContract:
    # --- put_idempotency --------------------------------------------------------------------

    async def test_a_fresh_key_stands_as_it_was_given(self, store: Store, rows: Rows) -> None:
        asked = [IdempotencyRow(key, HASH_A, BORN) for key in rows.ids(3)]
        assert await store.put_idempotency(asked) == asked

    async def test_a_used_key_keeps_its_first_row(self, store: Store, rows: Rows) -> None:
        [key] = rows.ids(1)
        first = IdempotencyRow(key, HASH_A, BORN)
        await store.put_idempotency([first])
        assert await store.put_idempotency([IdempotencyRow(key, HASH_B, Instant(BORN + 1))]) == [
            first
        ]

    async def test_rows_that_stand_come_in_the_order_asked_over_all_cores(
        self, store: Store, under_test: StoreUnderTest
    ) -> None:
        makers = [Rows(under_test.generation, core) for core in under_test.generation.cores]
        keys = [key for _ in range(25) for maker in makers for key in maker.ids(1)]
        used = [IdempotencyRow(key, HASH_A, Instant(n)) for n, key in enumerate(keys)]
        await store.put_idempotency(used[::2])
        asked = [IdempotencyRow(key, HASH_B, Instant(n)) for n, key in enumerate(keys)]
        assert await store.put_idempotency(asked) == [
            used[n] if n % 2 == 0 else asked[n] for n in range(len(keys))
        ]

    async def test_no_rows_ask_for_nothing(self, store: Store) -> None:
        assert await store.put_idempotency([]) == []

    async def test_a_key_that_is_asked_for_twice_at_once_stands_once(
        self, store: Store, rows: Rows
    ) -> None:
        [key] = rows.ids(1)
        first, second = IdempotencyRow(key, HASH_A, BORN), IdempotencyRow(key, HASH_B, BORN)
        assert await store.put_idempotency([first, second]) == [first, first]

    async def test_of_two_writers_of_a_key_both_are_told_the_same_born(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        keys = rows.ids(20)
        answers = await asyncio.gather(
            *(
                who.put_idempotency([IdempotencyRow(key, HASH_A, Instant(BORN + born))])
                for key in keys
                for born, who in ((1, store), (2, other_store))
            )
        )
        stands = [answer[0] for answer in answers]
        assert stands[::2] == stands[1::2]
        assert {row.born for row in stands} <= {BORN + 1, BORN + 2}

    async def test_a_key_whose_answer_was_lost_is_told_when_it_is_asked_again(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        row = IdempotencyRow(rows.ids(1)[0], HASH_A, BORN)
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.put_idempotency([row])
        assert await store.put_idempotency([row._replace(born=Instant(BORN + 5))]) == [row]

    async def test_a_key_that_was_refused_is_free(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        row = IdempotencyRow(rows.ids(1)[0], HASH_A, BORN)
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.put_idempotency([row])
        later = row._replace(born=Instant(BORN + 5))
        assert await store.put_idempotency([later]) == [later]

    # --- write_messages ---------------------------------------------------------------------

    async def test_a_body_is_read_as_it_was_written(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        ids = rows.ids(3)
        ordered = message_row(ids[2], pk=PartitionKey(rows.ids(1)[0]), body=Body(bytes(range(256))))
        written = [message_row(ids[0]), message_row(ids[1], body=Body(b"")), ordered]
        await store.write_messages(rows.core, written)
        keys = [(row[1], row[0]) for row in written]
        assert await other_store.read_bodies(rows.core, keys) == {row[0]: row[4] for row in written}

    async def test_a_body_that_was_written_keeps_its_first_bytes(
        self, store: Store, rows: Rows
    ) -> None:
        old, new = rows.ids(2)
        await store.write_messages(rows.core, [message_row(old, body=Body(b"first"))])
        await store.write_messages(
            rows.core,
            [message_row(old, body=Body(b"second")), message_row(new, body=Body(b"new"))],
        )
        # In either order: whoever reads one may come upon the other.
        for asked in ([old, new], [new, old]):
            assert await store.read_bodies(rows.core, keys_of(asked)) == {
                old: b"first",
                new: b"new",
            }

    async def test_of_two_bodies_of_one_id_in_a_batch_the_first_stays(
        self, store: Store, rows: Rows
    ) -> None:
        [twice] = rows.ids(1)
        await store.write_messages(
            rows.core,
            [message_row(twice, body=Body(b"first")), message_row(twice, body=Body(b"second"))],
        )
        assert await store.read_bodies(rows.core, keys_of([twice])) == {twice: b"first"}

    async def test_a_large_batch_of_large_bodies_is_written(self, store: Store, rows: Rows) -> None:
        ids = rows.ids(2_100)
        large = Body(b"x" * 40_000)
        written = [message_row(i, body=large if n % 100 == 0 else None) for n, i in enumerate(ids)]
        await store.write_messages(rows.core, written)
        found = await store.read_bodies(rows.core, keys_of(ids))
        assert found == {row[0]: row[4] for row in written}

    async def test_no_rows_are_written_without_complaint(self, store: Store, rows: Rows) -> None:
        await store.write_messages(rows.core, [])
        await store.write_buffer(rows.lane(), [])
        assert await read_all(store, rows.lane()) == []

    async def test_bodies_that_were_refused_are_not_there(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        ids = rows.ids(5)
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.write_messages(rows.core, [message_row(i) for i in ids])
        assert await store.read_bodies(rows.core, keys_of(ids)) == {}

    async def test_bodies_whose_answer_was_lost_may_be_written_again(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        written = [message_row(message_id) for message_id in rows.ids(5)]
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.write_messages(rows.core, written)
        await store.write_messages(rows.core, written)
        found = await store.read_bodies(rows.core, keys_of([row[0] for row in written]))
        assert found == {row[0]: row[4] for row in written}

    # --- announce_lane ----------------------------------------------------------------------

    async def test_a_lane_is_known_once_it_is_announced(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        lane = rows.lane()
        assert await other_store.read_lanes(rows.core, lane.generation) == []
        await store.announce_lane(lane)
        await store.announce_lane(lane)
        assert await other_store.read_lanes(rows.core, lane.generation) == [lane]

    # --- write_buffer -----------------------------------------------------------------------

    async def test_rows_come_back_in_the_order_they_were_written_each_with_an_at(
        self, store: Store, rows: Rows
    ) -> None:
        lane = rows.lane()
        await store.announce_lane(lane)
        pk = PartitionKey(rows.ids(1)[0])
        written = [
            buffer_entry(
                message_id,
                pk=pk if n == 4 else None,
                attempt=1 + n % 3,
                due_at=Instant(BORN + n) if n > 2 else AT_ONCE,
                group=f"acme/{n}",
            )
            for n, message_id in enumerate(rows.ids(7))
        ]
        await store.write_buffer(lane, written)
        read = await read_all(store, lane)
        assert [row[1:] for row in read] == written
        assert [row[0] for row in read] == sorted(row[0] for row in read)

    async def test_at_grows_from_write_to_write_whoever_writes(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        lane = rows.lane()
        await store.announce_lane(lane)
        ids = rows.ids(20)
        for n, message_id in enumerate(ids):
            await (store, other_store)[n % 2].write_buffer(lane, [buffer_entry(message_id)])
        read = await read_all(store, lane)
        assert [row[1] for row in read] == ids
        assert len({row[0] for row in read}) == len(ids)

    async def test_a_repeat_writes_the_rows_again_with_a_later_at(
        self, store: Store, rows: Rows
    ) -> None:
        lane = rows.lane()
        await store.announce_lane(lane)
        written = [buffer_entry(message_id) for message_id in rows.ids(3)]
        await store.write_buffer(lane, written)
        await store.write_buffer(lane, written)
        read = await read_all(store, lane)
        assert [row[1:] for row in read] == written + written
        assert max(row[0] for row in read[:3]) < min(row[0] for row in read[3:])

    async def test_lanes_of_one_core_do_not_see_each_other(self, store: Store, rows: Rows) -> None:
        lanes = [rows.lane(), rows.lane(band="urgent"), rows.lane(channel="email")]
        ids = rows.ids(3)
        for lane, message_id in zip(lanes, ids, strict=True):
            await store.announce_lane(lane)
            await store.write_buffer(lane, [buffer_entry(message_id)])
        for lane, message_id in zip(lanes, ids, strict=True):
            assert [row[1] for row in await read_all(store, lane)] == [message_id]

    async def test_rows_that_were_refused_are_not_there_none_of_them(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        lane = rows.lane()
        await store.announce_lane(lane)
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.write_buffer(lane, [buffer_entry(i) for i in rows.ids(1_500)])
        assert await read_all(store, lane) == []

    async def test_rows_whose_answer_was_lost_are_there_all_of_them(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        lane = rows.lane()
        await store.announce_lane(lane)
        written = [buffer_entry(message_id) for message_id in rows.ids(1_500)]
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.write_buffer(lane, written)
        assert [row[1:] for row in await read_all(store, lane)] == written

    async def test_whoever_reads_sees_a_write_as_a_whole_or_not_at_all(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        lane = rows.lane()
        await store.announce_lane(lane)
        batches = [[buffer_entry(i, attempt=n + 1) for i in rows.ids(40)] for n in range(10)]
        writing = asyncio.gather(*(store.write_buffer(lane, batch) for batch in batches))
        while not writing.done():
            read = await read_all(other_store, lane)
            assert set(Counter(row[4] for row in read).values()) <= {40}
        await writing
        assert len(await read_all(other_store, lane)) == 400

    # --- read_owners ------------------------------------------------------------------------

    async def test_the_owners_of_a_core_are_those_that_beat_there(
        self, store: Store, other_store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        elsewhere = next(core for core in under_test.generation.cores if core != rows.core)
        await store.beat(rows.core, Beat(OWNER_A, "scheduler-a", 1))
        await other_store.beat(rows.core, Beat(OWNER_B, "scheduler-b", 1))
        await store.beat(rows.core, Beat(OWNER_A, "scheduler-a", 2))
        assert sorted(await other_store.read_owners(rows.core)) == [
            Beat(OWNER_A, "scheduler-a", 2),
            Beat(OWNER_B, "scheduler-b", 1),
        ]
        assert await store.read_owners(elsewhere) == []
