"""Looks after a session while it is in use, every few seconds.

Connections to shards that were lost are made again, which the driver does not do by itself; a node
that went away is told once, and once when it is back; and the nodes' clocks are compared with ours.
What is amiss is told as lines for the operator: a warning while work goes on, a refusal where
nothing may be accepted.
"""

import asyncio
from typing import Final

import structlog

from cluster.scylla.clock_skew import clock_fault, measure_skews
from cluster.scylla.session import ScyllaSession
from pipeline.ports import Clock

log = structlog.get_logger(__name__)

HEAL_INTERVAL_S: Final = 3.0
# Clocks drift by milliseconds an hour, and jump when somebody sets them.
_LOOKS_PER_MEASURE: Final = 5
# A connection that is being made is no trouble.
_LOOKS_UNREADY_MAX: Final = 2


class SessionKeeper:
    """One for a session, on its event loop."""

    def __init__(self, session: ScyllaSession, *, clock: Clock, skew_ms_max: int) -> None:
        self._session = session
        self._clock = clock
        self._skew_ms_max = skew_ms_max
        self._task: asyncio.Task[None] | None = None
        self._down: frozenset[str] = frozenset()
        self._looks_unready = 0
        self._clock_fault: str | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def warnings(self) -> list[str]:
        """Return a line for each thing that somebody should look at, though work goes on."""
        lines = [
            f"node {node} does not answer: work goes on while most replicas of each row do; start"
            " it again, or replace it"
            for node in sorted(self._down)
        ]
        if self._looks_unready > _LOOKS_UNREADY_MAX:
            lines.append(
                "not every core of the nodes has a connection: requests take a detour; look whether"
                " the shard-aware port (19042) is open"
            )
        if self._clock_fault is not None:
            lines.append(self._clock_fault)
        return lines

    def refusal(self) -> str | None:
        """Return why nothing may be accepted now, None if all is well."""
        return self._clock_fault

    async def look(self, *, is_clock_due: bool) -> None:
        """Look once."""
        await self._session.heal_shards()
        self._looks_unready = 0 if self._session.shards_ready() else self._looks_unready + 1
        down = frozenset(self._session.nodes_down())
        for node in down - self._down:
            log.warning("node_away", node=node)
        for node in self._down - down:
            log.warning("node_back", node=node)
        self._down = down
        if is_clock_due:
            skews = await measure_skews(self._session, clock=self._clock)
            fault = clock_fault(skews, skew_ms_max=self._skew_ms_max)
            if fault is not None and self._clock_fault is None:
                log.error("clocks_differ", fault=fault)
            self._clock_fault = fault

    async def _run(self) -> None:
        number = 0
        while True:
            try:
                await self.look(is_clock_due=number % _LOOKS_PER_MEASURE == 0)
            except Exception as error:
                # Any class, of a driver that is at a loss: the next look may find it better, and
                # nobody else would look.
                log.warning("session_not_looked_after", kind=type(error).__name__, error=str(error))
            number += 1
            await asyncio.sleep(HEAL_INTERVAL_S)
