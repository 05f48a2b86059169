"""A lane whose messages are due over a whole year: the real runner and store, in virtual time.

People ask for round times: here all ask for midnight or noon of some day.  One message is cancelled
before the year begins.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.command import CommandBody, CommandKind, Verdict, encode_command
from pipeline.ingest.doorbell import LaneRows
from pipeline.instant import DurationMs, later
from pipeline.lane.lane import Lane
from pipeline.later import CommandEntry
from pipeline.lifecycle import Event
from pipeline.limits import Windows
from pipeline.message import (
    Body,
    MessageId,
    MessageRow,
    PartitionKey,
    Submission,
    TimerRow,
    encode_body,
)
from pipeline.outcome import HandOver, Outcomes, Report
from tests.support.lane_actors import GROUP, CountingConnector, LaneActors, owner_id
from tests.support.virtual_time import loop_now, pass_time

PARTS: Final = 10
A_DAY_MS: Final = 24 * 3_600_000
A_YEAR_MS: Final = 365 * A_DAY_MS
_STEP_MS: Final = A_DAY_MS // 2
_AT_ONCE_MAX: Final = 1_000
_SWEEPS_A_PART: Final = 4

# As slow as the year allows: who looks every second would look thirty million times.
_WINDOWS: Final = Windows(
    timer_slice_ms=DurationMs(_STEP_MS),
    timer_lead_ms=DurationMs(600_000),
    near_horizon_ms=DurationMs(_STEP_MS + 700_000),
    idle_read_ms=DurationMs(_STEP_MS),
    checkpoint_ms=DurationMs(_STEP_MS // 4),
    heartbeat_ms=DurationMs(_STEP_MS),
    steal_after_ms=DurationMs(5 * _STEP_MS),
)


class Year(NamedTuple):
    """What became of it."""

    sizes: list[int]  # at the end of each part
    sent_count: int
    is_every_other_sent: bool  # each but the cancelled one, by the sum of all ids
    waiting_counts: list[int]  # in memory and not claimed, at the end of each part


class _Tally(CountingConnector):
    """Remembers how many were handed over and which all together, but not each of them."""

    def __init__(self) -> None:
        super().__init__(Counter())
        self.count = self.sum = 0

    async def submit(self, hand_over: HandOver, report: Report) -> None:
        count = len(hand_over.message_ids)
        self.count += count
        self.sum += sum(map(int.from_bytes, hand_over.message_ids))
        report(range(count), Outcomes.all_alike(Event.TAKE, count))


class _NoMemory(list[Any]):
    """Where a store that remembers its calls would write them down."""

    def append(self, _call: object) -> None:
        """Forget it."""


async def pass_a_year(
    folder: Path, *, count: int, chance: random.Random, measure: Callable[[Lane], int]
) -> Year:
    """Let `count` messages be due over a year; runs on a loop of virtual time."""
    loop_now().ends_after_s = 2 * A_YEAR_MS
    async with LaneActors.on(folder) as world:
        ids_sum = await _schedule(world, chance, count)
        connector, store = _Tally(), await world.stores.open()
        store.calls = store.log = _NoMemory()
        runner = world.runner(store, connector=connector, windows=_WINDOWS)
        world.begin(runner)
        # As a scheduler does; by it the clock of the store goes on.
        world.admin.calls = world.admin.log = _NoMemory()
        world.keep_beating(owner_id("me"), every_ms=_WINDOWS.heartbeat_ms)
        await pass_time(1_000)
        lane = runner.lane
        assert lane is not None

        cancelled = _id(world, count // 2)
        command_id = b"c" * 16
        payload = encode_command(CommandBody(born=world.clock.now(), group=GROUP))
        entry = CommandEntry(
            command_id, CommandKind.CANCEL, cancelled, PartitionKey(cancelled), "", "ada", payload
        )
        await world.admin.port.write_commands(world.lane, [entry])
        runner.ring(LaneRows(str(world.lane), [], None, [], [], []))
        await pass_time(10)
        [result] = await world.admin.port.read_results(world.core, [command_id])
        assert result.verdict == Verdict.DONE

        sizes: list[int] = []
        waiting: list[int] = []
        for _ in range(PARTS):
            for _ in range(_SWEEPS_A_PART):
                await pass_time(A_YEAR_MS // PARTS // _SWEEPS_A_PART)
                await world.admin.port.sweep(world.core)
            sizes.append(measure(lane))
            waiting.append(lane.backlog_count)
        await pass_time(A_DAY_MS)
        return Year(
            sizes=sizes,
            sent_count=connector.count,
            is_every_other_sent=connector.sum == ids_sum - int.from_bytes(cancelled),
            waiting_counts=waiting,
        )


def _id(world: LaneActors, number: int) -> MessageId:
    return MessageId(world.generation.forged_key(world.core, number))


async def _schedule(world: LaneActors, chance: random.Random, count: int) -> int:
    """Do as an ingester does with what is due far ahead; return the sum of all ids."""
    now, ids_sum = world.clock.now(), 0
    await world.admin.port.announce_lane(world.lane)
    for start in range(0, count, _AT_ONCE_MAX):
        bodies: list[MessageRow] = []
        timers: list[TimerRow] = []
        for number in range(start, min(start + _AT_ONCE_MAX, count)):
            id_ = _id(world, number)
            due_at = later(now, _STEP_MS * chance.randrange(8, A_YEAR_MS // _STEP_MS))
            body = Submission(
                expires_at=later(due_at, A_DAY_MS),
                tenant="acme",
                channel="sms",
                recipient="+447700900000",
                content="happy birthday",
                group="spring",
                due_at=due_at,
            )
            key = PartitionKey(id_)
            bodies.append((id_, key, now, GROUP, Body(encode_body(body))))
            timers.append((due_at, id_, key, now, 1, GROUP))
            ids_sum += int.from_bytes(id_)
        await world.admin.port.write_messages(world.core, bodies)
        await world.admin.port.write_timers(world.lane, timers)
    return ids_sum
