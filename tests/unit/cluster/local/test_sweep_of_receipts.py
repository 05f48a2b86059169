import sqlite3
from contextlib import closing

from pipeline.instant import earlier
from tests.contract.receipts import providers_row, suppression
from tests.support.local_data import WINDOWS
from tests.support.swept import Swept, ids_of_core


async def test_receipts_go_when_their_time_is_over(swept: Swept) -> None:
    refs = ids_of_core(swept, 2)
    now = swept.clock.now()
    ages = (now, earlier(now, -1))
    rows = [providers_row(ref)._replace(at=at) for ref, at in zip(refs, ages, strict=True)]
    await swept.store.write_receipts(swept.core, rows)
    for left in (rows, rows[1:], []):
        swept.clock.advance(WINDOWS.timeline_ttl_ms if left is rows else 1)
        for _ in range(2):
            await swept.store.sweep(swept.core)
        assert await swept.store.read_receipts(swept.core, refs) == left


async def test_a_suppression_has_no_end_and_a_removed_one_is_forgotten(swept: Swept) -> None:
    keys = ids_of_core(swept, 2)
    now = swept.clock.now()
    rows = [suppression(key)._replace(since=earlier(now, 1)) for key in keys]
    await swept.store.put_suppressions(swept.core, rows)
    await swept.store.remove_suppressions(swept.core, keys[:1], at=now)

    def stored() -> set[bytes]:
        with closing(sqlite3.connect(swept.path)) as connection:
            return {key for (key,) in connection.execute("SELECT key FROM suppressions")}

    swept.clock.advance(WINDOWS.timeline_ttl_ms)
    await swept.store.sweep(swept.core)
    assert stored() == set(keys)
    swept.clock.advance(1)
    for _ in range(2):
        await swept.store.sweep(swept.core)
    assert stored() == {keys[1]}
    assert await swept.store.read_suppressions(swept.core, keys) == {keys[1]: rows[1]}
