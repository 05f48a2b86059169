"""What `acknowledging_writer` said was acknowledged, and whether it is there."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from cluster.local.store import LocalStore
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.lane_id import LaneId
from pipeline.lifecycle import Event, step_of
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import IdempotencyRow

OWNER = b"the writer......"
EPOCH = 1
STEP = step_of(attempt=1, try_no=1, event=Event.TAKE)


# What is said besides acknowledgements.
BEGAN, ENDED = "began", "ended"


class Acknowledgement(NamedTuple):
    verb: str
    lane: LaneId
    ids: tuple[MessageId, ...]

    @classmethod
    def parse(cls, line: str) -> "Acknowledgement":
        verb, lane, *ids = line.split()
        return cls(verb, LaneId.parse(lane), tuple(MessageId(bytes.fromhex(i)) for i in ids))


def lane_on(core: Core) -> LaneId:
    """Return the lane that is written on a core."""
    return LaneId(1, core.node, core.shard, "sms", "bulk-0")


async def missing(
    store: LocalStore, acknowledgements: Iterable[Acknowledgement]
) -> list[tuple[str, MessageId]]:
    """Return what was acknowledged and is not there as it was written."""
    asked: dict[tuple[str, LaneId], set[MessageId]] = defaultdict(set)
    for verb, lane, ids in acknowledgements:
        asked[verb, lane].update(ids)
    lost: list[tuple[str, MessageId]] = []
    for (verb, lane), wanted in asked.items():
        found = await _found(store, verb, lane, wanted)
        lost += [(verb, message_id) for message_id in wanted - found]
    return lost


async def _found(store: LocalStore, verb: str, lane: LaneId, ids: set[MessageId]) -> set[MessageId]:
    core = Core(lane.node, lane.shard)
    keys = [(PartitionKey(message_id), message_id) for message_id in ids]
    match verb:
        case "messages":
            bodies = await store.read_bodies(core, keys)
            return {i for i, body in bodies.items() if body == b"body of " + i}
        case "buffer":
            page = await store.read_buffer(
                lane,
                from_at=Instant(0),
                through_at=Instant(1 << 62),
                limit=10_000_000,
                resume=None,
            )
            ats = [row[0] for row in page.rows]
            assert ats == sorted(set(ats)), "at grows from row to row, over every crash"
            return {row[1] for row in page.rows}
        case "append":
            entries = await store.read_journal(lane, 0, before_seq=None, limit=10_000_000)
            return {MessageId(entry.body) for entry in entries}
        case "project":
            folds = await store.read_folds(core, keys)
            return {i for i, step in folds.items() if step == STEP}
        case "idempotency":
            asked = [IdempotencyRow(i, b"another hash....", Instant(0)) for i in ids]
            return {
                MessageId(r.id) for r in await store.put_idempotency(asked) if r.body_hash == r.id
            }
        case _:
            raise AssertionError(verb)
