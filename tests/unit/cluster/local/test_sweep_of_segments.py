import pytest

from cluster.local import sweep
from pipeline.ports import Ownership
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
    # Else who still looks for it could open it.
    assert await store.read_ownership(lane, 0) == Ownership(-1, OWNER)
    assert not await store.open_segment(lane, 0, epoch=9, owner=OWNER)
