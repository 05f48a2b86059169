"""The receiver, whatever dies in between: what was said is noted before it is answered."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from actors.receipt_desk import ReceiptDesk
from actors.receiver import CallbackDoor, Folder, Receiver, ReceiverPorts
from cluster.egress.receipt_endpoint import TakeCallback
from cluster.egress.smtp_bounce_folder import ReportFile
from pipeline.connectors.smtp.delivery_report import (
    DeliveryReceipt,
    Feedback,
    NotOurs,
    SuppressionHint,
)
from pipeline.connectors.webhook.receipt import SignatureCheck
from pipeline.errors import SettingInvalid
from pipeline.lifecycle import Event
from pipeline.limits import RECEIPTS_WAITING_MAX
from pipeline.message import MessageId, PartitionKey, decode_body
from pipeline.outcome import ReceiptsBy
from pipeline.route.receipts import ReceiptTerms, Word, owner_row, provider_row
from pipeline.route.suppression import SuppressionReason, suppression_key
from tests.contract.store_under_test import make_body
from tests.support.faulty_store import FaultyStore
from tests.support.lane_actors import LaneActors, reference_to
from tests.support.told_lane import told
from tests.support.virtual_time import in_virtual_time, pass_time, settle

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
BY_ID = ReceiptTerms(by=ReceiptsBy.MESSAGE_ID)


class FakeEndpoint:
    """A door that tests knock at."""

    def __init__(self) -> None:
        self.take: TakeCallback | None = None
        self.error: Exception | None = None

    async def start(self, take: TakeCallback) -> int:
        if self.error is not None:
            raise self.error
        self.take = take
        return 1

    async def close(self) -> None:
        self.take = None


class FakeFolder:
    """Reports, until they are put aside."""

    def __init__(self) -> None:
        self.reports: dict[str, ReportFile] = {}
        self.aside: list[str] = []
        self.error: Exception | None = None

    def add(self, said: DeliveryReceipt | SuppressionHint | NotOurs) -> None:
        name = str(len(self.reports) + len(self.aside))
        self.reports[name] = ReportFile(name=name, said=said)

    async def read(self, limit: int) -> list[ReportFile]:
        if self.error is not None:
            raise self.error
        return list(self.reports.values())[:limit]

    async def put_aside(self, reports: Sequence[ReportFile]) -> None:
        for report in reports:
            del self.reports[report.name]
            self.aside.append(report.name)


class World:
    """A receiver on a real store, and messages that a provider took."""

    def __init__(self, actors: LaneActors, store: FaultyStore) -> None:
        self.actors = actors
        self.store = store
        self.endpoint = FakeEndpoint()
        self.folder = FakeFolder()
        self.folders: dict[str, Folder] = {}
        self.closed = 0
        self.receiver = Receiver(self._open)
        self.owners = ReceiptDesk(actors.admin.port, actors.generation)

    @classmethod
    @asynccontextmanager
    async def on(cls, folder: Path) -> AsyncIterator["World"]:
        async with LaneActors.on(folder) as actors:
            world = cls(actors, await actors.stores.open())
            try:
                yield world
            finally:
                await world.receiver.stop()

    async def _open(self) -> ReceiverPorts:
        async def close() -> None:
            self.closed += 1

        return ReceiverPorts(
            desk=ReceiptDesk(self.store.port, self.actors.generation),
            endpoint=self.endpoint,
            doors={
                "counting": CallbackDoor(terms=ReceiptTerms(), check=SignatureCheck([SECRET])),
            },
            folders=self.folders,
            clock=self.actors.clock,
            close=close,
        )

    async def taken(self, count: int, *, connector: str = "counting") -> list[MessageId]:
        """Accept messages and note them as their owner does."""
        ids = await self.actors.accept(count)
        await self.note(ids, connector=connector)
        return ids

    async def note(self, ids: Sequence[MessageId], *, connector: str = "counting") -> None:
        now = self.actors.clock.now()
        await self.owners.note(
            [
                owner_row(
                    connector,
                    id_.hex() if connector == "mail" else reference_to(id_),
                    message_id=id_,
                    pk=PartitionKey(id_),
                    lane=str(self.actors.lane),
                    event=Event.TAKE,
                    at=now,
                    born=now,
                    group="acme/spring",
                )
                for id_ in ids
            ]
        )

    async def call(self, body: object, *, connector: str = "counting", secret: str = SECRET) -> int:
        content = json.dumps(body)
        now = self.actors.clock.now() // 1_000_000
        moment = datetime.fromtimestamp(now, UTC)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(now),
            "webhook-signature": Webhook(secret).sign("msg_1", moment, content),
        }
        reply = await self.receiver.take(connector, headers, content.encode())
        return reply.status

    async def say(self, id_: MessageId, status: str = "delivered") -> int:
        return await self.call({"reference": reference_to(id_), "status": status})

    async def told(self) -> list[tuple[MessageId, Event]]:
        return await told(self.actors)


@in_virtual_time
async def test_a_callback_is_answered_once_its_lane_is_told(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        await world.receiver.start()
        [id_] = await world.taken(1)
        assert await world.say(id_) == HTTPStatus.OK
        assert await world.told() == [(id_, Event.DELIVER)]
        assert (await world.receiver.check_health())["matched"] == 1


@pytest.mark.parametrize("verb", ["write_receipts", "read_receipts", "write_commands"])
@in_virtual_time
async def test_it_says_no_until_all_is_noted(verb: str, tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        await world.receiver.start()
        [id_] = await world.taken(1)
        world.store.fail_before(verb)
        assert await world.say(id_) == HTTPStatus.SERVICE_UNAVAILABLE
        assert await world.told() == []
        assert await world.say(id_) == HTTPStatus.OK
        assert await world.told() == [(id_, Event.DELIVER)]


@in_virtual_time
async def test_it_dies_between_its_write_and_its_read_and_the_next_one_goes_on(
    tmp_path: Path,
) -> None:
    async with World.on(tmp_path) as world:
        await world.receiver.start()
        [early, late] = await world.actors.accept(2)
        await world.note([early])
        world.store.pause("read_receipts")
        calls = [asyncio.create_task(world.say(id_)) for id_ in (early, late)]
        await pass_time(100)
        for call in calls:  # no answer ever comes
            call.cancel()
        await world.note([late])  # the owner finds what was written
        assert await world.told() == [(late, Event.DELIVER)]
        successor = World(world.actors, await world.actors.stores.open())
        await successor.receiver.start()
        assert await successor.say(early) == HTTPStatus.OK
        assert await world.told() == sorted([(early, Event.DELIVER), (late, Event.DELIVER)])
        await successor.receiver.stop()
        world.store.resume()


@in_virtual_time
async def test_what_comes_at_once_is_noted_together(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        await world.receiver.start()
        ids = await world.taken(100)
        answers = await asyncio.gather(*(world.say(id_) for id_ in ids))
        assert set(answers) == {HTTPStatus.OK}
        assert len(await world.told()) == 100
        cores = len(world.actors.generation.cores)
        assert world.store.count("write_receipts") <= 2 * cores


@in_virtual_time
async def test_nothing_is_taken_of_strangers(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        assert await world.call({}) == HTTPStatus.SERVICE_UNAVAILABLE  # it has not started
        await world.receiver.start()
        stranger = "whsec_" + base64.b64encode(b"x" * 32).decode()
        body = {"reference": "x", "status": "sent"}
        assert await world.call(body, secret=stranger) == HTTPStatus.UNAUTHORIZED
        assert await world.call(body, connector="mail") == HTTPStatus.NOT_FOUND
        assert await world.call({"reference": "x"}) == HTTPStatus.BAD_REQUEST
        assert world.store.calls == []
        assert (await world.receiver.check_health())["refused"] == 3


@in_virtual_time
async def test_a_status_that_nobody_knows_is_no_error(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        await world.receiver.start()
        [id_] = await world.taken(1)
        assert await world.say(id_, "pondering") == HTTPStatus.OK
        assert await world.told() == []
        assert (await world.receiver.check_health())["unknown"] == 1


@in_virtual_time
async def test_what_waits_has_a_limit(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        await world.receiver.start()
        world.store.pause("write_receipts")
        many = [{"reference": f"x{n}", "status": "sent"} for n in range(1_000)]
        calls = [
            asyncio.create_task(world.call(many)) for _ in range(RECEIPTS_WAITING_MAX // len(many))
        ]
        await settle()
        assert await world.call(many) == HTTPStatus.SERVICE_UNAVAILABLE
        world.store.resume()
        assert set(await asyncio.gather(*calls)) == {HTTPStatus.OK}
        assert (await world.receiver.check_health())["waiting"] == 0


@in_virtual_time
async def test_one_that_cannot_listen_tries_again_and_says_why(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        world.endpoint.error = OSError("address in use")
        with pytest.raises(OSError, match="address in use"):
            await world.receiver.check_health()
        assert world.closed == 1
        world.endpoint.error = None
        await world.receiver.check_health()
        await world.receiver.start()
        await world.receiver.stop()
        await world.receiver.stop()
        assert world.closed == 2
        await world.receiver.start()
        assert world.endpoint.take is None, "it began again after its end"


# --- bounces --------------------------------------------------------------------------------------


def bounced(id_: MessageId, *, is_address_gone: bool = False) -> DeliveryReceipt:
    return DeliveryReceipt(
        message_id=id_, event=Event.REFUSE, detail="550", is_address_gone=is_address_gone
    )


@in_virtual_time
async def test_a_bounce_is_put_aside_once_its_lane_is_told(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        delivered, refused = await world.taken(2, connector="mail")
        said = DeliveryReceipt(message_id=delivered, event=Event.DELIVER, detail="250")
        for report in (said, said, bounced(refused), NotOurs(why="no report")):
            world.folder.add(report)
        world.store.fail_before("write_receipts")
        world.store.fail_before("read_receipts")
        world.folders["mail"] = world.folder
        await world.receiver.start()
        await pass_time(500)
        assert world.folder.aside == []
        await pass_time(5_000)
        assert len(world.folder.aside) == 4
        assert await world.told() == sorted([(delivered, Event.DELIVER), (refused, Event.REFUSE)])


@in_virtual_time
async def test_a_folder_that_cannot_be_read_is_looked_at_again(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        [id_] = await world.taken(1, connector="mail")
        world.folder.add(bounced(id_))
        world.folder.error = OSError("no such disk")
        world.folders["mail"] = world.folder
        await world.receiver.start()
        await pass_time(3_000)
        world.folder.error = None
        await pass_time(3_000)
        assert await world.told() == [(id_, Event.REFUSE)]
        await world.receiver.check_health()
        world.folder.error = SettingInvalid("what must not happen")
        await pass_time(3_000)
        with pytest.raises(SettingInvalid):
            await world.receiver.check_health()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (lambda id_: bounced(id_), None),
        (lambda id_: bounced(id_, is_address_gone=True), SuppressionReason.BOUNCE),
        (
            lambda id_: SuppressionHint(
                message_id=id_, feedback=Feedback.COMPLAINT, detail="abuse"
            ),
            SuppressionReason.COMPLAINT,
        ),
        (
            lambda id_: SuppressionHint(message_id=id_, feedback=Feedback.OPT_OUT, detail=""),
            SuppressionReason.OPT_OUT,
        ),
    ],
    ids=["a bounce", "an address that is gone", "a complaint", "an opt-out"],
)
@pytest.mark.parametrize("is_early", [False, True], ids=["late", "early"])
@in_virtual_time
async def test_who_wants_nothing_more_is_on_the_list(
    said: object, reason: SuppressionReason | None, is_early: bool, tmp_path: Path
) -> None:
    async with World.on(tmp_path) as world:
        [id_] = await world.actors.accept(1)
        assert callable(said)
        world.folder.add(said(id_))
        world.folders["mail"] = world.folder
        if not is_early:
            await world.note([id_], connector="mail")
        await world.receiver.start()
        await pass_time(2_000)
        if is_early:
            assert await world.told() == []
            await world.note([id_], connector="mail")
        store = world.actors.admin.port
        body = make_body(id_.hex())
        message = decode_body(body)
        key = suppression_key(message.tenant, message.channel, message.recipient)
        core = world.actors.generation.core_of(key)
        found = await store.read_suppressions(core, [key])
        assert [row.reason for row in found.values()] == ([] if reason is None else [reason])
        assert all(row.recipient != message.recipient for row in found.values())


@in_virtual_time
async def test_a_message_whose_body_is_gone_suppresses_nobody(tmp_path: Path) -> None:
    async with World.on(tmp_path) as world:
        stranger = MessageId(b"s" * 16)
        await world.note([stranger], connector="mail")
        now = world.actors.clock.now()
        row = provider_row("mail", stranger.hex(), Word.GONE, at=now, detail="")
        await world.owners.note([row])
        assert await world.told() == [(stranger, Event.REFUSE)]
