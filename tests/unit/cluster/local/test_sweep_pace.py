"""The pace of a sweep is that of what becomes old, and it lets others live."""

import sqlite3

import pytest

from cluster.local import sweep
from cluster.local.schema import connect
from pipeline.limits import SWEEP_ROUND_MS_MAX
from pipeline.message import MessageId
from pipeline.ports import IdempotencyRow
from tests.support.local_data import WINDOWS, writer_of
from tests.support.swept import TABLES, Swept, ids_of_core


async def age(swept: Swept, *, blocks: int) -> list[MessageId]:
    """Let so many blocks be past every time to live; return their ids, and those of a young one."""
    ids = []
    for kind in range(blocks):
        ids += (written := ids_of_core(swept, 4, kind=kind))
        await swept.write(written)
    swept.clock.advance(WINDOWS.timeline_ttl_ms + 1)
    await swept.write(young := ids_of_core(swept, 3, kind=99))
    return ids + young


async def test_a_round_goes_on_while_it_finds_heaps(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEEP_BLOCKS_MAX", 3)
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MAX", 7)
    ids = await age(swept, blocks=10)
    await swept.store.sweep(swept.core)
    # Events and keys go with the body that they belong to.
    assert await swept.left(ids) == {table: set(ids[-3:]) for table in TABLES}


async def test_a_round_ends_after_a_while_and_the_next_one_goes_on(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEEP_BLOCKS_MAX", 2)
    ids = await age(swept, blocks=20)
    file = writer_of(swept.store, swept.core)
    commit = file._commit

    def slowly(connection: sqlite3.Connection) -> None:
        swept.clock.advance(SWEEP_ROUND_MS_MAX // 4)
        commit(connection)

    with monkeypatch.context() as slow:
        slow.setattr(file, "_commit", slowly)
        await swept.store.sweep(swept.core)
    # The pieces of one time are two commits: the buffer, and bodies with what goes with them.
    assert len((await swept.left(ids))["buffer"]) == len(ids) - 2 * (2 * 4)
    await swept.store.sweep(swept.core)
    assert (await swept.left(ids))["buffer"] == set(ids[-3:])


async def test_a_walk_goes_on_while_much_of_it_is_old_and_not_for_little(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MAX", 8)
    ids = sorted(ids_of_core(swept, 64))
    seldom, often = ids[:32], ids[32:]
    old = [*seldom[::8], *often[::2]]
    await swept.store.put_idempotency([IdempotencyRow(i, i, swept.clock.now()) for i in old])
    swept.clock.advance(WINDOWS.idem_life_ms + 1)
    young = [IdempotencyRow(i, i, swept.clock.now()) for i in set(ids) - set(old)]
    await swept.store.put_idempotency(young)

    def left() -> set[MessageId]:
        connection = connect(swept.path)
        found = {MessageId(id_) for (id_,) in connection.execute("SELECT id FROM idem")}
        connection.close()
        return found & set(old)

    await swept.store.sweep(swept.core)
    assert len(left()) == len(old) - 1, "one of eight: the next stretch has time"
    for _ in range(3):
        await swept.store.sweep(swept.core)
    assert left() == set(often[::2])
    await swept.store.sweep(swept.core)
    assert not left(), "one of two: the walk went on"
