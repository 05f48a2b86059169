"""Ray's head service (its GCS), as far as one can ask whether it is there.

Every process of a cluster needs it to find the others.  Ray's own client waits a minute for one
that died, and then ends its process, whatever it does.
"""

import asyncio
from contextlib import suppress
from typing import Final

_ANSWER_TIMEOUT_S: Final = 2.0


async def is_head_there(address: str) -> bool:
    """Return whether anybody listens at the address of a head service, `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
