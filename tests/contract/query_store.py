"""What every `QueryStore` promises.  A store's test file subclasses this and gives a store."""

from collections.abc import Sequence

import pytest

from pipeline.instant import Instant
from pipeline.lane_id import LaneId, band_of
from pipeline.later import MessageOutcome, NewestEvent
from pipeline.lifecycle import Event, Step, step_of
from pipeline.limits import EXPORT_PAGE_BYTES_MAX
from pipeline.message import Body, MessageId, PartitionKey, group_key
from pipeline.ports import Beat, BookCell, JournalEntry, MessageSummary, Ownership, QueryStore
from tests.contract.store_under_test import (
    BORN,
    OWNER_A,
    Rows,
    Store,
    StoreUnderTest,
    all_pages,
    buffer_entry,
    make_body,
    message_row,
    read_all,
)

STEPS = {event: step_of(attempt=1, try_no=1, event=event) for event in Event}


async def project(store: Store, rows: Rows, ids: Sequence[MessageId], *events: Event) -> None:
    for event in events:
        await store.project(
            rows.core,
            [
                (message_id, PartitionKey(message_id), STEPS[event], Instant(BORN + event), "file")
                for message_id in ids
            ],
        )


async def in_state(queries: QueryStore, *events: Event, limit: int = 1_000) -> list[MessageSummary]:
    return await all_pages(
        lambda after: queries.messages_in_state(events, limit=limit, after=after), limit=limit
    )


async def in_group(queries: QueryStore, group: str, *, limit: int = 1_000) -> list[MessageSummary]:
    return await all_pages(
        lambda after: queries.messages_in_group(group, limit=limit, after=after), limit=limit
    )


async def outcomes_in_group(
    queries: QueryStore, group: str, *, limit: int = 1_000
) -> list[MessageOutcome]:
    return await all_pages(
        lambda after: queries.outcomes_in_group(group, limit=limit, after=after), limit=limit
    )


class QueryStoreContract:
    async def test_data_that_nobody_wrote_to_has_answers(
        self, queries: QueryStore, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        lane = rows.lane()
        assert await queries.read_generations() == [under_test.generation]
        assert await queries.list_lanes() == []
        assert await queries.read_ownership(lane, 0) is None
        assert await queries.read_owners(rows.core) == []
        assert await queries.read_journal(lane, 0, before_seq=None, limit=10) == []
        assert await queries.count_buffer(lane, from_at=Instant(0)) == {}
        assert await queries.unprojected(lane, from_at=Instant(0), limit=10) == []
        assert await queries.books("group:") == []
        assert await queries.trace(rows.ids(1)[0]) is None
        assert await in_state(queries, *Event) == []
        assert await in_group(queries, "acme/spring") == []

    async def test_what_actors_write_is_read(
        self, queries: QueryStore, store: Store, rows: Rows, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        for seq in range(3):
            await store.append(lane, 0, epoch=1, seq=seq, body=b"%d" % seq)
        await store.beat(rows.core, Beat(OWNER_A, "scheduler", 1))
        assert await queries.read_ownership(lane, 0) == Ownership(1, OWNER_A)
        assert await queries.read_owners(rows.core) == [Beat(OWNER_A, "scheduler", 1)]
        assert await queries.read_journal(lane, 0, before_seq=2, limit=10) == [
            JournalEntry(1, b"1"),
            JournalEntry(0, b"0"),
        ]

    async def test_a_later_question_sees_what_was_written_since(
        self, queries: QueryStore, store: Store, rows: Rows, lane: LaneId
    ) -> None:
        assert await queries.count_buffer(lane, from_at=Instant(0)) == {}
        await store.write_buffer(lane, [buffer_entry(i) for i in rows.ids(2)])
        assert await queries.count_buffer(lane, from_at=Instant(0)) == {"acme/spring": 2}

    async def test_lanes_of_every_core_are_listed(
        self, queries: QueryStore, store: Store, under_test: StoreUnderTest
    ) -> None:
        lanes = {
            Rows(under_test.generation, core).lane(band=band)
            for core in under_test.generation.cores
            for band in ("urgent", "bulk-3")
        }
        for lane in lanes:
            await store.announce_lane(lane)
        assert set(await queries.list_lanes()) == lanes

    async def test_the_buffer_is_counted_by_group_each_id_once(
        self, queries: QueryStore, store: Store, rows: Rows, lane: LaneId
    ) -> None:
        ids = rows.ids(10)
        await store.write_buffer(
            lane,
            [buffer_entry(i, group="acme/a" if n < 4 else "acme/b") for n, i in enumerate(ids)],
        )
        await store.write_buffer(lane, [buffer_entry(i, group="acme/b") for i in ids[8:]])
        assert await queries.count_buffer(lane, from_at=Instant(0)) == {"acme/a": 4, "acme/b": 6}
        written = await read_all(store, lane)
        assert await queries.count_buffer(lane, from_at=written[3][0]) == {
            "acme/a": 1,
            "acme/b": 6,
        }
        assert await queries.count_buffer(lane, from_at=Instant(written[-1][0] + 1)) == {}

    async def test_rows_without_events_are_found(
        self, queries: QueryStore, store: Store, rows: Rows, lane: LaneId
    ) -> None:
        ids = rows.ids(10)
        await store.write_buffer(lane, [buffer_entry(i) for i in ids])
        await project(
            store, rows, [i for n, i in enumerate(ids) if n not in (2, 5, 8)], Event.CLAIM
        )
        written = await read_all(store, lane)
        missed = [written[2], written[5], written[8]]
        assert await queries.unprojected(lane, from_at=Instant(0), limit=10) == missed
        assert await queries.unprojected(lane, from_at=Instant(0), limit=2) == missed[:2]
        assert await queries.unprojected(lane, from_at=missed[1][0], limit=10) == missed[1:]

    async def test_books_are_found_by_prefix_over_all_lanes(
        self, queries: QueryStore, store: Store, under_test: StoreUnderTest
    ) -> None:
        expected = []
        for number, core in enumerate(under_test.generation.cores):
            lane = Rows(under_test.generation, core).lane()
            await store.announce_lane(lane)
            cell = BookCell("group:acme/spring", number, b"counts")
            others = [
                BookCell("group:acme/s", 0, b""),
                BookCell("group:acme/summer", 0, b""),
                BookCell("day:acme/2023-11-14", 0, b""),
            ]
            await store.write_books(lane, [cell, *others])
            expected.append((lane, cell))
        assert sorted(await queries.books("group:acme/sp")) == sorted(expected)
        assert len(await queries.books("group:")) == 3 * len(expected)
        assert len(await queries.books("")) == 4 * len(expected)
        assert await queries.books("group:acme/springs") == []

    # --- one message ------------------------------------------------------------------------

    async def test_a_trace_tells_all_that_is_known(
        self, queries: QueryStore, store: Store, rows: Rows
    ) -> None:
        [message_id] = rows.ids(1)
        lane = rows.lane(band=band_of(tenant="acme", priority="bulk"))
        body = make_body("hello", priority="bulk")
        await store.announce_lane(lane)
        await store.write_messages(rows.core, [message_row(message_id, body=body)])
        await store.write_buffer(lane, [buffer_entry(message_id)])
        await project(store, rows, [message_id], Event.TAKE, Event.CLAIM)
        trace = await queries.trace(message_id)
        assert trace is not None
        assert trace[:4] == (message_id, BORN, lane, body)
        assert list(trace.events) == [
            (BORN + Event.CLAIM, STEPS[Event.CLAIM], "file"),
            (BORN + Event.TAKE, STEPS[Event.TAKE], "file"),
        ]

    async def test_a_trace_knows_the_lane_before_anything_happened(
        self, queries: QueryStore, store: Store, rows: Rows
    ) -> None:
        ids = rows.ids(2_000)
        lane = rows.lane(band="urgent")
        await store.announce_lane(lane)
        await store.write_messages(rows.core, [message_row(i) for i in ids])
        await store.write_buffer(lane, [buffer_entry(i) for i in ids])
        for message_id in (ids[0], ids[1_500], ids[-1]):
            trace = await queries.trace(message_id)
            assert trace is not None
            assert trace.lane == lane
            assert list(trace.events) == []

    async def test_a_trace_of_what_is_in_no_buffer_has_no_lane(
        self, queries: QueryStore, store: Store, rows: Rows
    ) -> None:
        [message_id, other_id] = rows.ids(2)
        lane = rows.lane(band="urgent")
        await store.announce_lane(lane)
        await store.write_buffer(lane, [buffer_entry(other_id)])
        await store.write_messages(rows.core, [message_row(message_id)])
        trace = await queries.trace(message_id)
        assert trace is not None
        assert trace.lane is None

    async def test_a_trace_finds_a_message_that_lies_with_its_ordering_key(
        self, queries: QueryStore, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        elsewhere = next(core for core in under_test.generation.cores if core != rows.core)
        [message_id] = Rows(under_test.generation, elsewhere).ids(1)
        lane = rows.lane(band="urgent")
        pk = PartitionKey(rows.ids(1)[0])
        await store.announce_lane(lane)
        await store.write_messages(rows.core, [message_row(message_id, pk=pk)])
        await store.write_buffer(lane, [buffer_entry(message_id, pk=pk)])
        trace = await queries.trace(message_id)
        assert trace is not None
        assert trace.lane == lane

    # --- lists ------------------------------------------------------------------------------

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 1_000])
    async def test_messages_are_listed_by_the_state_they_are_in_now(
        self, queries: QueryStore, store: Store, under_test: StoreUnderTest, limit: int
    ) -> None:
        expected: dict[Event, dict[MessageId, Step]] = {}
        for core in under_test.generation.cores:
            rows = Rows(under_test.generation, core)
            for event, before in (
                (Event.LOSE_ANSWER, [Event.CLAIM]),
                (Event.REFUSE, [Event.CLAIM]),
                (Event.TAKE, [Event.CLAIM, Event.LOSE_ANSWER]),
                (Event.CLAIM, []),
                (Event.EXPIRE, []),
            ):
                ids = rows.ids(2)
                await store.write_messages(core, [message_row(i) for i in ids])
                await project(store, rows, ids, *before, event)
                expected.setdefault(event, {}).update(dict.fromkeys(ids, STEPS[event]))
        for events in (
            [Event.LOSE_ANSWER],
            [Event.REFUSE],
            [Event.EXPIRE, Event.REFUSE, Event.LOSE_ANSWER],
            [Event.TAKE],
            [Event.CLAIM, Event.REFUSE],
            [Event.DELIVER],
        ):
            found = await in_state(queries, *events, limit=limit)
            steps = {message.id: message.step for message in found}
            assert len(found) == len(steps)
            assert steps == {i: s for e in events for i, s in expected.get(e, {}).items()}
            assert {message.born for message in found} <= {BORN}

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 1_000])
    async def test_messages_are_listed_by_group(
        self, queries: QueryStore, store: Store, under_test: StoreUnderTest, limit: int
    ) -> None:
        mine, other = group_key("acme", "mine"), group_key("acme", "other")
        expected: dict[MessageId, tuple[bytes, Step | None]] = {}
        for core in under_test.generation.cores:
            rows = Rows(under_test.generation, core)
            for _ in range(2):
                ids = rows.ids(5)
                written = [
                    message_row(i, group=mine if n % 2 else other) for n, i in enumerate(ids)
                ]
                await store.write_messages(core, written)
                await project(store, rows, [ids[1]], Event.CLAIM)
                expected[ids[1]] = (written[1][4], STEPS[Event.CLAIM])
                expected[ids[3]] = (written[3][4], None)
        found = await in_group(queries, mine, limit=limit)
        assert len(found) == len(expected)
        assert {message.id: (message.body, message.step) for message in found} == expected
        assert await in_group(queries, group_key("acme", "none"), limit=limit) == []

    @pytest.mark.parametrize("limit", [1, 3, 100])
    async def test_a_message_that_was_sent_again_among_others_is_listed_once(
        self, queries: QueryStore, store: Store, rows: Rows, limit: int
    ) -> None:
        ids = rows.ids(6)
        written = [message_row(id_) for id_ in ids]
        for part in (written[:3], written[:3], written[2:5], [*written[4:], written[0]]):
            await store.write_messages(rows.core, part)
        listed = await in_group(queries, "acme/spring", limit=limit)
        assert sorted(message.id for message in listed) == sorted(ids)
        # Whoever sends it again in another group changes nothing.
        await store.write_messages(rows.core, [message_row(ids[1], group="acme/autumn")])
        assert await in_group(queries, "acme/autumn", limit=limit) == []
        assert len(await outcomes_in_group(queries, "acme/spring", limit=limit)) == 6

    @pytest.mark.parametrize("limit", [1, 7, 100])
    async def test_messages_of_one_ordering_key_are_listed_like_others(
        self, queries: QueryStore, store: Store, rows: Rows, limit: int
    ) -> None:
        pks = [PartitionKey(id_) for id_ in rows.ids(2)]
        ids = rows.ids(40)
        pk_of = {id_: pks[n % 2] for n, id_ in enumerate(ids)}
        await store.write_messages(rows.core, [message_row(i, pk=pk_of[i]) for i in ids])
        for event in (Event.CLAIM, Event.TAKE):
            await store.project(
                rows.core, [(i, pk_of[i], STEPS[event], BORN, "") for i in ids if i != ids[3]]
            )
        sent = await in_state(queries, Event.TAKE, limit=limit)
        assert sorted(message.id for message in sent) == sorted(i for i in ids if i != ids[3])
        listed = await in_group(queries, "acme/spring", limit=limit)
        assert {message.id: message.step for message in listed} == {
            i: None if i == ids[3] else STEPS[Event.TAKE] for i in ids
        }

    @pytest.mark.parametrize("limit", [1, 4, 100])
    async def test_an_export_has_every_message_of_a_group_once_with_its_newest_event(
        self, queries: QueryStore, store: Store, under_test: StoreUnderTest, limit: int
    ) -> None:
        assert await outcomes_in_group(queries, "acme/spring", limit=limit) == []
        expected: list[MessageOutcome] = []
        for core in under_test.generation.cores:
            rows = Rows(under_test.generation, core)
            ids = rows.ids(7)
            written = [message_row(i, body=make_body(i.hex())) for i in ids[:6]]
            await store.write_messages(core, [*written, message_row(ids[6], group="acme/other")])
            await project(store, rows, ids[:4], Event.CLAIM)
            await project(store, rows, ids[:2], Event.TAKE)
            for n, row in enumerate(written):
                event = Event.TAKE if n < 2 else Event.CLAIM if n < 4 else None
                newest = None
                if event is not None:
                    newest = NewestEvent(Instant(BORN + event), STEPS[event], "file")
                expected.append(MessageOutcome(row[0], BORN, row[4], newest))
        found = await outcomes_in_group(queries, "acme/spring", limit=limit)
        assert sorted(found, key=lambda row: row.id) == sorted(expected, key=lambda row: row.id)

    async def test_a_page_of_long_bodies_is_bounded(
        self, queries: QueryStore, store: Store, rows: Rows
    ) -> None:
        long = EXPORT_PAGE_BYTES_MAX // 10
        ids = rows.ids(25)
        await store.write_messages(
            rows.core, [message_row(i, body=Body(i + bytes(long))) for i in ids]
        )
        page, after = await queries.outcomes_in_group("acme/spring", limit=25, after=None)
        assert 1 <= len(page) <= 11
        assert after is not None
        found = await outcomes_in_group(queries, "acme/spring", limit=25)
        assert sorted(row.id for row in found) == sorted(ids)
