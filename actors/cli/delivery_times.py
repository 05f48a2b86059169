"""How long messages took, from the timelines of a sample."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.lifecycle import Event, event_of
from pipeline.message import MessageId
from pipeline.ports import QueryStore

_SAMPLE_MESSAGES: Final = 500


@dataclass(frozen=True, slots=True)
class DeliveryTimes:
    """Of `count` messages, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float


def evenly_spaced(count: int) -> range:
    """Return the indexes of a sample of `count` messages."""
    return range(0, count, max(1, count // _SAMPLE_MESSAGES))


async def read_delivery_times(store: QueryStore, ids: Iterable[MessageId]) -> DeliveryTimes:
    """Return the times from accepted to sent of those of the messages that were sent."""
    times = []
    for message_id in ids:
        trace = await store.trace(message_id)
        if trace is None:
            continue
        times += [
            (event.at - trace.born) / 1_000
            for event in trace.events
            if event_of(event.step) is Event.TAKE
        ]
    times.sort()
    return DeliveryTimes(len(times), _percentile(times, 50), _percentile(times, 99))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)
