"""Breaks off what is asked of a platform when the platform ends.

Ray tells its client nothing of that: the client waits for a minute, and then Ray ends its process.
So the folder is asked, where a platform says that it runs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from actors.sender import PlatformUnanswered

ResultT = TypeVar("ResultT")

_LOOK_S: Final = 0.2


class PlatformWatch:
    """Asks `is_running` again and again; `advice` tells what to do once it is false."""

    def __init__(self, is_running: Callable[[], bool], *, advice: str) -> None:
        self._is_running = is_running
        self._advice = advice

    async def keep(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Return what `work` returns; cancels it and raises `PlatformUnanswered` at the end."""
        working = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({working}, timeout=_LOOK_S))[0]:
                self._refuse_end()
        finally:
            working.cancel()
            await asyncio.wait({working})
        return working.result()

    def guarding(self, ask: Callable[[], Awaitable[ResultT]]) -> Callable[[], Awaitable[ResultT]]:
        """Return `ask` for a running platform: a call that blocks the loop if there is none."""

        async def guarded() -> ResultT:
            self._refuse_end()
            return await ask()

        return guarded

    def _refuse_end(self) -> None:
        if not self._is_running():
            raise PlatformUnanswered(
                f"the platform ended before everything had its answer: {self._advice}"
            )
