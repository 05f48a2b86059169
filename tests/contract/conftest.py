"""The fixtures of the store contracts; `under_test` comes from the class that sits the exam."""

import pytest

from pipeline.lane_id import LaneId
from pipeline.ports import QueryStore
from tests.contract.store_under_test import Rows, Store, StoreUnderTest


@pytest.fixture
async def store(under_test: StoreUnderTest) -> Store:
    """Return a process's store."""
    return await under_test.open()


@pytest.fixture
async def other_store(under_test: StoreUnderTest) -> Store:
    """Return the store of another process, on the same data."""
    return await under_test.open()


@pytest.fixture
async def queries(under_test: StoreUnderTest) -> QueryStore:
    return await under_test.open_queries()


@pytest.fixture
def rows(under_test: StoreUnderTest) -> Rows:
    """Return a maker of rows of one core."""
    return Rows(under_test.generation, under_test.generation.cores[-1])


@pytest.fixture
async def lane(store: Store, rows: Rows) -> LaneId:
    """Return a lane of that core that is known and empty."""
    lane = rows.lane()
    await store.announce_lane(lane)
    return lane
