"""The embedded store sits the exam."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.ingest_store import IngestStoreContract
from tests.contract.lane_store import LaneStoreContract
from tests.contract.query_store import QueryStoreContract
from tests.support.local_data import LocalData


@pytest.fixture
async def under_test(tmp_path: Path) -> AsyncIterator[LocalData]:
    data = LocalData(tmp_path / "data")
    yield data
    await data.close()


class TestLocalIngestStore(IngestStoreContract):
    pass


class TestLocalLaneStore(LaneStoreContract):
    pass


class TestLocalQueryStore(QueryStoreContract):
    pass
