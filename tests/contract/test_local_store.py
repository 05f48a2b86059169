"""The embedded store sits the exam."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.agreement import AgreementContract
from tests.contract.commands import CommandsContract
from tests.contract.editions import EditionsContract
from tests.contract.ingest_store import IngestStoreContract
from tests.contract.journal import JournalContract
from tests.contract.lane_store import LaneStoreContract
from tests.contract.query_store import QueryStoreContract
from tests.contract.receipts import ReceiptsContract, SuppressionsContract
from tests.contract.segments import SegmentsContract
from tests.contract.store_under_test import Rows, buffer_entry, read_all
from tests.contract.timers import TimersContract
from tests.support.local_data import LocalData


@pytest.fixture
async def under_test(tmp_path: Path) -> AsyncIterator[LocalData]:
    data = LocalData(tmp_path / "data")
    yield data
    await data.close()


class TestLocalIngestStore(IngestStoreContract):
    async def test_no_row_lies_before_the_ring_began_though_the_clock_was_set_back(
        self, under_test: LocalData, rows: Rows
    ) -> None:
        under_test.clock.step_wall(-86_400_000)
        store = await under_test.open()
        written = [buffer_entry(id_) for id_ in rows.ids(3)]
        await store.write_buffer(rows.lane(), written)
        read = await read_all(store, rows.lane())
        assert [row[1] for row in read] == [row[0] for row in written]
        # A fresh lane reads from P before that on; what lies below is read by nobody.
        assert read[0][0] >= under_test.generation.starts_at


class TestLocalJournal(JournalContract):
    pass


class TestLocalLaneStore(LaneStoreContract):
    pass


class TestLocalQueryStore(QueryStoreContract):
    pass


class TestLocalTimers(TimersContract):
    pass


class TestLocalCommands(CommandsContract):
    pass


class TestLocalEditions(EditionsContract):
    pass


class TestLocalSegments(SegmentsContract):
    pass


class TestLocalReceipts(ReceiptsContract):
    pass


class TestLocalSuppressions(SuppressionsContract):
    pass


class TestLocalAgreement(AgreementContract):
    pass
