"""Messages as they were accepted and edited: found by partition key and id, or by id alone."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from cluster.scylla.keys import Keys
from cluster.scylla.verbs import Verbs, all_of
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.message import Body, MessageId, PartitionKey

_PLACED_PARTS: Final = 256


class StoredMessage(NamedTuple):
    """What is stored of a message; the body is that of its newest edition."""

    id: MessageId
    pk: PartitionKey
    born: Instant
    group: str
    block: bytes  # in which it counts as one of its group
    body: Body


class StoredVerbs(Verbs):
    """For those who look messages up."""

    async def stored(
        self, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, StoredMessage]:
        """Return the messages that exist, by id."""
        found = await all_of(
            self._session.read("select_message", (UUID(bytes=pk), id_)) for pk, id_ in keys
        )
        messages: dict[MessageId, StoredMessage] = {}
        for (pk, id_), rows in zip(keys, found, strict=True):
            # The first has the body that counts: that of an edition, if there was one.
            accepted = next((row for row in rows if row[0] is not None), None)
            if accepted is not None:
                born, group, block, _ = accepted
                body = Body(rows[0][-1])
                messages[id_] = StoredMessage(id_, pk, Instant(born), group, block, body)
        return messages

    async def find(self, message_id: MessageId) -> StoredMessage | None:
        """Return a message, None if it is not known: most lie under their ids."""
        pk = PartitionKey(message_id)
        found = (await self.stored([(pk, message_id)])).get(message_id)
        if found is not None:
            return found
        cores = self._generation.cores
        placed = await all_of(
            self._session.read(
                "select_placed", (place_of_id(self._keys, core, message_id), message_id)
            )
            for core in cores
        )
        keys = [(PartitionKey(row[0]), message_id) for rows in placed for row in rows]
        return (await self.stored(keys)).get(message_id)


def place_of_id(keys: Keys, core: Core, message_id: bytes) -> UUID:
    """Return the partition that says where a message lies that has an ordering key."""
    return keys.of_id(core, "placed", message_id, parts=_PLACED_PARTS)
