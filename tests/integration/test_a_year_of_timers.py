"""Messages that are due over a whole year cost a lane no more memory at its end than before."""

import gc
import sys
from pathlib import Path
from types import FunctionType, ModuleType

from pipeline.lane.lane import Lane
from tests.support.seed import seeded_random
from tests.support.virtual_time import in_virtual_time
from tests.support.year_of_timers import pass_a_year

COUNT = 20_000


def bytes_of(lane: Lane) -> int:
    """Return the size of a lane with all that can be reached from it."""
    seen: dict[int, object] = {}
    waiting: list[object] = [lane]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen[id(one)] = one
        waiting += gc.get_referents(one)
    return sum(map(sys.getsizeof, seen.values()))


@in_virtual_time
async def test_a_year_passes_and_the_memory_of_a_lane_stays_as_it_is(tmp_path: Path) -> None:
    year = await pass_a_year(tmp_path, count=COUNT, chance=seeded_random(), measure=bytes_of)
    assert year.sent_count == COUNT - 1
    assert year.is_every_other_sent
    assert year.waiting_counts == [0] * len(year.waiting_counts)
    print(year.sizes)  # noqa: T201 -- shown when the test fails
    # What it holds of a message for good would be a number of bytes.
    assert max(year.sizes) - min(year.sizes) < COUNT
