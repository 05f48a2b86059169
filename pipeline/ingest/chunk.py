"""What a door asks of an ingester, and what it is answered; the bytes between the two actors.

A chunk is up to 1,000 submissions of one tenant.  With a batch key, it is the chunk of the batch
that begins at `first_index`; `positions` says which of its records there are (a record that was
refused at the door leaves a gap, so that the ids of the others do not move).  With `keys`, each
submission has a key of its own.  Without either, ids are minted and a repeat is a new message.
"""

from typing import Final

import msgspec


class SubmitChunk(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Encoded submissions to accept, all or none."""

    tenant: str
    batch_key: bytes | None
    first_index: int
    positions: list[int]
    keys: list[bytes] | None
    bodies: list[bytes]


class Accepted(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """All are durable and will be handed over.  `first_id` is the id of the first one."""

    count: int
    first_id: bytes
    repeated_count: int  # of so many an earlier call had accepted the key, or begun to


class Overloaded(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """None was accepted; ask again after a while."""

    retry_after_ms: int


class Leaving(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """None was accepted; this ingester ends: ask another one."""


class Refused(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """None was accepted, and none will be: the submissions at these positions must change."""

    reasons: list[tuple[int, str, str]]  # position in `bodies`, field, reason


class KeyTaken(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """None was accepted: the key stands for other content since `born`."""

    positions: list[int]  # positions in `bodies` whose own keys are taken; empty: the batch's key
    born: int


class Unanswered(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Perhaps accepted, perhaps not: repeat the call with the same key."""

    reason: str


SubmitReply = Accepted | Overloaded | Leaving | Refused | KeyTaken | Unanswered

_encoder: Final = msgspec.msgpack.Encoder()
_chunk_decoder: Final = msgspec.msgpack.Decoder(SubmitChunk)
_reply_decoder: Final[msgspec.msgpack.Decoder[SubmitReply]] = msgspec.msgpack.Decoder(SubmitReply)


def encode(message: SubmitChunk | SubmitReply) -> bytes:
    """Return the bytes of a chunk or a reply."""
    return _encoder.encode(message)


def decode_chunk(data: bytes) -> SubmitChunk:
    """Return the chunk; raises msgspec.DecodeError or msgspec.ValidationError."""
    return _chunk_decoder.decode(data)


def decode_reply(data: bytes) -> SubmitReply:
    """Return the reply; raises msgspec.DecodeError or msgspec.ValidationError."""
    return _reply_decoder.decode(data)
