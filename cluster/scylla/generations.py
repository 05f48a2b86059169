"""The generations: written once each, read at SERIAL by everybody."""

from typing import Final
from uuid import UUID

from cluster.scylla.session import ScyllaSession
from cluster.topology.generation import Generation

_ONLY: Final = UUID(int=0)


async def publish(session: ScyllaSession, generation: Generation) -> bool:
    """Write a generation if there is none of its number; return whether there was none."""
    done = await session.write_if("put_generation", (_ONLY, generation.number, generation.encode()))
    return done.is_applied


async def read_all(session: ScyllaSession) -> list[Generation]:
    """Return every generation, oldest first."""
    rows = await session.read("select_generations", (_ONLY,))
    return [Generation.decode(encoded) for (encoded,) in rows]
