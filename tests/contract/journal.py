"""What the journals of every store promise: who owns a lane, and what it may append."""

import asyncio

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.lane_id import LaneId
from pipeline.ports import JournalEntry, Ownership
from tests.contract.store_under_test import (
    OWNER_A,
    OWNER_B,
    Store,
    StoreUnderTest,
    journal_of,
)


class JournalContract:
    # --- ownership --------------------------------------------------------------------------

    async def test_a_segment_that_was_never_opened_has_no_owner(
        self, store: Store, lane: LaneId
    ) -> None:
        assert await store.read_ownership(lane, 0) is None

    async def test_a_segment_is_opened_once(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        assert await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert not await other_store.open_segment(lane, 0, epoch=1, owner=OWNER_B)
        assert not await store.open_segment(lane, 0, epoch=2, owner=OWNER_A)
        assert await other_store.read_ownership(lane, 0) == Ownership(1, OWNER_A)

    async def test_segments_have_owners_of_their_own(self, store: Store, lane: LaneId) -> None:
        assert await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert await store.open_segment(lane, 1, epoch=3, owner=OWNER_B)
        assert await store.read_ownership(lane, 0) == Ownership(1, OWNER_A)
        assert await store.read_ownership(lane, 1) == Ownership(3, OWNER_B)

    async def test_a_take_over_needs_the_epoch_that_stands(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        assert not await store.take_over(lane, 0, expected_epoch=0, owner=OWNER_A)
        assert await store.read_ownership(lane, 0) is None
        await store.open_segment(lane, 0, epoch=5, owner=OWNER_A)
        assert not await other_store.take_over(lane, 0, expected_epoch=4, owner=OWNER_B)
        assert not await other_store.take_over(lane, 0, expected_epoch=6, owner=OWNER_B)
        assert await store.read_ownership(lane, 0) == Ownership(5, OWNER_A)
        assert await other_store.take_over(lane, 0, expected_epoch=5, owner=OWNER_B)
        assert await store.read_ownership(lane, 0) == Ownership(6, OWNER_B)

    async def test_of_two_that_open_a_segment_at_once_one_does(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        for segment in range(10):
            opened = await asyncio.gather(
                store.open_segment(lane, segment, epoch=1, owner=OWNER_A),
                other_store.open_segment(lane, segment, epoch=1, owner=OWNER_B),
            )
            assert sorted(opened) == [False, True]
            winner = OWNER_A if opened[0] else OWNER_B
            assert await store.read_ownership(lane, segment) == Ownership(1, winner)

    async def test_of_two_that_take_over_at_once_one_does(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        for epoch in range(1, 21):
            taken = await asyncio.gather(
                store.take_over(lane, 0, expected_epoch=epoch, owner=OWNER_A),
                other_store.take_over(lane, 0, expected_epoch=epoch, owner=OWNER_B),
            )
            assert sorted(taken) == [False, True]
            winner = OWNER_A if taken[0] else OWNER_B
            assert await store.read_ownership(lane, 0) == Ownership(epoch + 1, winner)

    async def test_a_take_over_whose_answer_was_lost_is_seen_in_the_cells(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId
    ) -> None:
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert not await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert await store.read_ownership(lane, 0) == Ownership(1, OWNER_A)
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.take_over(lane, 0, expected_epoch=1, owner=OWNER_B)
        assert not await store.take_over(lane, 0, expected_epoch=1, owner=OWNER_B)
        assert await store.read_ownership(lane, 0) == Ownership(2, OWNER_B)

    async def test_a_take_over_that_was_refused_fences_nobody(
        self, store: Store, other_store: Store, under_test: StoreUnderTest, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        with under_test.refusing_writes(other_store), pytest.raises(StoreUnavailable):
            await other_store.take_over(lane, 0, expected_epoch=1, owner=OWNER_B)
        assert await store.append(lane, 0, epoch=1, seq=0, body=b"still mine")

    # --- append -----------------------------------------------------------------------------

    async def test_an_append_under_the_epoch_that_stands_is_read_back(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert await store.append(lane, 0, epoch=1, seq=0, body=b"")
        assert await store.append(lane, 0, epoch=1, seq=1, body=b"x" * 65_536)
        assert await journal_of(other_store, lane) == [
            JournalEntry(1, b"x" * 65_536),
            JournalEntry(0, b""),
        ]

    async def test_an_append_to_a_segment_that_is_missing_refuses(
        self, store: Store, lane: LaneId
    ) -> None:
        assert not await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert not await store.append(lane, 1, epoch=1, seq=0, body=b"body")
        assert await store.read_ownership(lane, 1) is None
        assert await journal_of(store, lane) == await journal_of(store, lane, 1) == []

    @pytest.mark.parametrize("epoch", [1, 3, -2])
    async def test_an_append_under_another_epoch_refuses(
        self, store: Store, lane: LaneId, epoch: int
    ) -> None:
        await store.open_segment(lane, 0, epoch=2, owner=OWNER_A)
        assert not await store.append(lane, 0, epoch=epoch, seq=0, body=b"body")
        assert await journal_of(store, lane) == []

    async def test_an_owner_that_was_deposed_appends_nothing_more(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert await store.append(lane, 0, epoch=1, seq=0, body=b"mine")
        await other_store.take_over(lane, 0, expected_epoch=1, owner=OWNER_B)
        assert not await store.append(lane, 0, epoch=1, seq=1, body=b"too late")
        assert await other_store.append(lane, 0, epoch=2, seq=1, body=b"the successor's")
        assert await journal_of(store, lane) == [
            JournalEntry(1, b"the successor's"),
            JournalEntry(0, b"mine"),
        ]

    async def test_a_repeat_of_an_append_has_the_same_answer_and_changes_nothing(
        self, store: Store, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        for _ in range(3):
            assert await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        assert await journal_of(store, lane) == [JournalEntry(0, b"body")]

    async def test_an_append_whose_answer_was_lost_is_confirmed_by_its_repeat(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        assert await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        assert await journal_of(store, lane) == [JournalEntry(0, b"body")]

    async def test_an_append_whose_answer_was_lost_and_that_was_fenced_since_refuses(
        self, store: Store, other_store: Store, under_test: StoreUnderTest, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        await other_store.take_over(lane, 0, expected_epoch=1, owner=OWNER_B)
        assert not await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        # The successor judges what it finds.
        assert await journal_of(other_store, lane) == [JournalEntry(0, b"body")]

    async def test_an_append_that_was_refused_is_not_in_the_journal(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.append(lane, 0, epoch=1, seq=0, body=b"body")
        assert await journal_of(store, lane) == []

    async def test_other_bytes_under_a_seq_that_is_taken_never_replace_it(
        self, store: Store, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        await store.append(lane, 0, epoch=1, seq=0, body=b"first")
        assert not await store.append(lane, 0, epoch=1, seq=0, body=b"second")
        assert await journal_of(store, lane) == [JournalEntry(0, b"first")]

    async def test_after_a_take_over_no_append_of_the_older_epoch_is_made(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        seq = 0
        for epoch in range(1, 11):
            deposed, heir = (store, other_store) if epoch % 2 else (other_store, store)

            async def append_until_fenced(
                owner: Store = deposed, epoch: int = epoch, seq: int = seq
            ) -> int:
                while await owner.append(lane, 0, epoch=epoch, seq=seq, body=b"%d" % epoch):
                    seq += 1
                return seq

            appending = asyncio.create_task(append_until_fenced())
            while len(await journal_of(heir, lane)) <= seq + epoch % 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert await heir.take_over(lane, 0, expected_epoch=epoch, owner=OWNER_B)
            seen = await journal_of(heir, lane)
            seq = await appending
            assert await journal_of(heir, lane) == seen
            assert [entry.seq for entry in seen] == list(range(seq - 1, -1, -1))

    async def test_appends_that_run_at_once_are_made_each(self, store: Store, lane: LaneId) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        applied = await asyncio.gather(
            *(store.append(lane, 0, epoch=1, seq=seq, body=b"%d" % seq) for seq in range(50))
        )
        assert all(applied)
        assert [entry.body for entry in await journal_of(store, lane)] == [
            b"%d" % seq for seq in reversed(range(50))
        ]

    # --- read_journal -----------------------------------------------------------------------

    async def test_a_journal_is_read_newest_first_page_by_page(
        self, store: Store, lane: LaneId
    ) -> None:
        await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        for seq in range(7):
            await store.append(lane, 0, epoch=1, seq=seq, body=b"%d" % seq)
        pages: list[list[int]] = []
        before: int | None = None
        while entries := await store.read_journal(lane, 0, before_seq=before, limit=3):
            pages.append([entry.seq for entry in entries])
            before = entries[-1].seq
        assert pages == [[6, 5, 4], [3, 2, 1], [0]]
