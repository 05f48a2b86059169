"""An event loop whose time passes only when everybody sleeps, and then at once.

An hour of heartbeats takes milliseconds, and nothing depends on how fast the machine is.  Threads
(those of a real store) owe answers in real time: while one does, the loop waits and its clock
stands still.
"""

import asyncio
import functools
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec
from unittest.mock import patch

from pipeline.instant import DurationMs, Instant
from pipeline.ports import ClockReading
from tests.support.fake_clock import NOW, FakeClock

P = ParamSpec("P")

_LOOK_AT_THREADS_S: Final = 0.02
_sleep: Final = asyncio.sleep
_RESOLUTION_S: Final = 1e-7  # below a microsecond, which `settle` waits
_WORK_S_MAX: Final = 2 * 3600.0


class _Sleeper(selectors.DefaultSelector):
    """Waits for threads in real time, and for timers not at all."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        while not ready and timeout != 0 and self.loop.is_owed():
            ready = super().select(_LOOK_AT_THREADS_S)
        if not ready and timeout != 0:
            assert timeout is not None, "everybody waits for ever"
            self.loop.skip(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0.  `owes` tells of threads that have not answered yet."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        self.ends_after_s = _WORK_S_MAX
        self._debts: list[Callable[[], bool]] = []
        sleeper = _Sleeper()
        sleeper.loop = self
        super().__init__(sleeper)
        # What is due within this is due.  That of the real clock, a nanosecond, is lost when it is
        # added to the seconds of half a year, and then a loop that is exactly on time turns for
        # ever and calls nobody.
        self._clock_resolution = _RESOLUTION_S

    def time(self) -> float:
        return self._virtual_s

    def skip(self, seconds: float) -> None:
        self._virtual_s += seconds
        if self._virtual_s > self.ends_after_s:
            for task in asyncio.all_tasks(self):
                task.print_stack()
            raise AssertionError("no end in sight")

    def owes(self, debt: Callable[[], bool]) -> None:
        self._debts.append(debt)

    def is_owed(self) -> bool:
        return any(debt() for debt in self._debts)


class LoopClock(FakeClock):
    """Both clocks go with a loop's time, and by what a test adds to them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Instant = NOW) -> None:
        super().__init__(now)
        self._loop = loop

    def now(self) -> Instant:
        return Instant(super().now() + self._elapsed_us())

    def reading(self) -> ClockReading:
        added = super().reading()
        return ClockReading(wall=self.now(), boot_us=added.boot_us + self._elapsed_us())

    def _elapsed_us(self) -> int:
        return round(self._loop.time() * 1_000_000)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on a loop of its own with virtual time."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        with (
            patch.object(asyncio, "sleep", _sleep),  # tests of decisions are refused to sleep
            asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
        ):
            runner.run(test(*arguments, **named))

    # Else the asyncio plugin looks through the wrapper and runs the test itself.
    del run.__wrapped__
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run


def loop_now() -> VirtualTimeLoop:
    """Return the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


async def pass_time(duration_ms: DurationMs | int) -> None:
    """Let time pass; whatever is due meanwhile happens."""
    await asyncio.sleep(duration_ms / 1_000)


async def settle() -> None:
    """Let everybody go on until all sleep: a microsecond later."""
    await asyncio.sleep(1e-6)
