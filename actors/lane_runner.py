"""Runs one lane: takes it over, recovers it, and carries out what `Lane` decides.

The only place where a lane's decisions meet the store and the connector.  Every action is carried
out by a task of its own and answered by one event; a failed read or projection is asked for again,
an append whose answer is unknown is repeated with the same bytes until it is definite.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, assert_never

import structlog

from cluster.topology.generation import Generation
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.ingest.accept import core_of
from pipeline.ingest.doorbell import LaneRows
from pipeline.instant import Instant, earlier
from pipeline.lane import actions as act
from pipeline.lane.admission import Admission
from pipeline.lane.gate import Gate
from pipeline.lane.lane import Lane
from pipeline.lane.recovery import JournalReadBack, Recovered
from pipeline.lane.takeover import Mine, Open, OwnerWatch, Steal, Wait, decide_takeover
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event
from pipeline.limits import JOURNAL_PAGE_ENTRIES_MAX, Windows
from pipeline.message import Body, MessageId, PartitionKey
from pipeline.outcome import HandOver, Outcomes, Report
from pipeline.ports import Clock, Connector, LaneStore
from pipeline.route.lease import PermitDesk
from pipeline.route.permits import LimitBook
from pipeline.route.retry_policy import RetryPolicy

log = structlog.get_logger(__name__)

_RETRIES: Final = RetryPolicy()
_SEGMENT: Final = 0
_REPEAT_S: Final = 0.05
_LOOK_AGAIN_S: Final = 0.2
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRunnerPorts:
    """What the runner of a lane holds of the world."""

    store: LaneStore
    connectors: Mapping[str, Connector]  # by name
    gate: Gate
    book: LimitBook
    desk: PermitDesk
    clock: Clock
    watch: OwnerWatch
    generation: Generation


class LaneRunner:
    """One lane, from take-over to drain."""

    def __init__(
        self,
        lane_id: LaneId,
        *,
        windows: Windows,
        me: bytes,
        platform: bytes,
        ports: LaneRunnerPorts,
    ) -> None:
        self.lane_id = lane_id
        self._core = core_of(lane_id)
        self._windows = windows
        self._me = me
        self._platform = platform
        self._ports = ports
        self._epoch = 0
        self._lane: Lane | None = None
        self._wake = asyncio.Event()
        self._is_drain_asked = False
        self._read_through = Instant(0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    @property
    def lane(self) -> Lane | None:
        """The lane at work, None before its recovery ended."""
        return self._lane

    def wake(self) -> None:
        """Let the lane decide again: what it waited for may be there."""
        self._wake.set()

    def drain(self) -> None:
        """Ask for the end: finish what is claimed, claim nothing more."""
        self._is_drain_asked = True
        if self._lane is not None:
            self._lane.drain()
        self._wake.set()

    def ring(self, rows: LaneRows) -> None:
        """Take a doorbell; one that comes before the recovery ended is dropped."""
        if self._lane is not None:
            self._lane.on_doorbell(
                message_ids=[MessageId(id_) for id_ in rows.message_ids],
                partition_keys=[
                    PartitionKey(key) for key in rows.partition_keys or rows.message_ids
                ],
                borns=[Instant(born) for born in rows.borns],
                groups=rows.groups,
                bodies=[Body(body) for body in rows.bodies],
            )
            self._wake.set()

    async def run(self) -> None:
        """Own the lane until it is drained or fenced.  Raises what must not happen."""
        epoch = await self._take_over()
        if epoch is None:
            return
        self._epoch = epoch
        recovered = await self._recover()
        lane = Lane(
            recovered,
            windows=self._windows,
            gate=self._ports.gate,
            admission=Admission(self.lane_id, book=self._ports.book, desk=self._ports.desk),
            retry_policy=_RETRIES,
            chance=Random(),
            now=self._ports.clock.now(),
        )
        log.info(
            "lane_taken",
            lane=str(self.lane_id),
            epoch=epoch,
            entries=len(recovered.entries),
            open_claims=lane.open_count,
        )
        self._lane = lane
        if self._is_drain_asked:
            lane.drain()
        try:
            await self._work(lane)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            lane.close()

    async def _work(self, lane: Lane) -> None:
        while not (lane.is_drained or lane.is_fenced):
            self._wake.clear()
            for action in lane.decide(self._ports.clock.now()):
                self._begin(lane, action)
            if self._failure is not None:
                raise self._failure
            wait_us = lane.wake_at() - self._ports.clock.now()
            if not self._wake.is_set() and wait_us > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_us / _US):
                        await self._wake.wait()
            else:
                await asyncio.sleep(0)
        if lane.is_fenced:
            log.warning("lane_fenced", lane=str(self.lane_id), epoch=self._epoch)

    # --- take-over and recovery ---------------------------------------------------------------

    async def _take_over(self) -> int | None:
        """Return the epoch under which the lane is ours, None if the end was asked for first."""
        store, lane = self._ports.store, self.lane_id
        while not self._is_drain_asked:
            try:
                ownership = await store.read_ownership(lane, _SEGMENT)
                boot_us = self._ports.clock.reading().boot_us
                if ownership is not None and ownership.owner != self._me:
                    beats = {beat.owner: beat.value for beat in await store.read_owners(self._core)}
                    boot_us = self._ports.clock.reading().boot_us
                    self._ports.watch.observe(
                        ownership.owner, beats.get(ownership.owner), boot_us=boot_us
                    )
                match decide_takeover(
                    ownership,
                    me=self._me,
                    platform=self._platform,
                    watch=self._ports.watch,
                    boot_us=boot_us,
                ):
                    case Mine(epoch):
                        return epoch
                    case Open():
                        if await store.open_segment(lane, _SEGMENT, epoch=1, owner=self._me):
                            return 1
                    case Steal(expected):
                        if await store.take_over(
                            lane, _SEGMENT, expected_epoch=expected, owner=self._me
                        ):
                            return expected + 1
                    case Wait():
                        await asyncio.sleep(_LOOK_AGAIN_S)
                    case other:
                        assert_never(other)
            except (StoreUnavailable, WriteUnknown) as error:
                # Unknown: the next look says whether it applied.
                log.warning("takeover_unanswered", lane=str(lane), error=str(error))
                await asyncio.sleep(_LOOK_AGAIN_S)
        return None

    async def _recover(self) -> Recovered:
        generation = self._ports.generation
        read_back = JournalReadBack(
            first_offset=earlier(
                Instant(generation.starts_at),
                self._windows.write_deadline_ms + 2 * self._windows.clock_skew_ms_max,
            )
        )
        while not read_back.is_complete:
            try:
                page = await self._ports.store.read_journal(
                    self.lane_id,
                    _SEGMENT,
                    before_seq=read_back.before_seq,
                    limit=JOURNAL_PAGE_ENTRIES_MAX,
                )
            except StoreUnavailable as error:
                log.warning("recovery_waits", lane=str(self.lane_id), error=str(error))
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            read_back.on_entries(page, limit=JOURNAL_PAGE_ENTRIES_MAX)
        return read_back.result()

    # --- actions ------------------------------------------------------------------------------

    def _begin(self, lane: Lane, action: act.Action) -> None:
        task = asyncio.get_running_loop().create_task(self._perform(lane, action))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
        self._wake.set()

    async def _perform(self, lane: Lane, action: act.Action) -> None:
        store, now = self._ports.store, self._ports.clock.now
        match action:
            case act.Append():
                await self._append(lane, action)
            case act.HandOverWindow():
                at = action.positions

                def take(positions: Sequence[int], outcomes: Outcomes) -> None:
                    if at is not None:
                        positions = [at[n] for n in positions]
                    lane.on_outcomes(action.seq, outcomes, positions=positions, now=now())

                await self._hand_over(action, take)
            case act.ReadRows():
                await self._read_rows(lane, action)
            case act.AskProvider():
                # No connector can be asked yet, so none is of class Q; what cannot be asked says
                # nothing.
                lane.on_found(action.seq, dict.fromkeys(action.positions, False), now=now())
            case act.ReadClaimedBodies(keys=keys):
                await self._attempt(
                    store.read_bodies(self._core, keys),
                    lambda bodies: lane.on_claimed_bodies(bodies, now=now()),
                    lambda: lane.on_claimed_bodies_failed(now=now()),
                )
            case act.ReadTimers():
                await self._attempt(
                    store.read_timers(
                        self.lane_id,
                        from_due=action.from_due,
                        through_due=action.through_due,
                        limit=action.limit,
                        resume=action.resume,
                    ),
                    lane.on_timers,
                    lambda: lane.on_timers_failed(now=now()),
                )
            case act.WriteLater():
                await self._attempt(
                    self._write_later(action),
                    lambda _: lane.on_later_written(),
                    lambda: lane.on_later_failed(now=now()),
                )
            case act.ReadBodies(keys=keys):
                await self._attempt(
                    store.read_bodies(self._core, keys),
                    lambda bodies: lane.on_bodies([id_ for _, id_ in keys], bodies, now=now()),
                    lambda: lane.on_bodies_failed(now=now()),
                )
            case act.ReadFolds(keys=keys):
                await self._attempt(
                    store.read_folds(self._core, keys),
                    lambda folds: lane.on_folds([id_ for _, id_ in keys], folds),
                    lambda: lane.on_folds_failed(now=now()),
                )
            case act.Project(rows=rows):
                await self._attempt(
                    store.project(self._core, rows),
                    lambda _: lane.on_projected(),
                    lambda: lane.on_project_failed(now=now()),
                )
            case act.ReadBooks(books=books):
                await self._attempt(
                    store.read_books(self.lane_id, books),
                    lane.on_books_read,
                    lambda: lane.on_books_read_failed(now=now()),
                )
            case act.WriteBooks(cells=cells):
                await self._attempt(
                    store.write_books(self.lane_id, cells),
                    lambda _: lane.on_books_written(),
                    lambda: lane.on_books_write_failed(now=now()),
                )
            case other:
                assert_never(other)

    async def _attempt(
        self,
        verb: Awaitable[Any],
        on_answer: Callable[[Any], None],
        on_failure: Callable[[], None],
    ) -> None:
        try:
            answer = await verb
        except (StoreUnavailable, WriteUnknown) as error:
            log.warning("store_did_not_answer", lane=str(self.lane_id), error=str(error))
            on_failure()
        else:
            on_answer(answer)

    async def _append(self, lane: Lane, append: act.Append) -> None:
        while True:
            try:
                applied = await self._ports.store.append(
                    self.lane_id, _SEGMENT, epoch=self._epoch, seq=append.seq, body=append.body
                )
            except (StoreUnavailable, WriteUnknown) as error:
                # The same bytes again, until the answer is definite.
                log.warning("append_unanswered", lane=str(self.lane_id), error=str(error))
                await asyncio.sleep(_REPEAT_S)
                continue
            if applied:
                lane.on_applied(append.seq, now=self._ports.clock.now())
            else:
                lane.on_fenced()
            return

    async def _hand_over(self, window: act.HandOverWindow, take: Report) -> None:
        count = len(window.message_ids)
        answered = bytearray(count)

        def report(positions: Sequence[int], outcomes: Outcomes) -> None:
            for position in positions:
                assert not answered[position], "an outcome was reported twice"
                answered[position] = 1
            take(positions, outcomes)
            self._wake.set()

        def report_rest(event: Event, detail: str) -> None:
            rest = [n for n in range(count) if not answered[n]]
            if rest:
                report(rest, Outcomes.all_alike(event, len(rest), detail))

        if self._ports.clock.now() > window.send_before:
            report_rest(Event.NOT_SENT, "send deadline passed")
            return
        detail = "the connector did not say what became of it"
        try:
            await self._ports.connectors[window.connector].submit(
                HandOver(
                    lane=self.lane_id,
                    message_ids=window.message_ids,
                    attempts=window.attempts,
                    bodies=window.bodies,
                    send_before=window.send_before,
                ),
                report,
            )
        except Exception as error:
            log.exception("connector_failed", lane=str(self.lane_id))
            detail = str(error)
        # What a connector is silent about may have been handed over.
        report_rest(Event.LOSE_ANSWER, detail)

    async def _write_later(self, later: act.WriteLater) -> None:
        if later.rows:
            await self._ports.store.write_buffer(self.lane_id, later.rows)
        if later.timers:
            await self._ports.store.write_timers(self.lane_id, later.timers)

    async def _read_rows(self, lane: Lane, read: act.ReadRows) -> None:
        store = self._ports.store
        try:
            if read.resume is None:
                self._read_through = await store.horizon(self.lane_id)
            page = await store.read_buffer(
                self.lane_id,
                from_at=read.from_at,
                through_at=self._read_through,
                limit=read.limit,
                resume=read.resume,
            )
        except StoreUnavailable as error:
            log.warning("store_did_not_answer", lane=str(self.lane_id), error=str(error))
            lane.on_read_failed()
        else:
            lane.on_rows(page, through=self._read_through)


def runner_report(runner: LaneRunner) -> Mapping[str, int | str | bool]:
    """Return what a person may want to see of a lane at work."""
    lane = runner.lane
    report: dict[str, int | str | bool] = {
        "lane": str(runner.lane_id),
        "is_owned": lane is not None,
    }
    if lane is not None:
        report |= {
            "open": lane.open_count,
            "in_doubt": lane.in_doubt_count,
            "waiting": lane.backlog_count,
            "is_lagging": lane.is_lagging,
            "rows_read": lane.rows_read_count,
            "handed_over": lane.handed_over_count,
            "doorbells_dropped": lane.doorbells_dropped_count,
            "bodies_missing": lane.bodies_missing_count,
        }
    return report
