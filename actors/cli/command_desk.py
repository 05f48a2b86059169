"""Writes commands where their lanes read them, and waits for what the lanes answer.

A command is a row in the lane of its message, so nothing need be running: what was recorded is
carried out when a platform runs.  While one runs its lanes are told by a bell, and read their
commands every second where they do not hear it.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from actors.cli.asked_messages import AskedMessage
from actors.stores import ActorStore
from cluster.runtime.clock import SystemClock
from cluster.topology.generation import Core, Generation
from pipeline.command import CommandBody, CommandKind, encode_command
from pipeline.errors import InputInvalid
from pipeline.ingest.accept import core_of
from pipeline.lane_id import LaneId
from pipeline.later import ORDER_FAMILIES, CommandEntry, CommandResult, GroupOrder

_ID_BYTES: Final = 16
_FIRST_LOOK_S: Final = 0.004
_LOOK_S_MAX: Final = 0.5


class Asked(NamedTuple):
    """A command that was recorded: its id, and what is looked for."""

    id: bytes
    lane: LaneId


class CommandDesk:
    """For one command line."""

    def __init__(
        self,
        store: ActorStore,
        generation: Generation,
        *,
        kind: CommandKind,
        by: str,
        clock: SystemClock,
        ring: Callable[[Core, Sequence[str]], None],
    ) -> None:
        """`ring` tells whoever serves a core which of its lanes have commands: a hint."""
        self._store = store
        self._generation = generation
        self._kind = kind
        self._by = by
        self._clock = clock
        self._ring = ring

    async def ask(
        self, messages: Sequence[AskedMessage], payload_of: Callable[[int], CommandBody]
    ) -> list[Asked]:
        """Record a command to each message, `payload_of` its place; return them in that order."""
        asked = [Asked(secrets.token_bytes(_ID_BYTES), one.lane) for one in messages]
        by_lane: dict[LaneId, list[CommandEntry]] = {}
        for n, (message, (id_, lane)) in enumerate(zip(messages, asked, strict=True)):
            entry = CommandEntry(
                id=id_,
                kind=self._kind.value,
                message_id=message.id,
                pk=message.pk,
                group="",
                by=self._by,
                payload=encode_command(payload_of(n)),
            )
            by_lane.setdefault(lane, []).append(entry)
        for lane, entries in by_lane.items():
            await self._store.write_commands(lane, entries)
        self._ring_for(by_lane)
        return asked

    def _ring_for(self, lanes: Iterable[LaneId]) -> None:
        names: dict[Core, list[str]] = {}
        for lane in lanes:
            names.setdefault(core_of(lane), []).append(str(lane))
        for core, mine in names.items():
            self._ring(core, mine)

    async def ask_group(self, group: str, lanes: Sequence[LaneId], *, why: str) -> list[Asked]:
        """Record a command to a group key: the order on every core first, then a row a lane.

        A lane that comes into being later finds the order; one that is there finds the row.
        """
        id_ = secrets.token_bytes(_ID_BYTES)
        if self._kind.value in ORDER_FAMILIES:
            order = GroupOrder(group, self._kind.value, self._clock.now(), id_, self._by)
            for core in self._generation.cores:
                await self._store.put_group_order(core, order)
                await self._refuse_overruled(core, order)
        payload = encode_command(CommandBody(group=group, detail=why))
        for lane in lanes:
            entry = CommandEntry(id_, self._kind.value, b"", b"", group, self._by, payload)
            await self._store.write_commands(lane, [entry])
        self._ring_for(lanes)
        return [Asked(id_, lane) for lane in lanes]

    async def _refuse_overruled(self, core: Core, order: GroupOrder) -> None:
        family = ORDER_FAMILIES[order.kind]
        for other in await self._store.read_group_orders(core):
            is_same = other.group == order.group and ORDER_FAMILIES[other.kind] == family
            if is_same and other.command_id != order.command_id:
                raise InputInvalid(
                    f"{other.by} asked to {other.kind} the group at a time that lies ahead of this"
                    " machine's clock: set the clock right, then repeat the command"
                )

    async def answers(
        self, asked: Sequence[Asked], *, within_s: float
    ) -> dict[Asked, CommandResult]:
        """Return what the lanes answered so far; wait for all of them, but not for long."""
        found: dict[Asked, CommandResult] = {}
        open_by_core: dict[Core, list[Asked]] = {}
        for one in asked:
            open_by_core.setdefault(core_of(one.lane), []).append(one)
        pause_s = _FIRST_LOOK_S
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            for core, mine in list(open_by_core.items()):
                ids = list({one.id for one in mine})
                results = {
                    (row.command_id, row.lane): row
                    for row in await self._store.read_results(core, ids)
                }
                rest = []
                for one in mine:
                    row = results.get((one.id, str(one.lane)))
                    if row is None:
                        rest.append(one)
                    else:
                        found[one] = row
                if rest:
                    open_by_core[core] = rest
                else:
                    del open_by_core[core]
            left_s = deadline - asyncio.get_running_loop().time()
            if not open_by_core or left_s <= 0:
                return found
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LOOK_S_MAX)
