"""The real store behind a door where calls are written down, and fail or wait on command."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cluster.local.store import LocalStore
from pipeline.errors import StoreUnavailable, WriteUnknown
from tests.contract.store_under_test import Store
from tests.support.local_data import LocalData
from tests.support.virtual_time import LoopClock, loop_now


@dataclass(slots=True)
class _Fault:
    verb: str
    error: type[Exception]
    is_applied: bool
    times: int


class FaultyStore:
    """Every verb of the real store; `log` holds the names of those that were answered."""

    def __init__(self, real: LocalStore) -> None:
        self.real = real
        self.log: list[str] = []
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.on_call: Callable[[str], None] = lambda _verb: None
        self._faults: list[_Fault] = []
        self._gates: dict[str, asyncio.Event] = {}

    @property
    def port(self) -> Store:
        """Return this as what actors hold."""
        return cast(Store, self)

    def fail_before(self, verb: str, *, times: int = 1) -> None:
        """Let the next calls fail without having been made: certainly not applied."""
        self._faults.append(_Fault(verb, StoreUnavailable, False, times))

    def lose(self, verb: str, *, is_applied: bool, times: int = 1) -> None:
        """Let nobody know what became of the next calls."""
        self._faults.append(_Fault(verb, WriteUnknown, is_applied, times))

    def break_down(self, verb: str) -> None:
        """Let every call fail in a way that no store may."""
        self._faults.append(_Fault(verb, RuntimeError, False, -1))

    def pause(self, *verbs: str) -> None:
        """Let calls of these verbs, or all, wait at the door."""
        for verb in verbs or ("",):
            self._gates[verb] = asyncio.Event()

    def resume(self) -> None:
        """Let in what waits."""
        gates, self._gates = self._gates, {}
        for gate in gates.values():
            gate.set()

    def count(self, verb: str) -> int:
        """Return how often a verb was called."""
        return sum(name == verb for name, _, _ in self.calls)

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self.real, verb)

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((verb, arguments, named))
            self.on_call(verb)
            while gate := self._gates.get(verb) or self._gates.get(""):
                await gate.wait()
            fault = next((fault for fault in self._faults if fault.verb == verb), None)
            if fault is None:
                answer = await method(*arguments, **named)
                self.log.append(verb)
                return answer
            fault.times -= 1
            if not fault.times:
                self._faults.remove(fault)
            if fault.is_applied:
                await method(*arguments, **named)
            raise fault.error(f"{verb} fails in this test")

        return call


class StoreWorld:
    """A data folder in virtual time, and the doors to it; close it at the end."""

    def __init__(self, folder: Path) -> None:
        loop = loop_now()
        self.clock = LoopClock(loop)
        self.data = LocalData(folder, clock=self.clock)
        self._stores: list[LocalStore] = []
        loop.owes(self._is_busy)

    async def open(self) -> FaultyStore:
        """Return the store as one more process sees it."""
        store = await self.data.open()
        self._stores.append(store)
        return FaultyStore(store)

    async def __aenter__(self) -> "StoreWorld":
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(StoreUnavailable):
            await self.data.close()

    def _is_busy(self) -> bool:
        return any(
            thread._pending_count
            for store in self._stores
            for file in store._files.values()
            for thread in (file.writer, file.reader)
        )
