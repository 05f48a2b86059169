"""The mark of a restored keyspace: when it lies, and while whom it is refused."""

from collections.abc import Iterable, Sequence
from typing import cast

import pytest

from cluster.scylla import restores
from cluster.scylla.keys import Keys
from cluster.scylla.session import ScyllaSession
from pipeline.errors import PlatformHeld
from pipeline.instant import later
from pipeline.lane.takeover import GONE
from pipeline.limits import Windows
from tests.support.fake_clock import FakeClock
from tests.support.topologies import make_generation
from tests.support.virtual_time import in_virtual_time, loop_now

WINDOWS = Windows()
OWNER = b"o" * 16
GENERATION = make_generation()


class Rows:
    """Answers by name as the tables would; `beat` says what an owner's next heartbeat is."""

    def __init__(self, beats: Iterable[int]) -> None:
        self._beats = iter(beats)
        self.restores: list[int] = []
        self.written_s = 0.0

    async def read(self, name: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        match name:
            case "select_generations":
                return [(GENERATION.encode(),)]
            case "select_owners":
                # One process, at one of the cores.
                place = Keys([GENERATION]).of_core(GENERATION.cores[-1], "owners")
                return [(OWNER, "scheduler", next(self._beats))] if parameters[0] == place else []
            case "select_restored":
                return [(at,) for at in sorted(self.restores, reverse=True)[:1]]
            case _:
                raise AssertionError(name)

    async def write(self, name: str, parameters: Sequence[object]) -> None:
        assert name == "insert_restore"
        self.written_s = loop_now().time()
        self.restores.append(cast(int, parameters[1]))


def session_of(rows: Rows) -> ScyllaSession:
    return cast(ScyllaSession, rows)


@pytest.mark.parametrize("beats", [(7, 7), (GONE, GONE), (7, GONE)])
@in_virtual_time
async def test_a_mark_lies_between_all_that_was_written_and_all_that_will_be(
    beats: tuple[int, int],
) -> None:
    rows, clock = Rows(beats), FakeClock()
    assert await restores.newest(session_of(rows)) is None
    at = await restores.mark(session_of(rows), clock=clock, windows=WINDOWS)
    assert at == later(clock.now(), WINDOWS.clock_skew_ms_max)
    # A clock that is late by the skew is past it when a platform may start.
    assert loop_now().time() - rows.written_s >= 2 * WINDOWS.clock_skew_ms_max / 1_000
    assert await restores.newest(session_of(rows)) == at


@in_virtual_time
async def test_a_keyspace_that_was_restored_twice_is_doubted_up_to_the_second_time() -> None:
    rows, clock = Rows([7] * 4), FakeClock()
    await restores.mark(session_of(rows), clock=clock, windows=WINDOWS)
    clock.advance(60_000)
    second = await restores.mark(session_of(rows), clock=clock, windows=WINDOWS)
    assert await restores.newest(session_of(rows)) == second


@in_virtual_time
async def test_no_mark_is_written_under_a_platform_that_runs() -> None:
    rows = Rows([7, 8])
    with pytest.raises(PlatformHeld, match="a platform runs on the keyspace: stop it first"):
        await restores.mark(session_of(rows), clock=FakeClock(), windows=WINDOWS)
    assert rows.restores == []
    assert loop_now().time() >= WINDOWS.heartbeat_ms / 1_000
