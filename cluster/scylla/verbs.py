"""What all verbs share: the session, the keys, and sending much at once."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from cluster.scylla.keys import Keys
from cluster.scylla.session import ScyllaSession
from cluster.scylla.settings import BATCH_BYTES_MAX, BATCH_ROWS_MAX
from cluster.topology.generation import Core, CoreUnknown, Generation
from pipeline.errors import WriteUnknown
from pipeline.limits import Windows
from pipeline.message import MessageId, PartitionKey, is_ordered
from pipeline.ports import Clock

ResultT = TypeVar("ResultT")


class Verbs:
    """For a store that speaks through one session."""

    def __init__(
        self, session: ScyllaSession, generation: Generation, *, clock: Clock, windows: Windows
    ) -> None:
        self._session = session
        self._generation = generation
        self._keys = Keys([generation])
        self._clock = clock
        self._windows = windows

    def _known(self, core: Core) -> Core:
        if core not in self._generation.cores:
            raise CoreUnknown(f"{core} is not in generation {self._generation.number}")
        return core

    async def _read_by_message(
        self, keys: Sequence[tuple[PartitionKey, MessageId]], *, many: str, one: str
    ) -> list[tuple[Any, ...]]:
        """Return what two statements read of messages of one core, which say the same.

        `many` is asked for those that lie alone in their partition; `one` for those that lie with
        their ordering key, whose partition may hold thousands.
        """
        alone = [pk for pk, id_ in keys if not is_ordered(pk, id_)]
        reads = [self._session.read_in(many, alone)] if alone else []
        if len(alone) < len(keys):
            reads += [
                self._session.read(one, (UUID(bytes=pk), id_))
                for pk, id_ in keys
                if is_ordered(pk, id_)
            ]
        return [row for rows in await all_of(reads) for row in rows]

    async def _write_rows(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows of one core in unlogged batches, each row for itself."""
        await all_of(self._session.write_batch(name, batch) for batch in batches(rows))


async def all_of(doings: Iterable[Awaitable[ResultT]]) -> list[ResultT]:
    """Return all results, when all have ended.

    Where some failed raises `WriteUnknown` if one of them did: it says more than a definite no.
    """
    results = await asyncio.gather(*doings, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, WriteUnknown)), errors[0])
    return [result for result in results if not isinstance(result, BaseException)]


def batches(rows: Sequence[Sequence[Any]]) -> list[list[Sequence[Any]]]:
    """Return the rows in parts that a server takes without complaint."""
    parts: list[list[Sequence[Any]]] = []
    part: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        weight = sum(len(value) if isinstance(value, bytes | str) else 16 for value in row)
        if part and (size + weight > BATCH_BYTES_MAX or len(part) == BATCH_ROWS_MAX):
            parts.append(part)
            part, size = [], 0
        part.append(row)
        size += weight
    if part:
        parts.append(part)
    return parts
