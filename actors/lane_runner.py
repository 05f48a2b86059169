"""Runs one lane from its take-over to its drain: carries out what `Lane` decides.

The only place where a lane's decisions meet the store and the connector.  Every action is carried
out by a task of its own and answered by one event; a failed read or projection is asked for again,
an append whose answer is unknown is repeated with the same bytes until it is definite.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, assert_never, cast

import structlog

from actors.lane_connectors import LaneConnectors
from actors.lane_folds import read_folds
from actors.lane_journal import LaneJournal
from actors.lane_rulings import LaneRulings
from actors.lane_takeover import LaneTakeover
from actors.lane_testimony import LaneTestimony
from actors.listing_watch import read_suppressions
from actors.receipt_desk import ReceiptDesk
from cluster.topology.generation import Generation
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.ingest.accept import core_of
from pipeline.ingest.doorbell import LaneRows, of_each
from pipeline.instant import Instant
from pipeline.lane import actions as act
from pipeline.lane.admission import Admission
from pipeline.lane.gate import Gate
from pipeline.lane.lane import Lane
from pipeline.lane.suppressions import ListingTenants
from pipeline.lane.takeover import OwnerWatch
from pipeline.lane_id import LaneId
from pipeline.limits import Windows
from pipeline.message import Body, MessageId, PartitionKey
from pipeline.outcome import Outcomes
from pipeline.ports import Clock, Connector, LaneStore
from pipeline.route.lease import PermitDesk
from pipeline.route.permits import LimitBook
from pipeline.route.retry_policy import RetryPolicy

log = structlog.get_logger(__name__)

_RETRIES: Final = RetryPolicy()
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRunnerPorts:
    """What the runner of a lane holds of the world."""

    store: LaneStore
    connectors: Mapping[str, Connector]  # by name
    gate: Gate
    book: LimitBook
    desk: PermitDesk
    lists: ListingTenants
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
        self._ports = ports
        self._takeover = LaneTakeover(
            lane_id,
            windows=windows,
            me=me,
            platform=platform,
            store=ports.store,
            clock=ports.clock,
            watch=ports.watch,
            generation=ports.generation,
        )
        self._receipts = ReceiptDesk(ports.store, ports.generation)
        self._connectors = LaneConnectors(
            lane_id,
            ports.connectors,
            store=ports.store,
            generation=ports.generation,
            clock=ports.clock,
        )
        self._me = me
        self._journal: LaneJournal
        self._lane: Lane | None = None
        self._wake = asyncio.Event()
        self._is_drain_asked = False
        self._heir: bytes | None = None
        self.handed_to: bytes | None = None
        """Whose the lane is after it was handed over; None if it was not."""
        self._read_through = Instant(0)
        self._rulings = LaneRulings(lane_id, store=ports.store, clock=ports.clock)
        self._testimony = LaneTestimony(lane_id, store=ports.store, desk=self._receipts)
        self._tasks: dict[asyncio.Task[None], act.Action] = {}
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
        self._takeover.give_up()
        if self._lane is not None:
            self._lane.drain()
        self._wake.set()

    @property
    def owner_seen(self) -> bytes | None:
        """Who owned the lane when this process, which waits for it, looked last."""
        return self._takeover.owner_seen

    def hand_over(self, heir: bytes) -> bool:
        """Ask for the end as `drain` does, and for the lane to be the heir's then.

        Returns whether it begins: not before the lane is at work, nor once its end was asked for.
        """
        if self._lane is None or self._is_drain_asked:
            return False
        self._heir = heir
        self.drain()
        return True

    def ring(self, rows: LaneRows) -> None:
        """Take a doorbell; one that comes before the recovery ended is dropped."""
        if self._lane is None:
            # Whoever rings here may know that the lane is ours now.
            self._takeover.look_again()
        elif not rows.message_ids:
            self._lane.on_bare_doorbell()
            self._wake.set()
        else:
            ids, count = cast(list[MessageId], rows.message_ids), len(rows.message_ids)
            self._lane.on_doorbell(
                message_ids=ids,
                partition_keys=cast(list[PartitionKey], rows.partition_keys or ids),
                borns=cast(list[Instant], of_each(rows.borns, count)),
                groups=of_each(rows.groups, count),
                bodies=cast(list[Body], rows.bodies),
            )
            self._wake.set()

    async def run(self) -> None:
        """Own the lane until it is drained or fenced.  Raises what must not happen."""
        held = await self._takeover.take()
        if held is None:
            return
        self._journal = LaneJournal(self.lane_id, held, owner=self._me, store=self._ports.store)
        recovered = await self._takeover.recover(held)
        lane = Lane(
            recovered,
            windows=self._windows,
            gate=self._ports.gate,
            admission=Admission(self.lane_id, book=self._ports.book, desk=self._ports.desk),
            lists=self._ports.lists,
            retry_policy=_RETRIES,
            chance=Random(),
            now=self._ports.clock.now(),
        )
        log.info(
            "lane_taken",
            lane=str(self.lane_id),
            segment=held.segment,
            epoch=held.epoch,
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
        if self._heir is not None and lane.is_drained and not lane.is_fenced:
            await self._give_to(self._heir)

    async def _give_to(self, heir: bytes) -> None:
        if await self._journal.give(heir, core=self._core):
            self.handed_to = heir
            log.info("lane_handed_over", lane=str(self.lane_id))

    async def _work(self, lane: Lane) -> None:
        withheld_count = 0
        while not (lane.is_drained or lane.is_fenced):
            self._wake.clear()
            for action in lane.decide(self._ports.clock.now()):
                self._begin(lane, action)
            if lane.claims.withheld_count > withheld_count:
                withheld_count = lane.claims.withheld_count
                log.error("claims_withheld", lane=str(self.lane_id), count=withheld_count)
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
            log.warning("lane_fenced", lane=str(self.lane_id))
            await self._testimony.give(lane, self._step_down(lane))

    def _step_down(self, lane: Lane) -> list[asyncio.Task[None]]:
        """End all that is under way but hand-overs whose answers come to nobody else."""
        kept = []
        for task, action in self._tasks.items():
            if isinstance(action, act.HandOverWindow) and lane.is_testified(action.connector):
                kept.append(task)
            else:
                task.cancel()
        return kept

    # --- actions ------------------------------------------------------------------------------

    def _begin(self, lane: Lane, action: act.Action) -> None:
        task = asyncio.get_running_loop().create_task(self._perform(lane, action))
        self._tasks[task] = action
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
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
                    self._wake.set()

                await self._connectors.hand_over(action, take)
            case act.ReadRows():
                await self._read_rows(lane, action)
            case act.AskProvider():
                lane.on_found(action.seq, await self._connectors.find(action), now=now())
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
                    read_folds(store, self._core, keys),
                    lambda read: lane.on_folds([id_ for _, id_ in keys], *read),
                    lambda: lane.on_folds_failed(now=now()),
                )
            case act.ReadSuppressions():
                found = await read_suppressions(store, self._ports.generation, action.keys)
                lane.on_suppressions(found, now=now())
            case act.Project(rows=rows):
                await self._attempt(
                    store.project(self._core, rows),
                    lambda _: lane.projection.on_projected(),
                    lambda: lane.projection.on_project_failed(now=now()),
                )
            case act.NoteReferences(rows=rows):
                await self._attempt(
                    self._receipts.note(rows),
                    lambda _: lane.references.on_noted(),
                    lambda: lane.references.on_note_failed(now=now()),
                )
            case act.ReadBooks(books=books):
                await self._attempt(
                    store.read_books(self.lane_id, books),
                    lane.projection.on_books_read,
                    lambda: lane.projection.on_books_read_failed(now=now()),
                )
            case act.WriteBooks(cells=cells):
                await self._attempt(
                    store.write_books(self.lane_id, cells),
                    lambda _: lane.projection.on_books_written(),
                    lambda: lane.projection.on_books_write_failed(now=now()),
                )
            case act.WriteAnswers():
                await self._rulings.write_answers(lane, action)
            case (
                act.ReadCommands()
                | act.ReadGroupOrders()
                | act.ReadGroupTimers()
                | act.ReadRuledFolds()
                | act.ReadRuledBodies()
                | act.WriteRuled()
            ):
                await self._rulings.perform(lane, action)
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
        if await self._journal.append(append):
            lane.on_applied(append.seq, now=self._ports.clock.now())
        else:
            lane.on_fenced()

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
            "in_doubt": len(lane.claims.doubts),
            "waiting": lane.backlog_count,
            "is_lagging": lane.is_lagging,
            "is_cautious": lane.is_cautious,
            "rows_read": lane.rows_read_count,
            "handed_over": lane.claims.handed_over_count,
            "doorbells_dropped": lane.doorbells_dropped_count,
            "bodies_missing": lane.bodies_missing_count,
            "rows_missed": lane.missed_count,
            "claims_withheld": lane.claims.withheld_count,
        }
    return report
