"""A platform on a folder that was restored hands nothing over that the old one had handed over."""

from pathlib import Path

import pytest

from cluster.local.backup import back_up, restore
from pipeline.instant import later
from pipeline.lifecycle import MessageState, state_of
from pipeline.message import AT_ONCE, PartitionKey
from pipeline.outcome import ProviderClass
from tests.support.gates import gate_of
from tests.support.lane_actors import GROUP, CountingConnector, LaneActors
from tests.support.virtual_time import in_virtual_time, pass_time

A_SECOND = 1_000


@pytest.mark.parametrize("is_nothing_sent_since", [False, True])
@in_virtual_time
async def test_what_waited_in_a_backup_is_uncertain_and_what_comes_later_is_sent(
    tmp_path: Path, is_nothing_sent_since: bool
) -> None:
    (tmp_path / "old").mkdir()
    async with LaneActors.on(tmp_path / "old") as old:
        began = old.clock.now()
        sent = await old.accept(3)
        first = old.begin(old.runner(await old.stores.open()))
        await pass_time(3 * A_SECOND)
        first.cancel()
        slow = CountingConnector(old.log, takes_ms=10_000_000)
        second = old.begin(
            old.runner(await old.stores.open(), name="two", platform=b"x", connector=slow)
        )
        claimed = await old.accept(2)
        await pass_time(8 * A_SECOND)  # after a crash the second one follows later
        second.cancel()
        waiting = await old.accept(3)
        due, not_due = await old.accept(2, is_in_buffer=False)
        now, near = old.clock.now(), later(old.clock.now(), 200 * A_SECOND)
        await old.admin.port.write_timers(
            old.lane,
            [
                (due_at, id_, PartitionKey(id_), now, 1, GROUP)
                for id_, due_at in ((due, near), (not_due, later(near, 240 * A_SECOND)))
            ],
        )
        folder = old.stores.data.folder
        back_up(folder, tmp_path / "copy", now=old.clock.now())
        lost = await old.accept(2)
        if not is_nothing_sent_since:
            old.begin(old.runner(await old.stores.open(), name="three", platform=b"x"))
        await pass_time(230 * A_SECOND)
        log = old.log.copy()
        assert is_nothing_sent_since or log.keys() == {*sent, *claimed, *waiting, due, *lost}
        seed = old._seed
        now = old.clock.now()
    (tmp_path / "new").mkdir()
    target = tmp_path / "new" / "data"
    restore(tmp_path / "copy", target, now=now, is_nothing_sent_since=is_nothing_sent_since)
    async with LaneActors.on(tmp_path / "new") as new:
        new.log.update(log)
        new._seed = seed
        new.accepted = [*sent, *claimed, *waiting, due, not_due]
        # A client repeats what it does not know to be accepted; its born is that of the first time.
        repeated = waiting[0]
        await new.admin.port.write_buffer(
            new.lane, [(repeated, PartitionKey(repeated), began, 1, AT_ONCE, GROUP)]
        )
        keyed = ProviderClass.NONE if is_nothing_sent_since else ProviderClass.KEYED
        gate = gate_of("counting", provider_class=keyed)
        new.begin(new.runner(await new.stores.open(), name="four", platform=b"x", gate=gate))
        await pass_time(A_SECOND)
        added = await new.accept(4)
        await pass_time(30 * A_SECOND)
        assert set(new.log.values()) == {1}
        folds = await new.admin.port.read_folds(
            new.core, [(PartitionKey(id_), id_) for id_ in new.accepted]
        )
        states = {id_: state_of(folds.get(id_)) for id_ in new.accepted}
        wait = MessageState.SENT if is_nothing_sent_since else MessageState.UNCERTAIN
        assert {states[id_] for id_ in (*waiting, due)} == {wait}
        assert {states[id_] for id_ in (*sent, *added)} == {MessageState.SENT}
        assert {states[id_] for id_ in claimed} == {MessageState.UNCERTAIN}
        assert states[not_due] is MessageState.ACCEPTED
        await pass_time(240 * A_SECOND)
        assert new.log[not_due] == 1
