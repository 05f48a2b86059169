"""What a lane's runner reads of messages that may be waiting: how they stand, and who refused them.

A message that was tried before may have been refused by a connector; only its timeline says so once
the journal's entry has retired.  All others cost no more than their fold.
"""

from collections.abc import Sequence

from cluster.topology.generation import Core
from pipeline.lane.refusals import Refusals, refused_by
from pipeline.lifecycle import Step, attempt_awaited
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import LaneStore


async def read_folds(
    store: LaneStore, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
) -> tuple[dict[MessageId, Step], Refusals]:
    """Return the fold of each message that has one, and who refused those that were tried before.

    Raises `StoreUnavailable`.
    """
    folds = await store.read_folds(core, keys)
    again = [(pk, id_) for pk, id_ in keys if (attempt_awaited(folds.get(id_)) or 1) > 1]
    if not again:
        return folds, {}
    timelines = await store.read_timelines(core, again)
    refusals = {id_: refused_by(events) for id_, events in timelines.items()}
    return folds, {id_: names for id_, names in refusals.items() if names}
