"""Sends the chunks of a file and keeps the account: accepted, accepted before, refused.

Every record of the file ends in exactly one of the three.  What was accepted stays accepted,
whatever happens to the rest; the batch's key makes a second run send nothing twice.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from actors.cli.chunks import Chunk
from actors.cli.record_batch import Refused as RefusedRecord
from actors.sender import Sender
from pipeline.errors import InputInvalid
from pipeline.ingest.chunk import Accepted, KeyTaken, Refused, SubmitChunk
from pipeline.limits import BATCH_MESSAGES_MAX
from pipeline.message import Body

_REPEAT: Final = "repeats the key of an earlier record with other content"


class Rejects(Protocol):
    """Where refused records go."""

    def write(self, refused: Iterable[RefusedRecord]) -> None:
        """Write refused records down, to be mended and sent as a file of their own."""
        ...


class BatchKeyTaken(InputInvalid):
    """The same batch key was used with other content; the caller must choose another."""


@dataclass(slots=True, kw_only=True)
class SendAccount:
    """Where the records of a file stand."""

    accepted_count: int = 0
    accepted_before_count: int = 0  # among the accepted: their keys were known already
    repeated_count: int = 0  # not accepted: the same key and content as an earlier record
    refused_count: int = 0
    bytes_read: int = 0
    first_id: bytes = b""  # of the first record that was accepted
    first_index: int = BATCH_MESSAGES_MAX
    began_at: float = 0.0  # seconds since the epoch
    chunks_under_way: dict[int, Chunk] = field(default_factory=dict)

    @property
    def records_count(self) -> int:
        """How many records have their answer."""
        return self.accepted_count + self.repeated_count + self.refused_count


async def send_chunks(
    chunks: AsyncIterator[Chunk],
    *,
    tenant: str,
    batch_key: bytes,
    sender: Sender,
    rejects: Rejects,
    on_progress: Callable[[SendAccount], None],
) -> SendAccount:
    """Send every chunk; return the account.

    Raises `BatchKeyTaken`, `InputInvalid` if the file cannot be read to its end, and
    `PlatformUnanswered`.
    """
    account = SendAccount()
    sent = sender.send_all(_submit_chunks(chunks, tenant, batch_key, account, rejects))
    async for one in sent:
        chunk = account.chunks_under_way.pop(one.chunk.first_index)
        match one.answer:
            case Accepted(count, first_id, repeated_count):
                account.accepted_count += count
                account.accepted_before_count += repeated_count
                if chunk.first_index <= account.first_index:
                    account.first_index, account.first_id = chunk.first_index, first_id
            case KeyTaken(positions) if not positions:
                raise BatchKeyTaken(
                    "this file was sent before with other content (another template, mapping,"
                    " time or content under the same key): name another --batch-key to send it all"
                    " the same"
                )
            case KeyTaken(positions):
                await _send_rest(
                    chunk,
                    one.chunk,
                    dict.fromkeys(positions, "key: was used before with other content"),
                    account=account,
                    sender=sender,
                    rejects=rejects,
                )
            case Refused(reasons):
                await _send_rest(
                    chunk,
                    one.chunk,
                    {place: f"{name}: {reason}" for place, name, reason in reasons},
                    account=account,
                    sender=sender,
                    rejects=rejects,
                )
        account.bytes_read = max(account.bytes_read, chunk.bytes_read)
        on_progress(account)
    return account


async def _submit_chunks(
    chunks: AsyncIterator[Chunk],
    tenant: str,
    batch_key: bytes,
    account: SendAccount,
    rejects: Rejects,
) -> AsyncIterator[SubmitChunk]:
    async for chunk in chunks:
        _refuse(chunk.refused, account=account, rejects=rejects)
        places: Sequence[int] = range(len(chunk.bodies))
        if chunk.keys is not None:
            places = _without_repeats(chunk, account, rejects)
        if not places:
            account.bytes_read = max(account.bytes_read, chunk.bytes_read)
            continue
        account.chunks_under_way[chunk.first_index] = chunk
        yield _submit_chunk(chunk, places, tenant=tenant, batch_key=batch_key)


def _submit_chunk(
    chunk: Chunk, places: Sequence[int], *, tenant: str, batch_key: bytes
) -> SubmitChunk:
    is_whole = len(places) == len(chunk.bodies)
    bodies: list[Body] = chunk.bodies if is_whole else [chunk.bodies[n] for n in places]
    keys = chunk.keys
    return SubmitChunk(
        tenant=tenant,
        batch_key=None if keys is not None else batch_key,
        first_index=chunk.first_index,
        positions=list(chunk.positions) if is_whole else [chunk.positions[n] for n in places],
        keys=None if keys is None else [keys[n] for n in places],
        bodies=list(bodies),
    )


def _without_repeats(chunk: Chunk, account: SendAccount, rejects: Rejects) -> Sequence[int]:
    """Return the places of the records whose key is the first of its kind in the chunk."""
    assert chunk.keys is not None
    first_place: dict[bytes, int] = {}
    places = []
    for place, key in enumerate(chunk.keys):
        first = first_place.setdefault(key, place)
        if first == place:
            places.append(place)
        elif chunk.bodies[first] == chunk.bodies[place]:
            account.repeated_count += 1
        else:
            refused = chunk.refuse(place, f"key: {_REPEAT}")
            _refuse([refused], account=account, rejects=rejects)
    return places


async def _send_rest(
    chunk: Chunk,
    asked: SubmitChunk,
    reasons: dict[int, str],
    *,
    account: SendAccount,
    sender: Sender,
    rejects: Rejects,
) -> None:
    """Send a chunk again without the messages that were refused; `reasons` by place in it."""
    place_of = {position: place for place, position in enumerate(chunk.positions)}
    refused = [
        chunk.refuse(place_of[asked.positions[place]], reason)
        for place, reason in sorted(reasons.items())
    ]
    _refuse(refused, account=account, rejects=rejects)
    left = [place for place in range(len(asked.bodies)) if place not in reasons]
    if not left:
        return
    rest = SubmitChunk(
        tenant=asked.tenant,
        batch_key=asked.batch_key,
        first_index=asked.first_index,
        positions=[asked.positions[place] for place in left],
        keys=None if asked.keys is None else [asked.keys[place] for place in left],
        bodies=[asked.bodies[place] for place in left],
    )
    answer = await sender.send(rest)
    match answer:
        case Accepted(count, first_id, repeated_count):
            account.accepted_count += count
            account.accepted_before_count += repeated_count
            if asked.first_index <= account.first_index:
                account.first_index, account.first_id = asked.first_index, first_id
        case Refused() | KeyTaken():
            raise BatchKeyTaken(
                f"records {asked.first_index + 1} to {asked.first_index + len(chunk.positions)}"
                " are answered differently each time: is another program sending the same keys?"
            )


def _refuse(
    refused: Sequence[RefusedRecord],
    *,
    account: SendAccount,
    rejects: Rejects,
) -> None:
    if not refused:
        return
    account.refused_count += len(refused)
    rejects.write(refused)
