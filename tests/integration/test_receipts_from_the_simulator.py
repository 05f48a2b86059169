"""Receipts over real sockets and folders, judged by the simulator's own log."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from actors.receipt_desk import ReceiptDesk
from actors.receiver import CallbackDoor, Receiver, ReceiverPorts
from cluster.egress.receipt_endpoint import CallbackReply, ReceiptEndpoint
from cluster.egress.simulator.modes import Chooser, parse_behaviour
from cluster.local.store import LocalStore
from cluster.runtime.clock import SystemClock
from pipeline.command import decode_command
from pipeline.connectors.webhook.receipt import SignatureCheck
from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.later import ReceiptRow
from pipeline.lifecycle import Event
from pipeline.limits import CALLBACK_BYTES_MAX
from pipeline.message import MessageId, PartitionKey
from pipeline.outcome import ReceiptsBy
from pipeline.route.receipts import ReceiptTerms, owner_row, reference_of
from tests.support.free_port import free_port
from tests.support.local_data import LocalData
from tests.support.provider_process import running_provider
from tests.support.webhook_office import message_id, submit, webhook_connector

CLOCK = SystemClock()
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
COUNT = 60
SEED = 7
LANE_CORE = 0


class Side:
    """A store, a receiver that may die, and the owner of a lane."""

    def __init__(self, folder: Path, terms: ReceiptTerms) -> None:
        self.data = LocalData(folder / "data")
        self.terms = terms
        core = self.data.generation.cores[LANE_CORE]
        self.lane = LaneId(1, core.node, core.shard, "webhook", "normal-0")
        self.store: LocalStore
        self.port = 0
        self.receiver: Receiver
        self.died = asyncio.Event()

    async def start(self) -> None:
        self.store = await self.data.open()
        await self.store.announce_lane(self.lane)
        await self.listen()

    async def listen(self, *, dies_after: int | None = None) -> None:
        """Start a receiver; it dies when it should read for the so-manieth time."""
        store = await self.data.open()
        desk = ReceiptDesk(store, self.data.generation)
        if dies_after is not None:
            desk = ReceiptDesk(_Dying(store, dies_after, self), self.data.generation)

        async def open_ports() -> ReceiverPorts:
            return ReceiverPorts(
                desk=desk,
                endpoint=ReceiptEndpoint(host="127.0.0.1", port=self.port),
                doors={"hooks": CallbackDoor(terms=self.terms, check=SignatureCheck([SECRET]))},
                folders={},
                clock=CLOCK,
                close=store.close,
            )

        self.receiver = Receiver(open_ports)
        await self.receiver.start()

    def owned(self, ids: Sequence[MessageId], references: dict[MessageId, str]) -> list[ReceiptRow]:
        now = CLOCK.now()
        return [
            owner_row(
                "hooks",
                reference,
                message_id=id_,
                pk=PartitionKey(id_),
                lane=str(self.lane),
                event=Event.TAKE,
                at=now,
                born=now,
                group="acme/",
            )
            for id_ in ids
            if (reference := reference_of(self.terms, id_, references.get(id_, "")))
        ]

    async def told(self) -> dict[MessageId, set[Event]]:
        page = await self.store.read_commands(
            self.lane, from_at=Instant(0), through_at=Instant(1 << 62), limit=10_000, resume=None
        )
        told: dict[MessageId, set[Event]] = {}
        for _, entry in page.rows:
            event = Event(decode_command(entry.payload).event)
            told.setdefault(MessageId(entry.message_id), set()).add(event)
        return told


class _Dying:
    """A store of a receiver that dies between its write and its read."""

    def __init__(self, store: LocalStore, dies_after: int, side: Side) -> None:
        self._store = store
        self._left = dies_after
        self._side = side
        self.write_receipts = store.write_receipts
        self.write_commands = store.write_commands
        self.read_bodies = store.read_bodies
        self.put_suppressions = store.put_suppressions
        self.remove_suppressions = store.remove_suppressions
        self.read_suppressions = store.read_suppressions

    async def read_receipts(self, core: object, refs: Sequence[bytes]) -> list[ReceiptRow]:
        self._left -= 1
        if self._left < 0:
            self._side.died.set()
            raise StoreUnavailable("the receiver is dead")
        return await self._store.read_receipts(core, refs)  # type: ignore[arg-type]


@asynccontextmanager
async def side_of(folder: Path, terms: ReceiptTerms) -> AsyncIterator[Side]:
    side = Side(folder, terms)
    side.port = free_port()
    try:
        await side.start()
        yield side
    finally:
        await side.receiver.stop()
        await side.data.close()


def behaviour(port: int) -> str:
    return json.dumps(
        {
            "receipts": {
                "url": f"http://127.0.0.1:{port}/receipts/hooks",
                "modes": {"once": 2, "twice": 2, "early": 2, "never": 1},
                "delay_s": 0.5,
                "failed": 0.3,
                "secret": SECRET,
            }
        }
    )


@pytest.mark.parametrize("by", list(ReceiptsBy))
async def test_every_receipt_that_was_sent_reaches_its_message(
    by: ReceiptsBy, tmp_path: Path
) -> None:
    terms = ReceiptTerms(by=by)
    async with side_of(tmp_path, terms) as side:
        modes = behaviour(side.port)
        async with running_provider(tmp_path / "seen.jsonl", modes=modes, seed=SEED) as provider:
            connector = webhook_connector(
                CLOCK, networks=["127.0.0.0/8"], ports=[provider.ports["http"]]
            )
            urls = [f"{provider.url}/{n}" for n in range(COUNT)]
            reports = await submit(connector, CLOCK, urls)
            await connector.close()
            taken = {line.key for line in provider.lines() if line.took}
            assert len(taken) == COUNT
            # The outcomes are journaled late: some receipts were there before.
            await side.receiver.stop()
            await side.listen(dies_after=1)
            ids = [message_id(n) for n in range(COUNT)]
            references = {id_: reports.by_position[n].reference for n, id_ in enumerate(ids)}
            half = COUNT // 2
            owner = ReceiptDesk(side.store, side.data.generation)
            await owner.note(side.owned(ids[:half], references))
            async with asyncio.timeout(30):
                await side.died.wait()
            await side.receiver.stop()
            await side.listen()
            await owner.note(side.owned(ids[half:], references))

            chooser = Chooser(parse_behaviour(modes), SEED)
            expected = {
                MessageId(bytes.fromhex(key)): {Event.DELIVER if is_delivered else Event.REFUSE}
                for key in taken
                for mode, is_delivered in [chooser.receipt(key=key)]
                if mode != "never"
            }
            assert 0 < len(expected) < COUNT
            for _ in range(600):
                if await side.told() == expected:
                    break
                await asyncio.sleep(0.05)
            assert await side.told() == expected


async def test_what_is_too_long_or_nowhere_is_refused(tmp_path: Path) -> None:
    async with side_of(tmp_path, ReceiptTerms()) as side, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{side.port}/receipts/hooks"
        for body, status in (
            (b"x" * (CALLBACK_BYTES_MAX + 1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
            (b"{}", HTTPStatus.UNAUTHORIZED),
        ):
            async with session.post(url, data=body) as answer:
                assert answer.status == status
        async with session.post(url.replace("hooks", "mail")) as answer:
            assert answer.status == HTTPStatus.NOT_FOUND
        async with session.get(url) as answer:
            assert answer.status == HTTPStatus.METHOD_NOT_ALLOWED


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    async with side_of(tmp_path, ReceiptTerms()) as side:
        second = ReceiptEndpoint(host="127.0.0.1", port=side.port)
        with pytest.raises(SettingInvalid, match=f"receipts.port = {side.port}: another program"):
            await second.start(_never)


@pytest.mark.parametrize("turns", range(6))
async def test_who_calls_while_the_endpoint_closes_is_not_left_hanging(turns: int) -> None:
    endpoint = ReceiptEndpoint(host="127.0.0.1", port=0)
    port = await endpoint.start(_never)
    with ExitStack() as calls:
        callers = [
            calls.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            for _ in range(3)
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        await endpoint.close()
        await asyncio.sleep(0)  # what was closed in this turn ends in the next
        for caller in callers:
            with suppress(ConnectionResetError):
                assert caller.recv(1) == b""


async def _never(*_: object) -> CallbackReply:
    raise AssertionError("nobody calls")
