"""How ids are made: minted, from a client's key, or from a batch's key and an index.

All are 16 bytes, so that a message's partition key has no tail in Murmur3.  An id made from a key
is the same at every try, which is what makes a repeat harmless.  Hashes are keyed by purpose and
begin with the length of the tenant, so that no two purposes and no two tenants can meet.
"""

import hmac
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from pipeline.instant import Instant
from pipeline.limits import BATCH_MESSAGES_MAX
from pipeline.message import MessageId, PartitionKey

ID_BYTES: Final = 16
_BATCH_PREFIX_BYTES: Final = 11
_INDEX_BYTES: Final = 5
_MAC_BYTES: Final = 8
_US_PER_MS: Final = 1_000

assert 1 << (8 * _INDEX_BYTES) == BATCH_MESSAGES_MAX
assert _BATCH_PREFIX_BYTES + _INDEX_BYTES == ID_BYTES


def _digest(purpose: bytes, size: int, tenant: str, *parts: bytes) -> bytes:
    name = tenant.encode()
    digest = blake2b(digest_size=size, person=purpose)
    digest.update(len(name).to_bytes(4))
    digest.update(name)
    for part in parts:
        digest.update(part)
    return digest.digest()


def minted_id(*, born: Instant, chance: bytes) -> MessageId:
    """Return a time-ordered id (the layout of UUID version 7) from 10 random bytes."""
    assert len(chance) == 10, len(chance)
    tail = int.from_bytes(chance) & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return MessageId((born // _US_PER_MS).to_bytes(6) + tail.to_bytes(10))


def born_of(minted: MessageId) -> Instant:
    """Return the instant that a minted id holds, to the millisecond."""
    return Instant(int.from_bytes(minted[:6]) * _US_PER_MS)


def keyed_id(*, tenant: str, key: bytes) -> MessageId:
    """Return the id of a client's idempotency key."""
    return MessageId(_digest(b"shardpost-key", ID_BYTES, tenant, key))


def batch_ids(*, tenant: str, batch_key: bytes, indexes: Sequence[int]) -> list[MessageId]:
    """Return the ids of messages by their indexes in a batch; they lie side by side in a B-tree."""
    prefix = _digest(b"shardpost-batch", _BATCH_PREFIX_BYTES, tenant, batch_key)
    return [MessageId(prefix + index.to_bytes(_INDEX_BYTES)) for index in indexes]


def ordering_pk(*, tenant: str, ordering_key: str) -> PartitionKey:
    """Return the partition key of the messages that share an ordering key."""
    return PartitionKey(_digest(b"shardpost-order", ID_BYTES, tenant, ordering_key.encode()))


def chunk_id(*, tenant: str, batch_key: bytes, first_index: int) -> bytes:
    """Return the id of a chunk of a batch, the key of its row in `idem`."""
    return _digest(
        b"shardpost-chunk", ID_BYTES, tenant, first_index.to_bytes(_INDEX_BYTES), batch_key
    )


def return_key(secret: bytes, *, tenant: str, message_id: MessageId) -> bytes:
    """Return the key that a client gets back with a minted id, to repeat its request with.

    The id with a MAC over (tenant, id), so that nobody can make one up.
    """
    return message_id + _mac(secret, tenant, message_id)


def id_of_return_key(secret: bytes, *, tenant: str, key: bytes) -> MessageId | None:
    """Return the id of a key that `return_key` made for this tenant, None for any other bytes."""
    message_id = MessageId(key[:ID_BYTES])
    if not hmac.compare_digest(key[ID_BYTES:], _mac(secret, tenant, message_id)):
        return None
    return message_id


def _mac(secret: bytes, tenant: str, message_id: MessageId) -> bytes:
    name = tenant.encode()
    return blake2b(
        len(name).to_bytes(4) + name + message_id,
        digest_size=_MAC_BYTES,
        key=secret,
        person=b"shardpost-return",
    ).digest()
