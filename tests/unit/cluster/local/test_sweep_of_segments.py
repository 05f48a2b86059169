import pytest

from cluster.local import sweep
from pipeline.ports import Ownership, Segment
from tests.support.local_data import WINDOWS
from tests.support.swept import OWNER, Swept


async def seqs_of(swept: Swept, segment: int) -> list[int]:
    entries = await swept.store.read_journal(swept.lane, segment, before_seq=None, limit=1_000)
    return [entry.seq for entry in reversed(entries)]


async def test_old_segments_become_empty_one_after_the_other_and_stay_closed(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MAX", 2)
    store, lane = swept.store, swept.lane
    await store.announce_lane(lane)
    for segment in range(3):
        assert await store.open_segment(lane, segment, epoch=1, owner=OWNER)
        for seq in range(3 * segment, 3 * segment + 3):
            is_last = seq == 8
            await swept.append(seq, segment=segment, retired_through=4 if is_last else None)
        if segment < 2:
            assert await store.close_segment(lane, segment, epoch=1)
    swept.clock.advance(WINDOWS.journal_ttl_ms + 1)
    left = list(range(9))
    for _ in range(5):
        await store.sweep(swept.core)
        before, left = left, [seq for n in range(3) for seq in await seqs_of(swept, n)]
        assert left == before[len(before) - len(left) :], "an entry is gone before an older one"
    assert left == [5, 6, 7, 8], "5 is not retired"
    # Nothing is left of the first, and nobody who still looks for it opens it.
    assert await store.read_ownership(lane, 0) is None
    assert not await store.open_segment(lane, 0, epoch=9, owner=OWNER)
    assert await store.read_ownership(lane, 1) == Ownership(-1, OWNER)
    assert await store.newest_segment(lane) == Segment(2, Ownership(1, OWNER))


async def test_of_many_segments_few_are_left(swept: Swept) -> None:
    store, lane = swept.store, swept.lane
    await store.announce_lane(lane)
    for segment in range(30):
        await store.write_segment_hint(lane, segment)
        assert await store.open_segment(lane, segment, epoch=1, owner=OWNER)
        await swept.append(segment, segment=segment, retired_through=segment - 1)
        if segment < 29:
            assert await store.close_segment(lane, segment, epoch=1)
        swept.clock.advance(WINDOWS.journal_ttl_ms // 3)
        for _ in range(2):
            await store.sweep(swept.core)
    left = [n for n in range(30) if await store.read_ownership(lane, n) is not None]
    assert len(left) <= 5
    assert left == list(range(left[0], 30))
    assert await store.newest_segment(lane) == Segment(29, Ownership(1, OWNER))
