from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.fake_clock import FakeClock
from tests.support.local_data import LocalData
from tests.support.swept import Swept


@pytest.fixture
async def swept(tmp_path: Path) -> AsyncIterator[Swept]:
    data = LocalData(tmp_path / "data", clock=FakeClock())
    yield Swept(data, await data.open())
    await data.close()
