"""What every store promises of a journal that goes on in another segment."""

import asyncio

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.lane_id import LaneId
from pipeline.ports import JournalEntry, Ownership, QueryStore, Segment
from tests.contract.store_under_test import OWNER_A, OWNER_B, Rows, Store, StoreUnderTest


async def journal_of(store: Store, lane: LaneId, segment: int) -> list[JournalEntry]:
    return await store.read_journal(lane, segment, before_seq=None, limit=10_000)


async def roll(store: Store, lane: LaneId, segment: int, *, epoch: int) -> None:
    """Close a segment and open the next, as an owner does between two definite answers."""
    await store.write_segment_hint(lane, segment + 1)
    assert await store.close_segment(lane, segment, epoch=epoch)
    assert await store.open_segment(lane, segment + 1, epoch=epoch, owner=OWNER_A)


class SegmentsContract:
    @pytest.fixture
    async def lane(self, store: Store, rows: Rows) -> LaneId:
        lane = rows.lane()
        await store.announce_lane(lane)
        assert await store.open_segment(lane, 0, epoch=3, owner=OWNER_A)
        return lane

    # --- closing ----------------------------------------------------------------------------

    async def test_a_closed_segment_has_the_negative_of_its_epoch_and_its_entries(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        assert await store.append(lane, 0, epoch=3, seq=0, body=b"body")
        assert await store.close_segment(lane, 0, epoch=3)
        assert await other_store.read_ownership(lane, 0) == Ownership(-3, OWNER_A)
        assert await journal_of(other_store, lane, 0) == [JournalEntry(0, b"body")]

    @pytest.mark.parametrize("epoch", [2, 4, -3])
    async def test_a_segment_is_closed_under_its_epoch_only(
        self, store: Store, lane: LaneId, epoch: int
    ) -> None:
        assert not await store.close_segment(lane, 0, epoch=epoch)
        assert not await store.close_segment(lane, 1, epoch=3)
        assert await store.read_ownership(lane, 0) == Ownership(3, OWNER_A)
        assert await store.read_ownership(lane, 1) is None

    @pytest.mark.parametrize("epoch", [-3, 3, 0])
    async def test_a_closed_segment_stays_closed(
        self, store: Store, other_store: Store, lane: LaneId, epoch: int
    ) -> None:
        assert await store.append(lane, 0, epoch=3, seq=0, body=b"first")
        assert await store.close_segment(lane, 0, epoch=3)
        assert not await store.close_segment(lane, 0, epoch=epoch)
        assert not await store.append(lane, 0, epoch=epoch, seq=0, body=b"first")
        assert not await store.append(lane, 0, epoch=epoch, seq=1, body=b"second")
        assert not await other_store.take_over(lane, 0, expected_epoch=epoch, owner=OWNER_B)
        assert not await other_store.open_segment(lane, 0, epoch=epoch, owner=OWNER_B)
        assert await store.read_ownership(lane, 0) == Ownership(-3, OWNER_A)
        assert await journal_of(store, lane, 0) == [JournalEntry(0, b"first")]

    async def test_a_close_whose_answer_was_lost_is_seen_in_the_cells(
        self, store: Store, under_test: StoreUnderTest, lane: LaneId
    ) -> None:
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.close_segment(lane, 0, epoch=3)
        assert await store.append(lane, 0, epoch=3, seq=0, body=b"still open")
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.close_segment(lane, 0, epoch=3)
        assert not await store.close_segment(lane, 0, epoch=3)
        assert await store.read_ownership(lane, 0) == Ownership(-3, OWNER_A)

    async def test_nothing_is_appended_after_a_close_and_nothing_that_was_is_lost(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        seq = 0
        for segment in range(10):

            async def append_until_closed(segment: int = segment, seq: int = seq) -> int:
                while await store.append(lane, segment, epoch=3, seq=seq, body=b"%d" % seq):
                    seq += 1
                return seq

            appending = asyncio.create_task(append_until_closed())
            while len(await journal_of(other_store, lane, segment)) <= segment % 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert await other_store.close_segment(lane, segment, epoch=3)
            seen = await journal_of(other_store, lane, segment)
            first, seq = seq, await appending
            assert await journal_of(store, lane, segment) == seen
            assert [entry.seq for entry in seen] == list(range(seq - 1, first - 1, -1))
            assert await store.open_segment(lane, segment + 1, epoch=3, owner=OWNER_A)

    async def test_of_a_close_and_a_take_over_at_once_one_applies(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        for segment in range(10):
            closed, taken = await asyncio.gather(
                store.close_segment(lane, segment, epoch=3),
                other_store.take_over(lane, segment, expected_epoch=3, owner=OWNER_B),
            )
            assert closed != taken
            cells = Ownership(-3, OWNER_A) if closed else Ownership(4, OWNER_B)
            assert await store.read_ownership(lane, segment) == cells
            assert await store.open_segment(lane, segment + 1, epoch=3, owner=OWNER_A)

    # --- rolling and finding ----------------------------------------------------------------

    async def test_a_journal_goes_on_in_the_next_segment(self, store: Store, lane: LaneId) -> None:
        for seq in range(6):
            segment = seq // 2
            assert await store.append(lane, segment, epoch=3, seq=seq, body=b"%d" % seq)
            if seq % 2:
                await roll(store, lane, segment, epoch=3)
        for segment in range(3):
            seqs = [2 * segment + 1, 2 * segment]
            assert [entry.seq for entry in await journal_of(store, lane, segment)] == seqs
            assert await store.read_journal(lane, segment, before_seq=seqs[0], limit=9) == [
                JournalEntry(seqs[1], b"%d" % seqs[1])
            ]
        assert await journal_of(store, lane, 3) == []

    async def test_the_newest_segment_is_found_whatever_of_a_roll_was_done(
        self, store: Store, other_store: Store, queries: QueryStore, rows: Rows
    ) -> None:
        lane = rows.lane(band="urgent")
        await store.announce_lane(lane)

        async def found() -> Segment | None:
            seen = [await reader.newest_segment(lane) for reader in (store, other_store, queries)]
            assert seen[0] == seen[1] == seen[2]
            return seen[0]

        assert await found() is None
        assert await store.open_segment(lane, 0, epoch=1, owner=OWNER_A)
        assert await found() == Segment(0, Ownership(1, OWNER_A))
        for number in range(3):
            await store.write_segment_hint(lane, number + 1)
            assert await found() == Segment(number, Ownership(1, OWNER_A))
            assert await store.close_segment(lane, number, epoch=1)
            assert await found() == Segment(number, Ownership(-1, OWNER_A))
            assert await store.open_segment(lane, number + 1, epoch=1, owner=OWNER_A)
            assert await found() == Segment(number + 1, Ownership(1, OWNER_A))

    async def test_whoever_finds_a_closed_segment_and_none_behind_opens_it_once(
        self, store: Store, other_store: Store, lane: LaneId
    ) -> None:
        assert await store.close_segment(lane, 0, epoch=3)
        opened = await asyncio.gather(
            store.open_segment(lane, 1, epoch=3, owner=OWNER_A),
            other_store.open_segment(lane, 1, epoch=4, owner=OWNER_B),
        )
        assert sorted(opened) == [False, True]
        winner = Ownership(3, OWNER_A) if opened[0] else Ownership(4, OWNER_B)
        assert await store.newest_segment(lane) == Segment(1, winner)

    # --- hints ------------------------------------------------------------------------------

    async def test_a_hint_never_goes_back(
        self, store: Store, other_store: Store, lane: LaneId, rows: Rows
    ) -> None:
        assert await store.read_segment_hint(lane) == 0
        for segment, hinted in ((1, 1), (1, 1), (7, 7), (3, 7), (8, 8)):
            await store.write_segment_hint(lane, segment)
            assert await other_store.read_segment_hint(lane) == hinted
        assert await store.read_segment_hint(rows.lane(band="urgent")) == 0
