from pathlib import Path

import pytest

from cluster.local import sweep
from cluster.local.schema import connect
from cluster.local.store import LocalStore
from pipeline.lifecycle import Event, step_of
from pipeline.limits import OWNER_TTL_MS, Windows
from pipeline.message import AT_ONCE, MessageId, PartitionKey
from pipeline.ports import Beat
from tests.contract.store_under_test import make_body
from tests.support.local_data import WINDOWS, LocalData, writer_of
from tests.support.swept import OWNER, TABLES, Swept, ids_of_core


async def test_each_table_is_swept_when_its_own_time_is_over(swept: Swept) -> None:
    ids = ids_of_core(swept, 5)
    await swept.write(ids)
    everything = {table: set(ids) for table in TABLES}
    swept.clock.advance(WINDOWS.buffer_ttl_ms)
    await swept.store.sweep(swept.core)
    assert await swept.left(ids) == everything
    swept.clock.advance(1)
    await swept.store.sweep(swept.core)
    assert await swept.left(ids) == everything | {"buffer": set()}
    # The newest block of bodies stays, so another is written behind.
    younger = ids_of_core(swept, 1, kind=1)
    await swept.write(younger)
    swept.clock.advance(WINDOWS.messages_ttl_ms - WINDOWS.buffer_ttl_ms)
    await swept.store.sweep(swept.core)
    left = await swept.left(ids + younger)
    assert left == {
        "messages": set(younger),
        "buffer": set(),
        "timeline": set(younger),
        "idem": set(younger),
    }


@pytest.mark.parametrize(
    "events",
    [[], [Event.CLAIM], [Event.CLAIM, Event.NOT_SENT]],
    ids=["not claimed", "claimed", "to be claimed again"],
)
async def test_a_row_whose_message_has_no_end_stays_as_long_as_its_body(
    swept: Swept, events: list[Event]
) -> None:
    """While no platform runs, or a channel has no connector, nobody says what becomes of it."""
    [waiting] = ids_of_core(swept, 1)
    later = ids_of_core(swept, 2, kind=2)
    await swept.write(ids_of_core(swept, 3, kind=1))
    now = swept.clock.now()
    pk = PartitionKey(waiting)
    await swept.store.write_buffer(swept.lane, [(waiting, pk, now, 1, AT_ONCE, "acme/spring")])
    steps = [step_of(attempt=1, try_no=1, event=event) for event in events]
    await swept.store.project(swept.core, [(waiting, pk, step, now, "") for step in steps])
    await swept.write(later)
    swept.clock.advance(WINDOWS.buffer_ttl_ms + 1)
    await swept.store.sweep(swept.core)
    assert (await swept.left([]))["buffer"] == {waiting, *later}
    swept.clock.advance(WINDOWS.messages_ttl_ms - WINDOWS.buffer_ttl_ms)
    await swept.store.sweep(swept.core)
    assert (await swept.left([]))["buffer"] == set()


async def test_an_id_whose_body_was_swept_can_be_written_anew(swept: Swept) -> None:
    ids = ids_of_core(swept, 2)
    await swept.write(ids)
    assert (await swept.left(ids))["messages"] == set(ids)
    swept.clock.advance(WINDOWS.messages_ttl_ms + 1)
    await swept.write(ids_of_core(swept, 1, kind=1))
    await swept.store.sweep(swept.core)
    assert (await swept.left(ids))["messages"] == set()
    await swept.write(ids)
    assert (await swept.left(ids))["messages"] == set(ids)


async def test_a_block_of_bodies_that_is_not_old_stays(swept: Swept) -> None:
    old, young, newest = (ids_of_core(swept, 2, kind=kind) for kind in range(3))
    await swept.write(old)
    swept.clock.advance(WINDOWS.messages_ttl_ms)
    await swept.write(young)
    await swept.write(newest)
    swept.clock.advance(1)
    await swept.store.sweep(swept.core)
    assert (await swept.left(old + young + newest))["messages"] == set(young + newest)


async def test_no_number_of_a_block_is_given_twice(swept: Swept) -> None:
    def blocks() -> set[int]:
        connection = connect(swept.path)
        numbers = {number for (number,) in connection.execute("SELECT block FROM bodies")}
        groups = {number for (number,) in connection.execute("SELECT block FROM by_group")}
        connection.close()
        assert numbers == groups
        return numbers

    first, second, third = (ids_of_core(swept, 2, kind=kind) for kind in range(3))
    await swept.write(first)
    await swept.write(second)
    assert blocks() == {1, 2}
    swept.clock.advance(WINDOWS.messages_ttl_ms + 1)
    await swept.store.sweep(swept.core)
    assert blocks() == {2}
    await swept.write(third)
    assert blocks() == {2, 3}


async def test_a_trace_names_the_lane_after_its_row_there_is_gone(swept: Swept) -> None:
    ids = ids_of_core(swept, 1)
    await swept.write(ids, body=make_body(priority="bulk"))
    swept.clock.advance(WINDOWS.buffer_ttl_ms + 1)
    await swept.store.sweep(swept.core)
    assert (await swept.left(ids))["buffer"] == set()
    queries = await swept.data.open_queries()
    trace = await queries.trace(ids[0])
    assert trace is not None
    assert trace.lane is not None


async def test_much_is_swept_step_by_step(swept: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEEP_BLOCKS_MAX", 3)
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MAX", 7)
    monkeypatch.setattr(sweep, "SWEEP_ROUND_MS_MAX", 0)
    old = [ids_of_core(swept, 4, kind=kind) for kind in range(10)]
    for ids in old:
        await swept.write(ids)
    swept.clock.advance(WINDOWS.timeline_ttl_ms + 1)
    young = ids_of_core(swept, 3, kind=99)
    await swept.write(young)
    everything = [i for ids in old for i in ids] + young
    steps = 0
    left: dict[str, set[MessageId]] = {}
    while steps < 20 and set(map(len, left.values())) != {3}:
        await swept.store.sweep(swept.core)
        after = await swept.left(everything)
        if left:
            assert all(len(left[table]) - len(after[table]) <= 12 for table in left)
        left = after
        steps += 1
    assert left == {table: set(young) for table in TABLES}
    assert steps > 3


async def test_a_file_in_which_nothing_is_old_is_not_written(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    await swept.write(ids_of_core(swept, 5))
    await swept.store.open_segment(swept.lane, 0, epoch=1, owner=OWNER)
    await swept.append(0, retired_through=-1)
    commits: list[object] = []
    monkeypatch.setattr(writer_of(swept.store, swept.core), "_commit", commits.append)
    for _ in range(3):
        await swept.store.sweep(swept.core)
    assert not commits


async def test_an_entry_goes_when_it_is_both_retired_and_old(swept: Swept) -> None:
    await swept.store.announce_lane(swept.lane)
    await swept.store.open_segment(swept.lane, 0, epoch=1, owner=OWNER)
    for seq in range(4):
        await swept.append(seq, retired_through=None)
    await swept.append(4, retired_through=1)
    await swept.store.sweep(swept.core)
    assert await swept.seqs() == [0, 1, 2, 3, 4], "retired, but not old"
    swept.clock.advance(WINDOWS.journal_ttl_ms + 1)
    await swept.append(5, retired_through=None)
    await swept.store.sweep(swept.core)
    assert await swept.seqs() == [2, 3, 4, 5], "old, but not all of it retired"
    await swept.append(6, retired_through=5)
    await swept.store.sweep(swept.core)
    assert await swept.seqs() == [5, 6], "5 is retired and not old"


async def test_the_newest_checkpoint_stays_whatever_it_says(swept: Swept) -> None:
    await swept.store.announce_lane(swept.lane)
    await swept.store.open_segment(swept.lane, 0, epoch=1, owner=OWNER)
    await swept.append(0, retired_through=-1)
    await swept.append(1, retired_through=9)
    await swept.append(2, retired_through=None)
    swept.clock.advance(WINDOWS.journal_ttl_ms + 1)
    await swept.store.sweep(swept.core)
    assert await swept.seqs() == [1, 2]


async def test_a_journal_without_a_checkpoint_stays(swept: Swept) -> None:
    await swept.store.announce_lane(swept.lane)
    await swept.store.open_segment(swept.lane, 0, epoch=1, owner=OWNER)
    await swept.append(0, retired_through=None)
    assert await swept.store.append(swept.lane, 0, epoch=1, seq=1, body=b"unreadable")
    swept.clock.advance(WINDOWS.journal_ttl_ms + 1)
    await swept.store.sweep(swept.core)
    assert await swept.seqs() == [0, 1]


async def test_what_a_checkpoint_means_may_be_told_by_the_caller(tmp_path: Path) -> None:
    data = LocalData(tmp_path / "data")
    store = LocalStore.open(
        data.folder.path, cores=None, clock=data.clock, windows=WINDOWS, retired_through=int
    )
    swept = Swept(data, store)
    await store.announce_lane(swept.lane)
    await store.open_segment(swept.lane, 0, epoch=1, owner=OWNER)
    for seq in range(3):
        await store.append(swept.lane, 0, epoch=1, seq=seq, body=b"%d" % (seq - 1))
    data.clock.advance(WINDOWS.journal_ttl_ms + 1)
    await store.sweep(swept.core)
    assert await swept.seqs() == [2]
    await store.close()


async def test_an_owner_that_is_long_gone_is_forgotten(swept: Swept) -> None:
    await swept.store.beat(swept.core, Beat(OWNER, "gone", 1))
    swept.clock.advance(OWNER_TTL_MS)
    await swept.store.beat(swept.core, Beat(b"p" * 16, "alive", 1))
    swept.clock.advance(1)
    await swept.store.sweep(swept.core)
    assert await swept.store.read_owners(swept.core) == [Beat(b"p" * 16, "alive", 1)]


async def test_a_long_log_is_moved_into_its_file(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[int] = []
    file = writer_of(swept.store, swept.core)
    move = file._move_wal

    def note() -> None:
        moved.append(1)
        move()

    monkeypatch.setattr(file, "_move_wal", note)
    monkeypatch.setattr(sweep, "WAL_CHECKPOINT_BYTES_MIN", 500_000)
    while file.wal_bytes() < 500_000:
        assert not moved
        await swept.write(ids_of_core(swept, 200, kind=file.wal_bytes()))
        await swept.store.sweep(swept.core)
    assert moved


def test_windows_keep_what_others_need() -> None:
    windows = Windows()
    assert windows.journal_ttl_ms > windows.buffer_ttl_ms
    assert 10 * windows.steal_after_ms < OWNER_TTL_MS
