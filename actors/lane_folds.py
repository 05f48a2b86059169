"""What a lane's runner reads of messages that may be waiting: how they stand, and what lies behind.

What lies behind a message that waits for a later attempt only its timeline says, once
the journal's entry has retired.  All others cost no more than their fold.
"""

from collections.abc import Sequence

from cluster.topology.generation import Core
from pipeline.lane.past import Pasts, past_of
from pipeline.lifecycle import Step, attempt_awaited
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import LaneStore


async def read_folds(
    store: LaneStore, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
) -> tuple[dict[MessageId, Step], Pasts]:
    """Return the fold of each message that has one, and the past of those that have one.

    Raises `StoreUnavailable`.
    """
    folds = await store.read_folds(core, keys)
    again = [(pk, id_) for pk, id_ in keys if (attempt_awaited(folds.get(id_)) or 1) > 1]
    if not again:
        return folds, {}
    timelines = await store.read_timelines(core, again)
    pasts = {id_: past_of(events) for id_, events in timelines.items()}
    return folds, {id_: past for id_, past in pasts.items() if past}
