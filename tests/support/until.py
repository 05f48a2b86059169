"""Waits for what other tasks of this loop bring about; how long they take decides nothing."""

import asyncio
from collections.abc import Callable

_PATIENCE_S = 60


async def until(is_so: Callable[[], object]) -> None:
    """Return when it is so; fail if it never comes to be."""
    async with asyncio.timeout(_PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 -- about anything at all
            await asyncio.sleep(0.01)
