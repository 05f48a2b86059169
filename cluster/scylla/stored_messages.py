"""Messages as they were accepted and edited: found by partition key and id, or by id alone."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
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
        rows: list[tuple[Any, ...]] = []
        for mine in self._by_core(keys):
            rows += await self._read_by_message(mine, many="select_messages", one="select_message")
        bodies: dict[MessageId, Body] = {}
        accepted: dict[MessageId, tuple[Instant, str, bytes]] = {}
        for id_, born, group, block, body in rows:
            # The first has the body that counts: that of an edition, if there was one.
            bodies.setdefault(id_, Body(body))
            if born is not None:
                accepted.setdefault(id_, (Instant(born), group, block))
        pk_of = {id_: pk for pk, id_ in keys}
        messages = {
            id_: StoredMessage(id_, pk_of[id_], born, group, block, bodies[id_])
            for id_, (born, group, block) in accepted.items()
        }
        return messages

    def _by_core(
        self, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> Iterable[list[tuple[PartitionKey, MessageId]]]:
        by_core: dict[Core, list[tuple[PartitionKey, MessageId]]] = {}
        for pk, id_ in keys:
            by_core.setdefault(self._generation.core_of(pk), []).append((pk, id_))
        return by_core.values()

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
