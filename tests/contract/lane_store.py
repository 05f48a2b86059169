"""What every `LaneStore` promises.  A store's test file subclasses this and gives a store."""

import asyncio
from collections.abc import Sequence

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, Step, step_of
from pipeline.message import MessageId, PartitionKey, TimelineRow
from pipeline.ports import Beat, BookCell
from tests.contract.store_under_test import (
    BORN,
    OWNER_A,
    Rows,
    Store,
    StoreUnderTest,
    buffer_entry,
    journal_of,
    keys_of,
    message_row,
    read_all,
)

CLAIM = step_of(attempt=1, try_no=1, event=Event.CLAIM)
TAKE = step_of(attempt=1, try_no=1, event=Event.TAKE)


def timeline_rows(
    ids: Sequence[MessageId], step: Step, *, at: Instant = BORN, detail: str = "file"
) -> list[TimelineRow]:
    return [(message_id, PartitionKey(message_id), step, at, detail) for message_id in ids]


class LaneStoreContract:
    # --- lanes ------------------------------------------------------------------------------

    async def test_lanes_are_read_by_core_and_generation(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        lanes = {rows.lane(), rows.lane(band="urgent"), rows.lane(channel="email")}
        for lane in lanes:
            await store.announce_lane(lane)
        later = rows.lane()._replace(generation=2)
        await store.announce_lane(later)
        elsewhere = next(core for core in under_test.generation.cores if core != rows.core)
        assert set(await store.read_lanes(rows.core, 1)) == lanes
        assert await store.read_lanes(rows.core, 2) == [later]
        assert await store.read_lanes(elsewhere, 1) == []

    # --- the buffer -------------------------------------------------------------------------

    async def test_a_span_of_the_buffer_has_both_its_ends(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        for message_id in rows.ids(3):
            await store.write_buffer(lane, [buffer_entry(message_id)])
        await store.write_buffer(lane, [buffer_entry(i) for i in rows.ids(4)])
        everything = await read_all(store, lane)
        for first in range(len(everything)):
            for last in range(first, len(everything)):
                found = await read_all(
                    store, lane, from_at=everything[first][0], through_at=everything[last][0]
                )
                assert found == everything[first : last + 1]

    @pytest.mark.parametrize("limit", [1, 3, 49, 50])
    async def test_pages_lose_and_double_nothing_while_others_write(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows, limit: int
    ) -> None:
        for count in (1, 7, 30, 2, 10):
            await store.write_buffer(lane, [buffer_entry(i) for i in rows.ids(count)])
        before = await read_all(store, lane)
        read = list[object]()
        resume: bytes | None = None
        while True:
            page = await store.read_buffer(
                lane,
                from_at=before[0][0],
                through_at=before[-1][0],
                limit=limit,
                resume=resume,
            )
            assert len(page.rows) <= limit
            read += page.rows
            if (resume := page.resume) is None:
                break
            await other_store.write_buffer(lane, [buffer_entry(i) for i in rows.ids(2)])
        assert read == before

    async def test_nothing_appears_at_or_below_a_horizon_that_was_read(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        batches = [[buffer_entry(i) for i in rows.ids(20)] for _ in range(20)]
        writing = asyncio.gather(
            *(
                (store, other_store)[n % 2].write_buffer(lane, batch)
                for n, batch in enumerate(batches)
            )
        )
        seen: list[tuple[Instant, list[object]]] = []
        while not writing.done():
            safe = await store.horizon(lane)
            seen.append((safe, [*await read_all(store, lane, through_at=safe)]))
        await writing
        for safe, read in seen:
            assert read == await read_all(store, lane, through_at=safe)

    async def test_the_horizon_goes_on_while_nothing_is_submitted_but_a_process_beats(
        self, store: Store, rows: Rows
    ) -> None:
        lane = rows.lane()
        await store.write_buffer(lane, [buffer_entry(i) for i in rows.ids(1)])
        before = await store.horizon(lane)
        for value in range(1, 400):
            await store.beat(rows.core, Beat(OWNER_A, "scheduler|a", value))
            if await store.horizon(lane) > before:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the horizon stands still")

    async def test_what_is_acknowledged_comes_to_lie_below_the_horizon(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        [message_id] = rows.ids(1)
        await store.write_buffer(lane, [buffer_entry(message_id)])
        while not await read_all(other_store, lane, through_at=await other_store.horizon(lane)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    # --- bodies and the timeline ------------------------------------------------------------

    async def test_bodies_that_do_not_exist_are_left_out(self, store: Store, rows: Rows) -> None:
        there, missing = rows.ids(2)
        await store.write_messages(rows.core, [message_row(there)])
        assert set(await store.read_bodies(rows.core, keys_of([missing, there]))) == {there}
        assert await store.read_bodies(rows.core, []) == {}

    async def test_bodies_are_found_whatever_batch_they_came_in(
        self, store: Store, rows: Rows
    ) -> None:
        written = [[message_row(i) for i in rows.ids(count)] for count in (5, 1, 30, 4)]
        for batch in written:
            await store.write_messages(rows.core, batch)
        asked = [batch[n] for n in range(4) for batch in written if n < len(batch)]
        for _ in range(2):
            found = await store.read_bodies(rows.core, keys_of([row[0] for row in asked]))
            assert found == {row[0]: row[4] for row in asked}

    async def test_the_fold_of_a_message_is_its_largest_step(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        ids = rows.ids(12)
        await store.project(rows.core, timeline_rows(ids[:10], TAKE))
        await store.project(rows.core, timeline_rows(ids[:11], CLAIM))
        folds = await other_store.read_folds(rows.core, keys_of(ids))
        assert folds == dict.fromkeys(ids[:10], TAKE) | {ids[10]: CLAIM}
        assert await store.read_folds(rows.core, []) == {}

    async def test_the_timeline_of_a_message_is_all_its_events_in_their_order(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        ids = rows.ids(3)
        await store.project(rows.core, timeline_rows(ids[:2], TAKE))
        await store.project(rows.core, timeline_rows(ids[1:2], CLAIM))
        events = await other_store.read_timelines(rows.core, keys_of(ids))
        steps = {id_: [event.step for event in told] for id_, told in events.items() if told}
        assert steps == {ids[0]: [TAKE], ids[1]: [CLAIM, TAKE]}

    async def test_rows_of_many_kinds_are_projected_in_one_call(
        self, store: Store, rows: Rows
    ) -> None:
        ids = rows.ids(300)
        steps = [
            step_of(attempt=1 + n % 3, try_no=1, event=(Event.CLAIM, Event.TAKE)[n % 2])
            for n in range(300)
        ]
        projected: list[TimelineRow] = [
            (i, PartitionKey(i), step, Instant(BORN + n % 7), f"ref-{n}" if n % 5 == 0 else "file")
            for n, (i, step) in enumerate(zip(ids, steps, strict=True))
        ]
        await store.project(rows.core, projected)
        folds = await store.read_folds(rows.core, keys_of(ids))
        assert folds == dict(zip(ids, steps, strict=True))

    async def test_projecting_again_is_harmless(self, store: Store, rows: Rows) -> None:
        ids = rows.ids(10)
        for step in (CLAIM, TAKE, CLAIM):
            await store.project(rows.core, timeline_rows(ids, step))
        assert await store.read_folds(rows.core, keys_of(ids)) == dict.fromkeys(ids, TAKE)

    async def test_a_projection_that_was_refused_is_not_there_none_of_it(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        ids = rows.ids(10)
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.project(
                rows.core, timeline_rows(ids[:5], CLAIM) + timeline_rows(ids[5:], TAKE)
            )
        assert await store.read_folds(rows.core, keys_of(ids)) == {}

    async def test_a_projection_whose_answer_was_lost_may_be_repeated(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        ids = rows.ids(10)
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.project(rows.core, timeline_rows(ids, TAKE))
        await store.project(rows.core, timeline_rows(ids, TAKE))
        assert await store.read_folds(rows.core, keys_of(ids)) == dict.fromkeys(ids, TAKE)

    # --- books ------------------------------------------------------------------------------

    async def test_books_are_read_as_they_were_written(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        another = rows.lane(band="urgent")
        await store.announce_lane(another)
        cells = [BookCell("group:acme/a", 3, b"3"), BookCell("day:acme/2023-11-14", 3, b"4")]
        await store.write_books(lane, cells)
        await store.write_books(another, [BookCell("group:acme/a", 9, b"9")])
        asked = ["group:acme/a", "group:acme/none", "day:acme/2023-11-14"]
        assert sorted(await other_store.read_books(lane, asked)) == sorted(cells)
        assert await store.read_books(lane, []) == []

    async def test_a_book_never_goes_back(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        await store.write_books(lane, [BookCell("group:acme/a", 5, b"new")])
        await other_store.write_books(lane, [BookCell("group:acme/a", 4, b"old")])
        assert await store.read_books(lane, ["group:acme/a"]) == [
            BookCell("group:acme/a", 5, b"new")
        ]
        await other_store.write_books(lane, [BookCell("group:acme/a", 6, b"newer")])
        assert await store.read_books(lane, ["group:acme/a"]) == [
            BookCell("group:acme/a", 6, b"newer")
        ]

    # --- beats, sweep, generations ----------------------------------------------------------

    async def test_a_beat_replaces_the_one_before(self, store: Store, rows: Rows) -> None:
        for value in (7, 8, 3):
            await store.beat(rows.core, Beat(OWNER_A, "scheduler", value))
        assert await store.read_owners(rows.core) == [Beat(OWNER_A, "scheduler", 3)]

    async def test_a_sweep_takes_nothing_that_is_not_old(
        self, store: Store, lane: LaneId, rows: Rows
    ) -> None:
        ids = rows.ids(5)
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        await store.write_messages(rows.core, [message_row(i) for i in ids])
        await store.write_buffer(lane, [buffer_entry(i) for i in ids])
        await store.project(rows.core, timeline_rows(ids, TAKE))
        await store.beat(rows.core, Beat(OWNER_A, "scheduler", 1))
        for _ in range(3):
            await store.sweep(rows.core)
        assert len(await journal_of(store, lane)) == 1
        assert len(await store.read_bodies(rows.core, keys_of(ids))) == 5
        assert len(await read_all(store, lane)) == 5
        assert len(await store.read_folds(rows.core, keys_of(ids))) == 5
        assert len(await store.read_owners(rows.core)) == 1

    async def test_everybody_reads_the_same_generations(
        self, store: Store, other_store: Store, under_test: StoreUnderTest
    ) -> None:
        assert await store.read_generations() == [under_test.generation]
        assert await other_store.read_generations() == [under_test.generation]
