"""Notices that Ray's head service is gone, before Ray ends this process for it.

Nothing replaces it: the registry finds no actor any more and can start none, no sender finds an
ingester, and after a minute Ray ends each process of the cluster where it stands.  A drain goes
through the registry, which waits for the head as well; so the platform ends without one.  Nothing
is lost by that: the next platform takes the lanes over, and what was claimed and has no outcome is
uncertain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from pipeline.errors import PlatformBroken

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_LOOK_S: Final = 1.0
# On the loopback address one look would do; a machine that is short of sockets gets three.
_SILENT_LOOKS_MAX: Final = 3


class HeadWatch:
    """Asks `is_there` again and again while something else is waited for."""

    def __init__(self, is_there: Callable[[], Awaitable[bool]]) -> None:
        self._is_there = is_there
        self.is_head_gone = False

    async def keep(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Return what `work` returns; cancel it and raise `PlatformBroken` if the head is gone."""
        working = asyncio.ensure_future(work)
        silent_count = 0
        try:
            while not (await asyncio.wait({working}, timeout=_LOOK_S))[0]:
                silent_count = 0 if await self._is_there() else silent_count + 1
                if silent_count >= _SILENT_LOOKS_MAX:
                    self.is_head_gone = True
                    raise PlatformBroken(
                        "Ray's head service (gcs_server) died, and nothing replaces it: start the"
                        " platform again; what was claimed and has no outcome is uncertain"
                    )
        finally:
            working.cancel()
            await asyncio.wait({working})
        return working.result()
