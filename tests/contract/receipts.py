"""What the receipts and suppressions of every store promise."""

import asyncio

import pytest

from pipeline.errors import StoreUnavailable, WriteUnknown
from pipeline.instant import Instant
from pipeline.later import ReceiptRow, SuppressionRow
from pipeline.message import MessageId
from pipeline.ports import QueryStore
from tests.contract.store_under_test import BORN, Rows, Store, StoreUnderTest, all_pages


def owners_row(ref: bytes, message_id: MessageId, *, lane: str = "lane") -> ReceiptRow:
    return ReceiptRow(
        ref,
        "owner",
        "",
        message_id,
        message_id,
        lane,
        0,
        BORN,
        "sent by it",
        born=BORN,
        group="acme/spring",
    )


def providers_row(ref: bytes, *, key: str = "delivered", event: int = 7) -> ReceiptRow:
    return ReceiptRow(ref, "provider", key, b"", b"", "", event, Instant(BORN + 5), "250 ok")


def suppression(
    key: bytes, *, since: int = 0, tenant: str = "acme", reason: str = "bounce"
) -> SuppressionRow:
    recipient = "" if key[0] % 2 else "ada@example.org"
    return SuppressionRow(key, tenant, "email", recipient, Instant(BORN + since), reason, "smtp")


async def suppressions_of(
    queries: QueryStore, tenant: str, *, limit: int = 100
) -> list[SuppressionRow]:
    return await all_pages(
        lambda after: queries.suppressions(tenant, limit=limit, after=after), limit=limit
    )


class ReceiptsContract:
    async def test_the_rows_of_a_reference_are_read_together(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        ref, another, unheard, message_id = rows.ids(4)
        written = [owners_row(ref, message_id), providers_row(ref)]
        await store.write_receipts(rows.core, written[:1])
        await other_store.write_receipts(rows.core, [written[1], providers_row(another)])
        await store.write_receipts(rows.core, [])
        assert await store.read_receipts(rows.core, [ref, unheard]) == written
        assert await other_store.read_receipts(rows.core, [another]) == [providers_row(another)]
        assert await store.read_receipts(rows.core, []) == []

    async def test_a_row_that_is_there_stays_and_another_of_its_side_lies_beside_it(
        self, store: Store, rows: Rows
    ) -> None:
        [ref] = rows.ids(1)
        first, second = providers_row(ref, key="1"), providers_row(ref, key="2", event=9)
        for row in (first, first, first._replace(event=9, detail="other"), second):
            await store.write_receipts(rows.core, [row])
        assert await store.read_receipts(rows.core, [ref]) == [first, second]

    async def test_of_two_sides_that_write_and_then_read_one_sees_both(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        async def write_and_read(who: Store, row: ReceiptRow) -> list[ReceiptRow]:
            await who.write_receipts(rows.core, [row])
            return await who.read_receipts(rows.core, [row.ref])

        for ref, message_id in zip(rows.ids(30), rows.ids(30), strict=True):
            both = [owners_row(ref, message_id), providers_row(ref)]
            seen = await asyncio.gather(
                write_and_read(store, both[0]), write_and_read(other_store, both[1])
            )
            assert both in seen
            assert both[0] in seen[0]
            assert both[1] in seen[1]

    async def test_receipts_whose_answer_was_lost_may_be_written_again(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        row = providers_row(rows.ids(1)[0])
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.write_receipts(rows.core, [row])
        assert await store.read_receipts(rows.core, [row.ref]) == []
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.write_receipts(rows.core, [row])
        await store.write_receipts(rows.core, [row])
        assert await store.read_receipts(rows.core, [row.ref]) == [row]

    async def test_a_messages_receipts_are_found_by_what_its_owner_wrote(
        self, store: Store, queries: QueryStore, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        mine, other = rows.ids(2)
        assert await queries.receipts_of(mine) == []
        written: list[ReceiptRow] = []
        for core in under_test.generation.cores[:2]:
            # A second attempt has a reference of its own, somewhere else.
            [ref, strangers] = Rows(under_test.generation, core).ids(10)[-2:]
            mine_here = [owners_row(ref, mine), providers_row(ref)]
            await store.write_receipts(core, [*mine_here, owners_row(strangers, other)])
            written += mine_here
        assert sorted(await queries.receipts_of(mine)) == sorted(written)


class SuppressionsContract:
    async def test_those_that_are_suppressed_are_told_from_the_others(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        keys = rows.ids(10)
        assert await store.read_suppressions(rows.core, keys) == {}
        written = [suppression(key) for key in keys[::2]]
        await store.put_suppressions(rows.core, written)
        await store.put_suppressions(rows.core, [])
        assert await other_store.read_suppressions(rows.core, keys) == {
            row.key: row for row in written
        }
        assert await store.read_suppressions(rows.core, []) == {}

    async def test_whoever_was_removed_is_suppressed_no_longer(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        keys = rows.ids(3)
        await store.put_suppressions(rows.core, [suppression(key) for key in keys])
        await other_store.remove_suppressions(rows.core, keys[:2], at=Instant(BORN + 1))
        await other_store.remove_suppressions(rows.core, [], at=Instant(BORN + 1))
        assert set(await store.read_suppressions(rows.core, keys)) == {keys[2]}

    async def test_the_latest_word_on_a_key_stays_in_whatever_order_they_come(
        self, store: Store, other_store: Store, rows: Rows
    ) -> None:
        [key] = rows.ids(1)
        bounced, complained = suppression(key, since=1), suppression(key, since=3, reason="spam")
        for removed_at, put, stands in (
            (None, bounced, bounced),
            (2, bounced, None),  # a repeat that comes late
            (2, complained, complained),
            (2, bounced, complained),
            (None, complained, complained),
            (4, complained, None),
        ):
            if removed_at is not None:
                at = Instant(BORN + removed_at)
                await other_store.remove_suppressions(rows.core, [key], at=at)
            await store.put_suppressions(rows.core, [put])
            assert (await store.read_suppressions(rows.core, [key])).get(key) == stands

    async def test_suppressions_whose_answer_was_lost_may_be_put_again(
        self, store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        row = suppression(rows.ids(1)[0])
        with under_test.refusing_writes(store), pytest.raises(StoreUnavailable):
            await store.put_suppressions(rows.core, [row])
        assert await store.read_suppressions(rows.core, [row.key]) == {}
        with under_test.losing_the_answer(store), pytest.raises(WriteUnknown):
            await store.put_suppressions(rows.core, [row])
        await store.put_suppressions(rows.core, [row])
        assert await store.read_suppressions(rows.core, [row.key]) == {row.key: row}

    @pytest.mark.parametrize("limit", [1, 3, 8, 100])
    async def test_a_tenants_suppressions_are_listed_page_by_page(
        self, store: Store, queries: QueryStore, under_test: StoreUnderTest, limit: int
    ) -> None:
        assert await suppressions_of(queries, "acme", limit=limit) == []
        written: list[SuppressionRow] = []
        for core in under_test.generation.cores:
            keys = Rows(under_test.generation, core).ids(4)
            mine = [suppression(key) for key in keys[:3]]
            await store.put_suppressions(core, [*mine, suppression(keys[3], tenant="other")])
            await store.remove_suppressions(core, keys[2:3], at=Instant(BORN + 1))
            written += mine[:2]
        found = await suppressions_of(queries, "acme", limit=limit)
        assert sorted(found) == sorted(written)

    async def test_it_is_known_which_tenants_have_a_list(
        self, store: Store, other_store: Store, under_test: StoreUnderTest, rows: Rows
    ) -> None:
        assert await store.read_listing_tenants(rows.core, limit=10) == []
        keys = rows.ids(7)
        tenants = ("b", "a", "c", "a", "b", "d", "a")
        await store.put_suppressions(
            rows.core,
            [suppression(key, tenant=one) for key, one in zip(keys, tenants, strict=True)],
        )
        assert await other_store.read_listing_tenants(rows.core, limit=10) == ["a", "b", "c", "d"]
        assert await other_store.read_listing_tenants(rows.core, limit=2) == ["a", "b"]
        await other_store.remove_suppressions(rows.core, [keys[2], keys[3]], at=Instant(BORN + 1))
        assert await store.read_listing_tenants(rows.core, limit=10) == ["a", "b", "d"]
        other = next(core for core in under_test.generation.cores if core != rows.core)
        assert await store.read_listing_tenants(other, limit=10) == []
