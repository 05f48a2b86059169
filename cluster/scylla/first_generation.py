"""The first generation of a keyspace: published once, by whoever finds none."""

from cluster.scylla import generations
from cluster.scylla.schema import SchemaUnusable
from cluster.scylla.session import ScyllaSession
from cluster.scylla.topology_source import picture_of
from cluster.topology.generation import Generation
from pipeline.errors import StoreUnavailable
from pipeline.limits import Windows
from pipeline.ports import Clock


async def generations_of(
    session: ScyllaSession, *, clock: Clock, windows: Windows
) -> list[Generation]:
    """Return every generation, oldest first; the first one is made where there is none.

    Raises `StoreUnavailable`, and `SchemaUnusable` where lanes were judged by another P.
    """
    found = await generations.read_all(session)
    if not found:
        picture = picture_of(session)
        first = Generation(
            number=1,
            starts_at=clock.now(),
            prompt_ms=windows.prompt_ms,
            nodes=picture.nodes,
            ring=picture.ring,
        )
        # Of several that start at once one wins, and all read what it wrote.
        await generations.publish(session, first)
        found = await generations.read_all(session)
        if not found:
            raise StoreUnavailable("the first generation was not published: repeat the command")
    refuse_other_windows(found[-1], windows)
    return found


def refuse_other_windows(generation: Generation, windows: Windows) -> None:
    """Raise `SchemaUnusable` if the owners of these lanes have another P."""
    if generation.prompt_ms != windows.prompt_ms:
        raise SchemaUnusable(
            "the keyspace was first used with write_deadline_ms + 2 x clock_skew_ms_max ="
            f" {generation.prompt_ms}, not {windows.prompt_ms}: set them as they were, or name"
            " another keyspace"
        )
