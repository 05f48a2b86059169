"""Both sides of a reference at a real store: whatever happens, the message's lane is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.receipt_desk import ReceiptDesk
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.lane.gate import Gate
from pipeline.later import ReceiptRow
from pipeline.lifecycle import Event
from pipeline.message import MessageId, PartitionKey
from pipeline.route.receipts import Word, owner_row, provider_row
from tests.support.faulty_store import FaultyStore
from tests.support.gates import gate_of
from tests.support.lane_actors import CountingConnector, LaneActors, reference_to
from tests.support.told_lane import told
from tests.support.virtual_time import in_virtual_time, pass_time


def said(message_id: MessageId, word: Word = Word.DELIVER, *, at: Instant) -> ReceiptRow:
    return provider_row("counting", reference_to(message_id), word, at=at, detail="ok")


def receipts_gate() -> Gate:
    return gate_of("counting", has_receipts=True)


class Desks:
    """The owner's desk and a receiver's, each a process of its own with its own store."""

    def __init__(self, actors: LaneActors, owners: FaultyStore, receivers: FaultyStore) -> None:
        self.actors = actors
        self.owners, self.receivers = owners, receivers
        self.owner = ReceiptDesk(owners.port, actors.generation)
        self.receiver = ReceiptDesk(receivers.port, actors.generation)

    @classmethod
    @asynccontextmanager
    async def on(cls, folder: Path) -> AsyncIterator["Desks"]:
        async with LaneActors.on(folder) as actors:
            yield cls(actors, await actors.stores.open(), await actors.stores.open())

    def owned(self, message_id: MessageId) -> ReceiptRow:
        now = self.actors.clock.now()
        return owner_row(
            "counting",
            reference_to(message_id),
            message_id=message_id,
            pk=PartitionKey(message_id),
            lane=str(self.actors.lane),
            event=Event.TAKE,
            at=now,
            born=now,
            group="acme/spring",
        )

    def said(self, message_id: MessageId, word: Word = Word.DELIVER) -> ReceiptRow:
        return said(message_id, word, at=self.actors.clock.now())

    async def told(self) -> list[tuple[MessageId, Event]]:
        """Return what the lane is told, each once."""
        return await told(self.actors)


@pytest.mark.parametrize("first", ["owner", "receiver"])
@in_virtual_time
async def test_the_lane_is_told_whoever_comes_first(first: str, tmp_path: Path) -> None:
    async with Desks.on(tmp_path) as desks:
        ids = await desks.actors.accept(300)
        sides = [
            (desks.owner, [desks.owned(id_) for id_ in ids]),
            (desks.receiver, [desks.said(id_) for id_ in ids[::2]]),
        ]
        (one, its_rows), (other, others_rows) = sides if first == "owner" else sides[::-1]
        await one.note(its_rows)
        assert await desks.told() == []
        await other.note(others_rows)
        assert await desks.told() == [(id_, Event.DELIVER) for id_ in sorted(ids[::2])]
        # References lie everywhere, and each core is asked once for all of its own.
        assert desks.receivers.count("read_receipts") == len(desks.actors.generation.cores)


@in_virtual_time
async def test_a_receipt_that_comes_twice_is_one_command(tmp_path: Path) -> None:
    async with Desks.on(tmp_path) as desks:
        [id_] = await desks.actors.accept(1)
        await desks.receiver.note([desks.said(id_)])
        await desks.owner.note([desks.owned(id_)])
        await pass_time(3_600_000)
        await desks.receiver.note([desks.said(id_), desks.said(id_)])
        await desks.owner.note([desks.owned(id_)])
        assert await desks.told() == [(id_, Event.DELIVER)]


@pytest.mark.parametrize("verb", ["write_receipts", "read_receipts", "write_commands"])
@in_virtual_time
async def test_who_dies_on_the_way_has_lost_nothing_once_it_is_said_again(
    verb: str, tmp_path: Path
) -> None:
    async with Desks.on(tmp_path) as desks:
        ids = await desks.actors.accept(20)
        await desks.owner.note([desks.owned(id_) for id_ in ids])
        desks.receivers.fail_before(verb)
        rows = [desks.said(id_) for id_ in ids]
        with pytest.raises(StoreUnavailable):
            await desks.receiver.note(rows)
        await desks.receiver.note(rows)
        assert await desks.told() == [(id_, Event.DELIVER) for id_ in sorted(ids)]


@in_virtual_time
async def test_an_acknowledgement_that_is_lost_is_no_success(tmp_path: Path) -> None:
    async with Desks.on(tmp_path) as desks:
        [id_] = await desks.actors.accept(1)
        desks.receivers.lose("write_receipts", is_applied=True)
        with pytest.raises(WriteUnknown):
            await desks.receiver.note([desks.said(id_)])
        await desks.owner.note([desks.owned(id_)])
        assert await desks.told() == [(id_, Event.DELIVER)]


@in_virtual_time
async def test_a_receipt_before_the_outcome_waits_for_it(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as actors:
        store = await actors.stores.open()
        [early, silent] = await actors.accept(2)
        at_door = ReceiptDesk(actors.admin.port, actors.generation)
        await at_door.note([said(early, at=actors.clock.now())])
        connector = CountingConnector(actors.log)
        connector.refers = True
        actors.begin(actors.runner(store, connector=connector, gate=receipts_gate()))
        await pass_time(5_000)
        assert await told(actors) == [(early, Event.DELIVER)]
        await at_door.note([said(silent, Word.REFUSE, at=actors.clock.now())])
        assert await told(actors) == sorted([(early, Event.DELIVER), (silent, Event.REFUSE)])


@in_virtual_time
async def test_an_owner_whose_note_fails_notes_again(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as actors:
        store = await actors.stores.open()
        [early] = await actors.accept(1)
        at_door = ReceiptDesk(actors.admin.port, actors.generation)
        await at_door.note([said(early, at=actors.clock.now())])
        connector = CountingConnector(actors.log)
        connector.refers = True
        store.fail_before("write_receipts")
        store.fail_before("read_receipts")
        store.lose("write_commands", is_applied=False)
        actors.begin(actors.runner(store, connector=connector, gate=receipts_gate()))
        await pass_time(10_000)
        assert await told(actors) == [(early, Event.DELIVER)]


@in_virtual_time
async def test_an_owner_without_receipts_asks_for_none(tmp_path: Path) -> None:
    async with LaneActors.on(tmp_path) as actors:
        store = await actors.stores.open()
        await actors.accept(3)
        connector = CountingConnector(actors.log)
        connector.refers = True
        actors.begin(actors.runner(store, connector=connector))
        await pass_time(10_000)
        assert actors.log.total() == 3
        assert store.count("write_receipts") == store.count("read_receipts") == 0
