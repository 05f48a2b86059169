"""A port that nobody takes by chance before it is listened on."""

import random
import socket
from typing import Final

# Below what operating systems give to connections: one of those could sit on it when a process
# that was killed comes back.
_FIRST, _LAST = 20_000, 32_000
_TRIES_MAX: Final = 100


def free_port() -> int:
    """Return one that can be listened on at the loopback address."""
    chance = random.SystemRandom()
    for _ in range(_TRIES_MAX):
        port = chance.randrange(_FIRST, _LAST)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
