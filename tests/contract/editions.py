"""What every store promises of edited bodies.  A store's test file subclasses this."""

from itertools import permutations

import pytest

from pipeline.instant import Instant
from pipeline.later import EditionKey, EditionRow
from pipeline.lifecycle import Event, step_of
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import QueryStore
from tests.contract.query_store import in_group, in_state, outcomes_in_group
from tests.contract.store_under_test import (
    BORN,
    Rows,
    Store,
    StoreUnderTest,
    keys_of,
    make_body,
    message_row,
)


def edition(id_: MessageId, content: str, *, at: int = 0) -> EditionRow:
    return EditionRow(id_, PartitionKey(id_), Instant(BORN + at), make_body(content))


def key_of(row: EditionRow) -> EditionKey:
    return EditionKey(row.id, row.pk, row.at)


async def edit(store: Store, rows: Rows, *editions: EditionRow) -> None:
    await store.write_editions(rows.core, editions)
    await store.confirm_editions(rows.core, [key_of(row) for row in editions])


class EditionsContract:
    async def test_whoever_reads_a_body_reads_the_edited_one(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        plain, edited = ids = rows.ids(2)
        await store.write_messages(rows.core, [message_row(id_) for id_ in ids])
        await edit(store, rows, edition(edited, "new words"))
        assert await other_store.read_bodies(rows.core, keys_of(ids)) == {
            plain: make_body(plain.hex()),
            edited: make_body("new words"),
        }

    async def test_an_edition_that_nobody_confirmed_counts_for_nothing(
        self, store: Store, rows: Rows, under_test: StoreUnderTest
    ) -> None:
        [id_] = rows.ids(1)
        await store.write_messages(rows.core, [message_row(id_)])
        await edit(store, rows, edition(id_, "said", at=1))
        await store.write_editions(rows.core, [edition(id_, "refused", at=2)])
        assert await store.read_bodies(rows.core, keys_of([id_])) == {id_: make_body("said")}
        queries: QueryStore = await under_test.open_queries()
        trace = await queries.trace(id_)
        assert trace is not None
        assert trace.body == make_body("said")

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    async def test_of_two_editions_the_later_stays(
        self, store: Store, rows: Rows, order: tuple[int, ...]
    ) -> None:
        [id_] = rows.ids(1)
        await store.write_messages(rows.core, [message_row(id_)])
        written = [edition(id_, f"edit {n}", at=n) for n in range(4)]
        await store.write_editions(rows.core, written)
        for n in order:
            await store.confirm_editions(rows.core, [key_of(written[n])])
            # A predecessor that did not hear that it had done so does it again.
            await store.write_editions(rows.core, [written[n]])
            await store.confirm_editions(rows.core, [key_of(written[n])])
        assert await store.read_bodies(rows.core, keys_of([id_])) == {id_: make_body("edit 2")}

    async def test_an_edition_of_nothing_is_nothing(self, store: Store, rows: Rows) -> None:
        [id_] = rows.ids(1)
        await store.write_editions(rows.core, [])
        await store.confirm_editions(rows.core, [])
        await edit(store, rows, edition(id_, "of nothing"))
        assert await store.read_bodies(rows.core, keys_of([id_])) == {}
        [other] = rows.ids(1)
        await store.write_messages(rows.core, [message_row(other)])
        await store.confirm_editions(rows.core, [key_of(edition(other, "never written"))])
        assert await store.read_bodies(rows.core, keys_of([other])) == {
            other: make_body(other.hex())
        }

    async def test_a_person_is_shown_what_the_message_holds_now(
        self, store: Store, rows: Rows, under_test: StoreUnderTest
    ) -> None:
        plain, edited = ids = rows.ids(2)
        await store.write_messages(rows.core, [message_row(id_, group="acme/g") for id_ in ids])
        await edit(store, rows, edition(edited, "new words"))
        step = step_of(attempt=1, try_no=1, event=Event.REFUSE)
        await store.project(rows.core, [(id_, PartitionKey(id_), step, BORN, "") for id_ in ids])
        holds = {plain: make_body(plain.hex()), edited: make_body("new words")}
        queries: QueryStore = await under_test.open_queries()
        trace = await queries.trace(edited)
        assert trace is not None
        assert trace.body == make_body("new words")
        listed = await in_group(queries, "acme/g")
        assert {one.id: one.body for one in listed} == holds
        for limit in (1, 2):
            failed = await in_state(queries, Event.REFUSE, limit=limit)
            assert {one.id: one.body for one in failed} == holds
        exported = await outcomes_in_group(queries, "acme/g")
        assert {one.id: one.body for one in exported} == holds
