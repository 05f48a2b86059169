"""Actors of a running platform are killed and paused, every few seconds."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Final

from tests.support.platform_process import PlatformProcess
from tests.support.provider_judge import Fault

# Schedulers are what may send twice.
_KINDS: Final = ["Scheduler", "Scheduler", "Scheduler", "Ingester", "Registry"]
_EVERY_S: Final = (2.0, 5.0)
# Some pauses are shorter than it takes to be taken for dead, some longer: then a zombie wakes.
_PAUSE_S: Final = (0.5, 8.0)
_FOR_EVER: Final = 0.15  # of the pauses: whoever supervises must see to it
_STEP_S: Final = 0.1


class Faults:
    """What is done to the actors of one platform, and was done."""

    def __init__(self, platform: PlatformProcess, chance: Random) -> None:
        self._platform = platform
        self._chance = chance
        self._paused: list[tuple[float, int, Fault]] = []
        self.done: list[Fault] = []

    def pass_time(self) -> None:
        """Let some seconds pass, and wake who was paused for long enough."""
        until = time.monotonic() + self._chance.uniform(*_EVERY_S)
        while time.monotonic() < until:
            self._wake(time.monotonic())
            time.sleep(_STEP_S)

    def hurt(self) -> bool:
        """Kill or pause an actor; returns whether there was one to hurt."""
        kind = self._chance.choice(_KINDS)
        asleep = {pid for _, pid, _ in self._paused}
        victims = [pid for pid in self._platform.actors(kind) if pid not in asleep]
        if not victims:
            return False
        victim, how = (
            self._chance.choice(victims),
            self._chance.choice([signal.SIGKILL, signal.SIGSTOP]),
        )
        now_us = time.time_ns() // 1_000
        try:
            os.kill(victim, how)
        except ProcessLookupError:
            return False
        fault = Fault(now_us, now_us, kind, how.name)
        if how is signal.SIGSTOP:
            pause_s = self._chance.uniform(*_PAUSE_S)
            if self._chance.random() < _FOR_EVER:
                fault = fault._replace(how="SIGSTOP for ever")
                pause_s = float("inf")
            self._paused.append((time.monotonic() + pause_s, victim, fault))
        else:
            self.done.append(fault)
        print(f"fault {self.count}: {fault.how} to a {kind}", flush=True)  # noqa: T201
        return True

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self.done) + len(self._paused)

    def end(self) -> None:
        """Wake whoever is to wake at all."""
        while any(at != float("inf") for at, _, _ in self._paused):
            self._wake(time.monotonic())
            time.sleep(_STEP_S)
        self.done += [fault for _, _, fault in self._paused]
        self._paused.clear()

    def kinds(self) -> Counter[str]:
        """How many there were of each kind."""
        return Counter(f"{fault.how} to a {fault.kind}" for fault in self.done)

    def _wake(self, now: float) -> None:
        for at, pid, fault in [one for one in self._paused if one[0] <= now]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self._paused.remove((at, pid, fault))
            self.done.append(fault._replace(until_us=time.time_ns() // 1_000))
