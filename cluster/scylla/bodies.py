"""Bodies, the editions that replace them, and the keys of clients."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from cluster.scylla.group_blocks import blocks_of, part_of
from cluster.scylla.instants import FIRST_ID
from cluster.scylla.stored_messages import place_of_id
from cluster.scylla.verbs import Verbs, all_of
from cluster.topology.generation import Core
from pipeline.instant import Instant
from pipeline.later import EditionKey, EditionRow
from pipeline.message import (
    Body,
    MessageId,
    MessageRow,
    PartitionKey,
    expiry_of,
    is_ordered,
    is_scheduled,
)
from pipeline.ports import IdempotencyRow

_US_PER_S: Final = 1_000_000


class _Edition(NamedTuple):
    key: EditionKey
    body: bytes
    life_s: int


class BodyVerbs(Verbs):
    """Of `IngestStore` and `LaneStore`."""

    async def put_idempotency(self, rows: Sequence[IdempotencyRow]) -> list[IdempotencyRow]:
        """Insert each row if its id is absent; return, in order, the rows that now stand."""
        asked: dict[bytes, IdempotencyRow] = {}
        for row in rows:
            asked.setdefault(row.id, row)
        stand = await all_of(self._put_idempotency(row) for row in asked.values())
        by_id = {row.id: row for row in stand}
        return [by_id[row.id] for row in rows]

    async def _put_idempotency(self, row: IdempotencyRow) -> IdempotencyRow:
        done = await self._session.write_if(
            "put_idempotency", (UUID(bytes=row.id), row.body_hash, row.born)
        )
        if done.is_applied:
            return row
        return IdempotencyRow(row.id, done.stood["body_hash"], Instant(done.stood["born"]))

    async def write_messages(self, core: Core, rows: Sequence[MessageRow]) -> None:
        """Store bodies; an id that is there already keeps its first row."""
        self._known(core)
        life_s = self._windows.messages_ttl_ms // 1_000
        lives_s = [life_s + _wait_s(born, body) for _id, _pk, born, _group, body in rows]
        blocks = blocks_of(rows, lives_s)
        block_of = {n: block for block in blocks for n in block.positions}
        await all_of(
            [
                self._write_rows(
                    "insert_message",
                    [
                        (pk, id_, born, group, block_of[n].name, body, lives_s[n])
                        for n, (id_, pk, born, group, body) in enumerate(rows)
                    ],
                ),
                self._write_rows(
                    "insert_block",
                    [
                        (self._keys.of_core(core, "by_group", part_of(block)), *block.cells)
                        for block in blocks
                    ],
                ),
                self._write_rows(
                    "insert_placed",
                    [
                        (place_of_id(self._keys, core, id_), id_, pk, lives_s[n])
                        for n, (id_, pk, *_) in enumerate(rows)
                        if is_ordered(pk, id_)
                    ],
                ),
            ]
        )

    async def read_bodies(
        self, core: Core, keys: Sequence[tuple[PartitionKey, MessageId]]
    ) -> dict[MessageId, Body]:
        """Return the bodies that exist, by id; of one that was edited the newest edition."""
        self._known(core)
        rows = await self._read_by_message(keys, many="select_bodies", one="select_body")
        bodies: dict[MessageId, Body] = {}
        accepted = set()
        for id_, born, body in rows:
            # An edition stands before the message; without one it is none.
            bodies.setdefault(MessageId(id_), Body(body))
            if born is not None:
                accepted.add(id_)
        return bodies if len(accepted) == len(bodies) else {i: bodies[i] for i in accepted}

    async def write_editions(self, core: Core, rows: Sequence[EditionRow]) -> None:
        """Note what messages would hold if they were edited; nobody reads it until confirmed."""
        self._known(core)
        await self._write_rows(
            "insert_draft", [(UUID(bytes=row.pk), row.id, row.at, row.body) for row in rows]
        )

    async def confirm_editions(self, core: Core, keys: Sequence[EditionKey]) -> None:
        """Let these editions count: of two of one message the later stays."""
        self._known(core)
        drafts = await all_of(
            self._session.read("select_draft", (UUID(bytes=key.pk), key.id, key.at)) for key in keys
        )
        life_s = self._windows.messages_ttl_ms // 1_000
        editions = [
            _Edition(key, rows[0][0], life_s + _wait_s(key.at, Body(rows[0][0])))
            for key, rows in zip(keys, drafts, strict=True)
            if rows
        ]
        # First: an edition of a message whose row is gone would count for nothing.
        await self._renew(core, [each for each in editions if each.life_s > life_s])
        await self._write_rows(
            "insert_edition",
            [
                # The timestamp decides between two; it is that of the command.
                (UUID(bytes=key.pk), key.id, FIRST_ID, body, its_life_s, key.at)
                for key, body, its_life_s in editions
            ],
        )

    async def _renew(self, core: Core, editions: Sequence[_Edition]) -> None:
        """Let the rows of messages that are put off live as long as the editions that say so."""
        await self._write_rows(
            "insert_placed",
            [
                (place_of_id(self._keys, core, key.id), key.id, key.pk, life_s)
                for key, _body, life_s in editions
                if is_ordered(key.pk, key.id)
            ],
        )
        found = await all_of(
            self._session.read("select_accepted", (UUID(bytes=key.pk), key.id, FIRST_ID))
            for key, _body, _life_s in editions
        )
        await self._write_rows(
            "renew_message",
            [
                (UUID(bytes=each.key.pk), each.key.id, *rows[0], each.life_s, each.key.at)
                for each, rows in zip(editions, found, strict=True)
                if rows
            ],
        )


def _wait_s(since: Instant, body: Body) -> int:
    """Return how much longer than others a body is needed: until it is due, at most."""
    try:
        expires_at = expiry_of(body) if is_scheduled(body) else None
    except msgspec.MsgspecError:
        # What nobody can read lives as long as others; whoever reads it will say so.
        return 0
    return 0 if expires_at is None else max(0, (expires_at - since) // _US_PER_S)
