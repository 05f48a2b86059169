"""What every store promises of edited bodies.  A store's test file subclasses this."""

import pytest

from pipeline.instant import Instant
from pipeline.later import EditionRow
from pipeline.message import MessageId, PartitionKey
from pipeline.ports import QueryStore
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


class EditionsContract:
    async def test_whoever_reads_a_body_reads_the_edited_one(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        plain, edited = ids = rows.ids(2)
        await store.write_messages(rows.core, [message_row(id_) for id_ in ids])
        await store.write_editions(rows.core, [edition(edited, "new words")])
        assert await other_store.read_bodies(rows.core, keys_of(ids)) == {
            plain: make_body(plain.hex()),
            edited: make_body("new words"),
        }

    @pytest.mark.parametrize("is_in_order", [True, False])
    async def test_of_two_editions_the_later_stays(
        self, store: Store, rows: Rows, is_in_order: bool
    ) -> None:
        [id_] = rows.ids(1)
        await store.write_messages(rows.core, [message_row(id_)])
        written = [edition(id_, "first", at=1), edition(id_, "second", at=2)]
        for row in written if is_in_order else written[::-1]:
            await store.write_editions(rows.core, [row])
            await store.write_editions(rows.core, [row])
        assert await store.read_bodies(rows.core, keys_of([id_])) == {id_: make_body("second")}

    async def test_an_edition_of_nothing_is_nothing(self, store: Store, rows: Rows) -> None:
        [id_] = rows.ids(1)
        await store.write_editions(rows.core, [])
        await store.write_editions(rows.core, [edition(id_, "of nothing")])
        assert await store.read_bodies(rows.core, keys_of([id_])) == {}

    async def test_a_trace_shows_what_the_message_holds_now(
        self, store: Store, rows: Rows, under_test: StoreUnderTest
    ) -> None:
        [id_] = rows.ids(1)
        await store.write_messages(rows.core, [message_row(id_)])
        await store.write_editions(rows.core, [edition(id_, "new words")])
        queries: QueryStore = await under_test.open_queries()
        trace = await queries.trace(id_)
        assert trace is not None
        assert trace.body == make_body("new words")
