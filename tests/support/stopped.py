"""A process that is stopped, as by a debugger or a machine that is out of memory, and may wake."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.platform_process import PlatformProcess, eventually

_TRIES_MAX = 200
_A_MOMENT_S = 0.01
_TURNSTILE = (".turn", ".write")


def stop(pid: int) -> None:
    """Stop every thread of a process."""
    os.kill(pid, signal.SIGSTOP)
    eventually(f"{pid} stands still", lambda: _stands_still(pid), seconds=10)


def wake(pid: int) -> None:
    """Let a stopped process go on, if it still lives."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@contextmanager
def nobody_supervises(platform: PlatformProcess) -> Iterator[None]:
    """Meanwhile the registry stands still, and `up`, which would restart it."""
    pids = (platform.pid, *platform.actors("Registry"))
    for pid in pids:
        stop(pid)
    try:
        yield
    finally:
        for pid in pids:
            wake(pid)


def stop_between_writes(pid: int) -> None:
    """Stop a process while it keeps nobody else from writing to an embedded store."""
    _stop_when(pid, holds_a_turn=False)


def stop_in_a_write(pid: int) -> None:
    """Stop a process that writes to an embedded store; until it wakes or dies nobody else can."""
    _stop_when(pid, holds_a_turn=True)


def _stop_when(pid: int, *, holds_a_turn: bool) -> None:
    for _ in range(_TRIES_MAX):
        stop(pid)
        if _holds_a_turn(pid) == holds_a_turn:
            return
        wake(pid)
        # Stopped again at once it would stand where it stood.
        time.sleep(_A_MOMENT_S)  # noqa: TID251 -- a real process
    raise AssertionError(f"{pid} was never stopped where it {holds_a_turn=}")


def _stands_still(pid: int) -> bool:
    return all(
        (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )


def _holds_a_turn(pid: int) -> bool:
    return any(
        "FLOCK" in info.read_text()
        for info in Path(f"/proc/{pid}/fdinfo").iterdir()
        if os.readlink(f"/proc/{pid}/fd/{info.name}").endswith(_TURNSTILE)
    )
