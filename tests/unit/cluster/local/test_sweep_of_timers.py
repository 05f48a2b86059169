from typing import Any

import pytest

from cluster.local import sweep, timers
from cluster.local.writer import Transaction
from pipeline.instant import earlier, later
from pipeline.lifecycle import Event, step_of
from pipeline.limits import SCHEDULE_MS_MAX
from pipeline.message import Body, PartitionKey, TimerRow
from pipeline.ports import IdempotencyRow
from tests.support.fake_clock import NOW
from tests.support.local_data import WINDOWS
from tests.support.swept import TAKE, Swept, ids_of_core

DAY_MS = 86_400_000


async def test_a_timer_goes_when_it_was_due_long_ago_and_its_message_has_an_end(
    swept: Swept,
) -> None:
    ids = sorted(ids_of_core(swept, 3))
    await swept.store.announce_lane(swept.lane)
    due = [later(swept.clock.now(), hours * 3_600_000) for hours in range(3)]
    written: list[TimerRow] = [
        (due_at, id_, PartitionKey(id_), NOW, 1, "acme/spring")
        for due_at, id_ in zip(due, ids, strict=True)
    ]
    await swept.store.write_timers(swept.lane, written)
    await swept.store.project(
        swept.core, [(id_, PartitionKey(id_), TAKE, due[2], "") for id_ in (ids[0], ids[2])]
    )
    swept.clock.advance(WINDOWS.buffer_ttl_ms)
    await swept.store.sweep(swept.core)
    assert await swept.timers() == written
    swept.clock.advance(2 * 3_600_000 + 1)
    await swept.store.sweep(swept.core)
    assert await swept.timers() == written[1:], "the second has no end, and lies before the third"
    swept.clock.advance(WINDOWS.messages_ttl_ms - WINDOWS.buffer_ttl_ms)
    await swept.store.sweep(swept.core)
    assert await swept.timers() == []


async def test_a_body_stays_as_long_as_a_timer_needs_it(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MAX", 2)
    scheduled, other, newest = (ids_of_core(swept, 3, kind=kind) for kind in range(3))
    for ids in (scheduled, other, newest):
        await swept.write(ids)
    year_ms = 365 * 86_400_000
    due = later(swept.clock.now(), year_ms)

    async def write_timers() -> None:
        pairs = [(due, scheduled[0]), (earlier(due, 1), scheduled[1])]
        for due_at, id_ in pairs:
            row = (due_at, id_, PartitionKey(id_), NOW, 1, "acme/spring")
            await swept.store.write_timers(swept.lane, [row])

    await write_timers()
    swept.clock.advance(year_ms + WINDOWS.messages_ttl_ms)
    for _ in range(3):
        await swept.store.sweep(swept.core)
    assert (await swept.left(scheduled + other))["messages"] == set(scheduled)
    swept.clock.advance(1)
    for _ in range(3):
        await swept.store.sweep(swept.core)
    assert (await swept.left(scheduled))["messages"] == set()


async def test_what_became_of_a_message_is_known_while_a_timer_of_it_may_come(
    swept: Swept,
) -> None:
    [cancelled] = ids_of_core(swept, 1)
    await swept.write([cancelled])
    await swept.write(ids_of_core(swept, 1, kind=1))
    year_ms = 365 * 86_400_000
    row = (later(swept.clock.now(), year_ms), cancelled, PartitionKey(cancelled), NOW, 1, "acme/x")
    await swept.store.write_timers(swept.lane, [row])
    pk = PartitionKey(cancelled)
    await swept.store.project(swept.core, [(cancelled, pk, TAKE, swept.clock.now(), "")])
    swept.clock.advance(year_ms + WINDOWS.messages_ttl_ms)
    await swept.store.sweep(swept.core)
    assert await swept.store.read_folds(swept.core, [(pk, cancelled)]) == {cancelled: TAKE}
    swept.clock.advance(1)
    for _ in range(2):
        await swept.store.sweep(swept.core)
    assert await swept.store.read_folds(swept.core, [(pk, cancelled)]) == {}


async def test_a_body_that_a_timer_came_to_need_while_it_was_swept_stays(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of_core(swept, 2)
    await swept.write(ids)
    await swept.write(ids_of_core(swept, 2, kind=1))
    swept.clock.advance(WINDOWS.messages_ttl_ms + 1)
    drop_blocks = sweep._drop_blocks

    def drop_after_a_timer(transaction: Transaction, **named: Any) -> None:
        row = (swept.clock.now(), ids[0], PartitionKey(ids[0]), NOW, 1, "acme/spring")
        timers.write(transaction, [row], lane=str(swept.lane))
        drop_blocks(transaction, **named)

    monkeypatch.setattr(sweep, "_drop_blocks", drop_after_a_timer)
    await swept.store.sweep(swept.core)
    assert (await swept.left(ids))["messages"] == set(ids)


async def test_a_key_is_remembered_as_long_as_its_message_waits_however_often_it_is_put_off(
    swept: Swept,
) -> None:
    (id_,) = ids = ids_of_core(swept, 1)
    await swept.store.announce_lane(swept.lane)
    born, pk = swept.clock.now(), PartitionKey(id_)
    await swept.store.write_messages(swept.core, [(id_, pk, born, "acme/spring", Body(b"body"))])
    await swept.store.put_idempotency([IdempotencyRow(id_, id_, born)])
    await swept.write(ids_of_core(swept, 1, kind=1))
    for attempt in (1, 2):
        due = later(swept.clock.now(), SCHEDULE_MS_MAX)
        row = (due, id_, pk, born, attempt, "acme/spring")
        await swept.store.write_timers(swept.lane, [row])
        swept.clock.advance(SCHEDULE_MS_MAX - DAY_MS)
        for _ in range(3):
            await swept.store.sweep(swept.core)
    assert swept.clock.now() > later(born, WINDOWS.idem_life_ms)
    assert (await swept.left(ids))["idem"] == {id_}


@pytest.mark.parametrize("event", [Event.CANCEL, Event.DEFER, Event.TAKE])
async def test_what_became_of_a_message_is_remembered_until_its_last_timer_is_long_over(
    swept: Swept, event: Event
) -> None:
    (id_,) = ids = ids_of_core(swept, 1)
    now, due = swept.clock.now(), later(swept.clock.now(), SCHEDULE_MS_MAX)
    await swept.write(ids_of_core(swept, 1, kind=2))
    await swept.store.write_messages(
        swept.core, [(id_, PartitionKey(id_), now, "acme/spring", Body(b"body"))]
    )
    await swept.write(ids_of_core(swept, 1, kind=1))
    await swept.store.write_timers(
        swept.lane, [(due, id_, PartitionKey(id_), now, 1, "acme/spring")]
    )
    await swept.store.put_idempotency([IdempotencyRow(id_, id_, now)])
    # Cancelled, put off or sent at once, long before it was due.
    step = step_of(attempt=1, try_no=1, event=event)
    await swept.store.project(swept.core, [(id_, PartitionKey(id_), step, now, "")])
    for days in range(0, SCHEDULE_MS_MAX // DAY_MS, 40):
        swept.clock.advance(40 * DAY_MS)
        for _ in range(3):
            await swept.store.sweep(swept.core)
        left = await swept.left(ids)
        assert left["messages"] == left["timeline"] == left["idem"] == {id_}, days
    swept.clock.advance(WINDOWS.idem_life_ms - SCHEDULE_MS_MAX)
    await swept.write(ids_of_core(swept, 1, kind=3))
    for _ in range(5):
        await swept.store.sweep(swept.core)
    left = await swept.left(ids)
    assert not (left["messages"])
    assert not (left["timeline"])
    assert not (left["idem"])
