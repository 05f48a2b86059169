"""Asks the store what a lane must know to rule on messages, and writes what its rulings need."""

import structlog

from actors.lane_folds import read_folds
from cluster.topology.generation import Core
from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.ingest.accept import core_of
from pipeline.instant import Instant
from pipeline.lane import actions as act
from pipeline.lane.lane import Lane
from pipeline.lane_id import LaneId
from pipeline.later import CommandResult
from pipeline.ports import Clock, LaneStore

log = structlog.get_logger(__name__)


class LaneRulings:
    """For one lane; each action is answered by one event."""

    def __init__(self, lane_id: LaneId, *, store: LaneStore, clock: Clock) -> None:
        self._lane_id = lane_id
        self._core: Core = core_of(lane_id)
        self._store = store
        self._clock = clock
        self._read_through = Instant(0)

    async def perform(self, lane: Lane, action: act.RulingAction) -> None:
        """Carry out one action; a store that does not answer is asked again."""
        try:
            await self._perform(lane, action)
        except (StoreUnavailable, WriteUnknown) as error:
            log.warning("store_did_not_answer", lane=str(self._lane_id), error=str(error))
            lane.decisions.on_failed(now=self._clock.now())

    async def _perform(self, lane: Lane, action: act.RulingAction) -> None:
        store, decisions = self._store, lane.decisions
        match action:
            case act.ReadCommands():
                if action.resume is None:
                    self._read_through = await store.horizon(self._lane_id)
                commands = await store.read_commands(
                    self._lane_id,
                    from_at=action.from_at,
                    through_at=self._read_through,
                    limit=action.limit,
                    resume=action.resume,
                )
                decisions.on_commands(commands, through=self._read_through)
            case act.ReadGroupOrders():
                decisions.on_orders(await store.read_group_orders(self._core))
            case act.ReadGroupTimers():
                timers = await store.read_timers(
                    self._lane_id,
                    from_due=action.from_due,
                    through_due=action.through_due,
                    limit=action.limit,
                    resume=action.resume,
                )
                decisions.on_timers(timers)
            case act.ReadRuledFolds(keys=keys):
                folds, pasts = await read_folds(store, self._core, keys)
                decisions.on_folds([id_ for _, id_ in keys], folds, pasts)
            case act.ReadRuledBodies(keys=keys):
                decisions.on_bodies(await store.read_bodies(self._core, keys))
            case act.WriteRuled():
                # Before all else: what a journaled ruling names is there.
                await store.write_editions(self._core, action.editions)
                if action.rows:
                    await store.write_buffer(self._lane_id, action.rows)
                if action.timers:
                    await store.write_timers(self._lane_id, action.timers)
                decisions.on_written()

    async def write_answers(self, lane: Lane, action: act.WriteAnswers) -> None:
        """Confirm what was edited, then write what became of commands."""
        name = str(self._lane_id)
        rows = [
            CommandResult(answer.command_id, name, action.at, *answer[1:])
            for answer in action.answers
        ]
        try:
            # In this order: who is told that it is done reads the new words.
            if action.editions:
                await self._store.confirm_editions(self._core, action.editions)
            await self._store.write_results(self._core, rows)
        except (StoreUnavailable, WriteUnknown) as error:
            log.warning("store_did_not_answer", lane=name, error=str(error))
            lane.projection.on_answers_failed(now=self._clock.now())
        else:
            lane.projection.on_answers_written()
